"""The explorer without a browser: answers against independent computations, errors, payload, still picture."""

import inspect
import io
import json
import sys
import types
import warnings

import numpy as np
import pytest
import torch
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xlib.course import runtime
from xlib.explore import Explorer, ExplorerModel, explore, projections, static
from xlib.explore.panel import panel
from xlib.explore.view import ANSWERS, CHOSEN

N, D, T = 30, 12, 4


def data(seed=0, **changes):
    """15 pictures and 15 captions, four snapshots."""
    rng = np.random.default_rng(seed)
    options = {
        "embeddings": rng.normal(size=(T, N, D)) + np.linspace(0, 2, T)[:, None, None] * rng.normal(size=(N, D)),
        "captions": [f"thing {i}" for i in range(15)] * 2,
        "images": [*rng.random((15, 3, 20, 16)), *[None] * 15],
        "labels": [i % 3 for i in range(15)] * 2,
        "pairs": [*range(15, 30), *range(15)],
        "steps": [0, 10, 20, 40],
    } | changes
    return options.pop("embeddings"), options


def model(**changes):
    embeddings, options = data(**changes)
    return ExplorerModel(embeddings, **options)


def widget(**changes):
    embeddings, options = data(**changes)
    return explore(embeddings, **options)


def encode(texts):
    """A vector for each text, the same one each time."""
    assert isinstance(texts, list)
    return np.stack([np.random.default_rng([*map(ord, text)]).normal(size=D) for text in texts])


def unit(z):
    z = np.asarray(z, dtype=np.float64)
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def cosines(z):
    return unit(z) @ unit(z).T


# ---- answers


@given(
    seed=st.integers(0, 1000),
    i=st.integers(0, N - 1),
    step=st.integers(0, T - 1),
    among=st.sampled_from(["all", "other"]),
)
@settings(max_examples=30)
def test_neighbours_and_ranks_are_those_of_the_full_space(seed, i, step, among):
    m = model(seed=seed, pairs=[*range(15, 30), *[i // 2 for i in range(15)]])  # two texts may share a picture
    m.among, m.step, m.selected = among, step, [i]
    similarity = cosines(data(seed=seed)[0][step])
    allowed = [j for j in range(N) if j != i and (among == "all" or (j < 15) != (i < 15))]
    expected = sorted(allowed, key=lambda j: -similarity[i, j])[:8]
    assert [j for j, _ in m.neighbours] == expected
    assert [s for _, s in m.neighbours] == pytest.approx(similarity[i, expected], abs=1e-4)
    pair = m.pairs[i]
    assert m.pair_similarity[step, i] == pytest.approx(similarity[i, pair], abs=1e-6)
    for rank, a, b in zip(m.ranks, (i, pair), (pair, i), strict=True):
        rivals = [j for j in range(N) if (j < 15) == (b < 15) and j not in (a, b)]
        assert rank == 1 + sum(similarity[a, j] > similarity[a, b] for j in rivals)


def test_neighbours_follow_the_step_and_go_with_the_selection():
    m = model()
    assert (m.neighbours, m.ranks, m.note, m.warning) == ([], [0, 0], "", "")
    m.selected = [3]
    before = m.neighbours
    m.step = 3
    assert m.neighbours != before
    m.selected = []
    assert (m.neighbours, m.ranks, m.note, m.warning) == ([], [0, 0], "", "")


def test_several_selected_have_no_neighbours_and_each_counts_once():
    m = model()
    m.selected = [3]
    m.selected = [5, 3, 5, 9]
    assert m.selected == [5, 3, 9]
    assert (m.neighbours, m.ranks, m.note, m.warning) == ([], [0, 0], "", "")
    assert m.alt_text.endswith(" 3 items selected.")
    m.selected = [5, 5]
    assert len(m.neighbours) == 8


def test_without_a_pair_there_are_no_ranks():
    m = model(pairs=[15] + [-1] * 29)
    m.selected = [0]
    assert min(m.ranks) >= 1
    m.selected = [15]
    assert m.ranks == [0, 0]
    assert np.isnan(m.pair_similarity[:, 15]).all()


def test_in_pairs_of_one_modality_nobody_is_its_own_rival():
    m = model(images=None)
    similarity = cosines(m.embeddings[0])
    for i in range(N):
        m.selected = [i]
        pair = (i + 15) % N
        assert m.ranks == [
            1 + sum(similarity[a, j] > similarity[a, b] for j in range(N) if j != a)
            for a, b in ((i, pair), (pair, i))
        ]


@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_a_warning_where_fewer_than_half_of_the_neighbours_are_near_on_the_map(k):
    m = model(k=k)
    outcomes = set()
    for i in range(N):
        m.selected, m.step, m.among = [i], i % T, ("all", "other")[i % 2]
        others = [j for j in range(N) if j != i and (m.among == "all" or (j < 15) != (i < 15))]
        distance = np.linalg.norm(m.frames[m.step] - m.frames[m.step, i], axis=1)
        drawn = sorted(others, key=lambda j: distance[j])[:k]
        both = len({j for j, _ in m.neighbours} & set(drawn))
        agreement = f"{both} of these {k} are also among the nearest {k} on the map."
        misleads = k > 1 and both < k / 2  # of a single neighbour nothing can be said
        assert m.warning == (f"Only {agreement}" if misleads else "")
        assert m.note.startswith("By cosine in all 12 dimensions" + (". The" if misleads else f"; {agreement} The"))
        outcomes.add(misleads)
    assert outcomes == ({True, False} if k > 1 else {False})


def test_no_warning_where_the_map_is_the_space():
    angle = np.random.default_rng(0).uniform(0, 1, 10)
    z = np.stack([np.cos(angle), np.sin(angle)], 1)
    flat = ExplorerModel(z, captions=["x"] * 10, k=3)
    flat.selected = [4]
    assert flat.note.startswith(
        "By cosine in all 2 dimensions; 3 of these 3 are also among the nearest 3 on the map."
    )
    assert flat.note.endswith("trustworthiness: 1.00 (1 is perfect, chance about 0.5).")
    assert flat.warning == ""


def test_nothing_is_said_where_there_is_nobody_to_compare_with():
    m = model(images=None, pairs=None, encode=encode)
    m.among, m.selected = "other", [3]
    assert (m.neighbours, m.note, m.warning) == ([], "", "")
    m.typed = "word"
    assert (m.neighbours, m.note, m.warning) == ([], "", "")


def test_search_is_a_caseless_substring_in_any_script():
    m = model(captions=["Black CAT", "猫", "dog", "大猫", "cart"] + ["x"] * 25)
    for query, rows in {"cat": [0], "CA": [0, 4], "猫": [1, 3], " dog ": [2], "": [], "   ": [], "zebra": []}.items():
        m.query = query
        assert m.matches == rows


def test_what_is_the_query_stands_first_then_where_a_word_begins_with_it_then_the_rest():
    captions = [
        "grinning cat",
        "identification",
        "cat",
        "bobcat",
        "Cat face",
        "CAT",
        "wild_cat",
        "a (cat)",
        "大猫",
        "猫",
    ]
    m = model(captions=captions + ["x"] * 20)
    for query, rows in {
        "cat": [2, 5, 0, 4, 7, 1, 3, 6],
        "猫": [9, 8],
        "(c": [7],
        "at": [0, 1, 2, 3, 4, 5, 6, 7],
    }.items():
        m.query = query
        assert m.matches == rows


def test_step_is_clipped():
    m = model()
    m.step = 99
    assert m.step == T - 1
    m.step = -5
    assert m.step == 0


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shuffled", [True, False])
def test_pair_contrast_is_the_mean_over_pairs_and_over_the_rest(symmetric, shuffled):
    rng = np.random.default_rng(1)
    z, options = data(modality=["image"] * 15 + ["text"] * 15)
    pairs = np.array([15 + i // 2 for i in range(15)] + [-1] * 15)  # two images share a caption
    if symmetric:
        pairs[15:22] = [0, 2, 4, 6, 8, 10, 12]
    order = rng.permutation(N) if shuffled else np.arange(N)
    place = np.argsort(order)
    options |= {"pairs": [int(place[pairs[i]]) if pairs[i] >= 0 else -1 for i in order], "images": None}
    options["modality"] = [options["modality"][i] for i in order]
    m = ExplorerModel(z[:, order], **options)
    c = cosines(z[0])
    paired = {(i, 15 + i // 2) for i in range(15)}
    rest = [(i, j) for i in range(15) for j in range(15, 23) if (i, j) not in paired]
    expected = [np.mean([c[p] for p in some]) for some in (sorted(paired), rest)]
    assert m.pair_contrast(0) == pytest.approx(expected, abs=1e-6)


def test_alt_text_is_made_from_the_data():
    m = model(title="Toys")
    m.step, m.selected = 2, [4]
    paired, rest = m.pair_contrast(2)
    j, cosine = m.neighbours[0]
    for part in (
        "Toys: 15 image and 15 text items",
        m.axes[0],
        "Step 20 (3 of 4 snapshots).",
        f"Mean cosine of pairs {paired:.2f}, of other combinations {rest:.2f}.",
        f"Selected: thing 4 (image); nearest: {m.captions[j]} ({m.modality[j]}), cosine {cosine:.2f}.",
    ):
        assert part in m.alt_text
    m.axis = ["thing 1", "thing 2"]
    assert "axes thing 1 ↔ thing 2 (cosine) and the rest: PCA 1" in m.alt_text


# ---- a typed text


@given(word=st.text(min_size=1, max_size=8).filter(str.strip), among=st.sampled_from(["", "all", "other"]))
@settings(max_examples=20)
def test_typed_text_is_answered_at_the_last_step(word, among):
    m = model(encode=encode, images=[None if i % 3 else np.ones((3, 4, 4)) for i in range(N)])
    m.selected, m.step, m.among = [3], 1, among
    m.typed = f"  {word} "
    word = word.strip()
    assert (m.typed, m.selected, m.step) == (word, [], T - 1)
    similarity = unit(m.embeddings[-1]) @ unit(encode([word])[0])
    allowed = [j for j in range(N) if among == "all" or j % 3 == 0]  # unless all are asked for, those with a picture
    expected = sorted(allowed, key=lambda j: -similarity[j])[:8]
    assert [j for j, _ in m.neighbours] == expected
    assert [s for _, s in m.neighbours] == pytest.approx(similarity[expected], abs=1e-4)
    place = m.layouts["pca"].place(encode([word])[0])
    drawn = sorted(allowed, key=lambda j: np.linalg.norm(m.frames[-1, j] - place))[:8]
    assert f"; {len(set(expected) & set(drawn))} of these 8 are also among the nearest 8" in m.note
    assert m.warning == ""  # it lies in no map that was made for it
    assert m.ranks == [0, 0]
    j, cosine = m.neighbours[0]
    assert m.alt_text.endswith(f" Typed: {word}; nearest: {m.captions[j]} ({m.modality[j]}), cosine {cosine:.2f}.")


def test_typed_text_and_selection_exclude_each_other():
    w = widget(encode=encode)
    w.typed = "word"
    assert set(w.landed) == {"pca"}
    w.selected = [2]
    assert (w.typed, w.selected, w.landed, w.model.typed_vector) == ("", [2], {}, None)
    assert len(w.neighbours) == 8
    assert w.ranks != [0, 0]
    w.model.typed = "word"
    assert (w.typed, w.selected, w.step) == ("word", [], T - 1)
    w.set_state({"selected": [], "typed": ""})
    assert (w.typed, w.neighbours, w.note) == ("", [], "")


def test_where_neighbours_are_looked_for_unless_it_is_said():
    m = model(encode=encode)
    m.selected = [3]
    assert {j >= 15 for j, _ in m.neighbours} == {True, False}
    m.typed = "word"
    assert {j for j, _ in m.neighbours} <= set(range(15))
    without = model(encode=encode, images=None)
    without.typed = "word"  # nothing has a picture
    assert len(without.neighbours) == 8


def test_answers_say_what_they_are_of():
    w = widget(encode=encode)
    assert w.asked == [-1, "", "", ""]
    for choice, asked in (
        ({"selected": [3]}, [3, "", "", ""]),
        ({"among": "other"}, [3, "", "other", ""]),
        ({"typed": "word"}, [-1, "word", "other", ""]),
        ({"selected": [4], "typed": ""}, [4, "", "other", ""]),
        ({"selected": [4, 5], "listing": "hubs"}, [-1, "", "other", "hubs"]),
    ):
        w.set_state(choice)
        assert w.asked == w.model.asked == asked


def test_what_is_said_of_a_typed_text_stays_with_the_last_step():
    m = model(encode=encode)
    m.typed = "word"
    before = (m.neighbours, m.note, m.warning)
    m.step = 0
    assert (m.neighbours, m.note, m.warning) == before


def test_typed_text_lands_where_its_vector_belongs():
    z, options = data()
    w = explore(z, **options, encode=lambda texts: torch.tensor(z[-1, [7]], requires_grad=True))
    w.axis = ["thing 1", "thing 2"]
    w.typed = "the vector of item 7"
    assert set(w.landed) == {"pca", "axis"}
    for name, at in w.landed.items():
        frames = np.frombuffer(w.maps[name]["frames"], "<u2").reshape(T, N, 2)
        assert at == pytest.approx(frames[-1, 7].tolist(), abs=1)
    assert w.neighbours[0] == (7, 1.0)


# ---- choices that are refused

REFUSED = [
    ("selected", [2, 30], "selected must hold rows, 0 to 29, got 30"),
    ("selected", [-1], "selected must hold rows, 0 to 29, got -1"),
    ("hover", 30, "hover must hold rows, 0 to 29 or −1, got 30"),
    ("among", "nobody", "among"),
    ("projection", "tsne", "projection must be one of 'pca', 'umap', 'axis', got 'tsne'"),
    ("projection", "axis", "projection 'axis' needs two texts first"),
    ("axis", ["thing 1"], r"axis must hold two texts, got \['thing 1'\]"),
    ("axis", ["thing 1", "  "], "axis must hold two texts"),
    ("axis", ["thing 1", "thing 2", "thing 3"], "axis must hold two texts"),
    ("axis", ["thing 1", "THING 1"], r"axis must hold two texts that differ in the embedding, got \['thing 1', 'TH"),
    ("axis", ["thing 1", "nowhere"], "'nowhere' is the caption of no item, and explore.. was given no encode"),
    ("typed", "nowhere", "typed needs an encoder: explore"),
    ("compare", "captions", "compare must be '' or one of 'steps', 'modality', 'projection', got 'captions'"),
    ("compare", "domains", "compare must be '' or one of"),
]


def state(m):
    """All that can be seen of a model or a widget."""
    inner = getattr(m, "model", m)
    names = [*CHOSEN, *ANSWERS]
    return {name: getattr(m, name) for name in names} | {"vector": inner.typed_vector} | dict(inner.layouts)


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_a_refused_choice_is_named_and_changes_nothing(name, value, message):
    m = model()
    m.selected, m.step, m.hover = [3], 2, 4
    before = state(m)
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(m, name, value)
    assert state(m) == before
    w = Explorer(m)
    for choose in (lambda: setattr(w, name, value), lambda: w.set_state({name: value})):
        with pytest.raises(traitlets.TraitError, match=message) as caught:
            choose()
        assert state(w) == state(m) == before
        assert w.refused == str(caught.value)  # the browser shows it
        w.hover = 5 - (w.hover == 5)
        assert w.refused == str(caught.value)  # a pointer that passes by does not make it unsaid
        w.hover = 4
        w.query = w.query + "x"
        assert w.refused == ""
        w.query = ""


def test_the_browser_learns_that_its_choice_was_refused(monkeypatch):
    w = widget()
    w.compare = "steps"
    sent = record(w, monkeypatch)
    with pytest.raises(traitlets.TraitError):
        w.set_state({"compare": "nothing"})
    last = {name: value for message, _ in sent for name, value in message["state"].items()}
    assert last["compare"] == "steps"
    assert last["refused"].startswith("compare must be")


@pytest.mark.parametrize("good", [{"typed": "other"}, {"axis": ["one", "two"]}, {"compare": "steps", "step": 1}])
def test_choices_that_arrive_together_count_all_or_none(good):
    w = widget(encode=encode)
    w.axis, w.typed = ["this", "that"], "word"
    before = state(w)
    with pytest.raises(traitlets.TraitError, match="selected"):
        w.set_state(good | {"selected": [1000]})
    np.testing.assert_array_equal(before.pop("vector"), w.model.typed_vector)
    assert {name: value for name, value in state(w).items() if name != "vector"} == before
    w.set_state({"hover": 5, "selected": [7], "query": "thing"})
    assert (w.hover, w.selected, w.query) == (5, [7], "thing")
    assert (w.model.hover, w.model.selected) == (5, [7])
    assert w.neighbours == w.model.neighbours


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda texts: np.ones(D), r"encode must return a tensor of shape \(1, 12\) for one text, got \(12,\)"),
        (lambda texts: torch.ones(1, D + 1), r"encode must .* got \(1, 13\)"),
        (lambda texts: None, "encode failed for 'word': .*NoneType"),
        (lambda texts: np.array(texts), "encode failed for 'word': "),
        (lambda texts: np.full((1, D), np.nan), "encode must return finite numbers, got NaN or infinity for 'word'"),
        (lambda texts: texts[1], "encode failed for 'word': .*list index out of range"),
    ],
)
@pytest.mark.parametrize("choice", [{"typed": "word"}, {"axis": ["thing 1", "word"]}])
def test_an_encoder_that_fails_is_named(choice, bad, message):
    w = widget(encode=bad)
    w.selected = [3]
    before = state(w)
    with pytest.raises(traitlets.TraitError, match=message):
        w.set_state(choice)
    assert state(w) == before
    assert w.refused


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_encoders_of_any_float_type(kind):
    m = model(encode=lambda texts: torch.tensor(encode(texts), requires_grad=True).to(kind))
    m.typed = "word"
    np.testing.assert_allclose(m.typed_vector, encode(["word"])[0], rtol=0.01)


# ---- projections and comparisons


def test_collapsed_and_zero_embeddings_are_shown_all_the_same():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w = widget(embeddings=np.ones((T, N, D)))
        w.selected = [2]
        assert static.picture(w.model).size == (760, 500)
    assert w.model.axes[0] == "PCA 1 (0% of variance)"
    assert [s for _, s in w.neighbours] == [1.0] * 8
    z, options = data()
    z[:, 0] = 0
    m = ExplorerModel(z, **options)
    m.selected = [0]
    assert [s for _, s in m.neighbours] == [0.0] * 8


@pytest.mark.long
def test_umap_is_computed_once_and_maps_are_sent_when_they_are_new(monkeypatch):
    calls = []
    monkeypatch.setattr(projections, "_umap", lambda rows, umap=projections._umap: calls.append(1) or umap(rows))
    w = widget(embeddings=data()[0][-1], steps=None, encode=encode)
    sent = record(w, monkeypatch)

    def maps_sent():
        found = [set(message["state"]["maps"]) for message, _ in sent if "maps" in message["state"]]
        sent.clear()
        return found

    w.set_state({"projection": "umap"})
    assert maps_sent() == [{"pca", "umap"}]
    assert (w.model.axes, "axes UMAP 1 and UMAP 2" in w.alt_text) == (["UMAP 1", "UMAP 2"], True)
    for change in ({"projection": "pca"}, {"projection": "umap"}, {"compare": "projection"}, {"selected": [1, 2]}):
        w.set_state(change)
        assert maps_sent() == []
    for text in ("one", "three"):
        w.set_state({"axis": [text, "two"]})
        assert (w.projection, maps_sent()) == ("axis", [{"pca", "umap", "axis"}])
    w.set_state({"projection": "pca", "typed": "word"})
    assert maps_sent() == []
    assert set(w.landed) == {"pca", "umap", "axis"}
    assert len(calls) == 1


def test_an_axis_set_on_the_model_is_shown_by_its_widgets():
    w = widget()
    w.model.axis = ["thing 1", "thing 2"]
    assert (w.axis, w.projection) == (["thing 1", "thing 2"], "axis")
    assert w.maps["axis"]["axes"] == w.model.axes
    w.model.axis = []
    assert w.projection == "axis"


@pytest.mark.long
def test_comparing_pca_and_umap_draws_both():
    w = widget(embeddings=data()[0][-1], steps=None)
    w.compare = "projection"
    assert set(w.maps) == {"pca", "umap"}
    assert w.projection == "pca"


def test_what_can_be_compared():
    domains = ["photo"] * 10 + [None] * 5 + ["drawing"] * 10 + ["print"] * 5
    modality = ["image"] * 20 + ["text"] * 5 + ["sound"] * 5
    m = model(domains=domains, modality=modality, steps=[0, 1000, 2000, 30_000])
    assert m.comparisons == {
        "steps": ["step 0", "step 30,000"],
        "modality": ["image", "text and sound"],
        "domains": ["photo", "drawing and print"],
        "projection": ["PCA", "UMAP"],
    }
    one = model(embeddings=data()[0][0], steps=None, images=None, domains=["photo", None] * 15)
    assert one.comparisons == {"projection": ["PCA", "UMAP"]}
    for name in ("steps", "modality", "domains", ""):
        m.compare = name
        assert m.compare == name
    with pytest.raises(traitlets.TraitError, match="compare must be '' or one of 'projection', got 'steps'"):
        one.compare = "steps"


def test_trustworthiness_is_that_of_the_map_and_the_step():
    m = model(encode=encode)
    for r in range(40):  # each axis is a new map: nothing known of an old one may be told of it
        m.axis = ["a" * (r % 7 + 1), "b" * (r % 5 + 1)]
        m.step = r % T
        m.selected = [r % N]
        expected = projections.trust(m.embeddings[m.step], m.frames[m.step], 8)
        assert m.trustworthiness("axis", m.step) == expected
        assert f"trustworthiness: {expected:.2f} " in m.note
    few = model(k=15)
    few.selected = [0]
    assert few.trustworthiness("pca", 0) is None
    assert few.note.endswith("on the map.")


@pytest.mark.parametrize(
    ("choice", "work", "words"),
    [
        ({"projection": "umap"}, "umap", "computing UMAP…"),
        ({"compare": "projection"}, "umap", "computing UMAP…"),
        ({"axis": ["one", "two"]}, "between", "computing the axis…"),
    ],
)
def test_the_browser_hears_of_long_work_before_it_begins(choice, work, words, monkeypatch):
    w = widget(encode=encode)
    sent, at = record(w, monkeypatch), []
    compute = lambda *given: at.append(len(sent)) or projections.pca(given[0])  # noqa: E731
    monkeypatch.setattr(projections, work, compute)
    w.set_state(choice)
    states = [message["state"] for message, _ in sent]
    [begun] = at
    assert [state["computing"] for state in states[:begun]] == [words]
    assert states[-1] == {"computing": ""}
    assert any("maps" in state for state in states[begun:-1])
    sent.clear()
    w.set_state({"projection": "pca", "compare": ""})
    w.set_state({"compare": "projection"} if work == "umap" else {"projection": "axis"})  # it is there now
    assert not any("computing" in message["state"] for message, _ in sent)


def test_work_that_fails_is_not_said_to_go_on():
    w = widget(encode=lambda texts: 1 / 0)
    with pytest.raises(traitlets.TraitError, match="encode failed"):
        w.set_state({"axis": ["one", "two"]})
    assert (w.computing, w.model.computing) == ("", "")


# ---- steps with names, and snapshots that come one by one


def test_steps_may_be_names():
    m = model(steps=["untrained", "clean CLIP", "your cell", "everything"], title="Three models")
    m.step = 1
    assert "Clean CLIP (2 of 4 snapshots)." in m.alt_text
    assert m.comparisons["steps"] == ["untrained", "everything"]
    assert (m.step_name(1), model(steps=[0, 10, 1200, 40]).step_name(2)) == ("clean CLIP", "step 1,200")
    assert static.picture(m) is not None


def test_snapshots_are_added_while_something_is_trained():
    z, options = data()
    m = ExplorerModel(z[0], **options | {"steps": [0]}, encode=encode)
    w = Explorer(m)
    m.selected, m.typed = [3], "word"
    m.append(0, z[0])  # the untrained one again: in place of the first
    assert (m.steps, m.step, m.live, m.typed) == ([0], 0, True, "")
    m.selected = [3]
    for t in (1, 2, 3):
        m.append(10 * t, torch.tensor(z[t]))
        similarity = cosines(z[t])
        expected = sorted(set(range(N)) - {3}, key=lambda j: -similarity[3, j])[:8]
        assert [j for j, _ in w.neighbours] == [j for j, _ in m.neighbours] == expected
        assert m.pair_similarity[-1, 3] == pytest.approx(similarity[3, 18], abs=1e-6)
        assert (w.step, m.steps[m.step], m.selected) == (t, 10 * t, [3])
        assert f"Step {10 * t} ({t + 1} of {t + 1} snapshots)." in w.alt_text
        assert "trustworthiness" not in m.note  # it would take too long
    m.finish()
    whole = ExplorerModel(z, **options | {"steps": [0, 10, 20, 30]})
    assert not m.live
    np.testing.assert_array_equal(m.frames, whole.frames)
    np.testing.assert_allclose(m.matrix()[2], whole.matrix()[2], atol=1e-6)
    assert (m.axes, m.steps, m.comparisons) == (whole.axes, whole.steps, whole.comparisons)
    m.append(15, z[3])  # a training that starts anew from there
    assert (m.steps, m.step) == ([0, 10, 15], 2)
    assert m.frames.shape == (3, N, 2)


def test_what_was_chosen_goes_back_to_one_map_while_something_is_trained():
    m = model(encode=encode)
    m.axis, m.compare = ["one", "two"], "steps"
    m.append(41, data()[0][0])
    assert (m.projection, m.axis, m.compare, list(m.layouts)) == ("pca", [], "", ["pca"])


@pytest.mark.parametrize(
    ("step", "embeddings", "error", "message"),
    [
        (1.5, np.ones((N, D)), TypeError, "step must be a whole number, as all steps before it, got 1.5 after"),
        (
            50,
            np.ones((N, D + 1)),
            ValueError,
            r"embeddings must have shape \(30, 12\), as those before, got \(30, 13\)",
        ),
        (50, np.ones((2, N, D)), ValueError, r"embeddings must have shape \(30, 12\), .* got \(2, 30, 12\)"),
        (
            50,
            np.full((N, D), np.nan),
            ValueError,
            "embeddings must be finite, got NaN or infinity, first in snapshot 0",
        ),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused_and_changes_nothing(step, embeddings, error, message):
    m = model()
    before = state(m)
    with pytest.raises(error, match=message):
        m.append(step, embeddings)
    assert state(m) == before
    assert (m.live, m.steps) == (False, [0, 10, 20, 40])


def test_named_steps_are_not_added_to():
    m = model(steps=["a", "b", "c", "d"])
    with pytest.raises(TypeError, match="step must be a whole number, as all steps before it, got 50 after"):
        m.append(50, data()[0][0])


# ---- domains


def test_a_shape_tells_the_domain_or_else_the_modality():
    m = model(domains=["photo"] * 10 + [None] * 10 + ["drawing"] * 10)
    assert m.groups == ["photo", "image", "text", "drawing"]
    assert [m.groups[g] for g in m.group] == ["photo"] * 10 + ["image"] * 5 + ["text"] * 5 + ["drawing"] * 10
    assert model().groups == ["image", "text"]
    setup = Explorer(m).setup
    assert (setup["groups"], setup["domains"]) == (m.groups, ["photo", "drawing"])
    columns = np.frombuffer(Explorer(m).columns, "<i4").reshape(8, N)
    np.testing.assert_array_equal(columns[4], [0] * 10 + [-1] * 10 + [1] * 10)
    np.testing.assert_array_equal(columns[5], m.group)
    assert model(domains=[*"ab", *[None] * 28]).groups == ["a", "b", "image", "text"]


def test_more_modalities_than_shapes_will_do_where_each_item_has_a_domain():
    m = model(modality=[f"sense {i % 6}" for i in range(N)], domains=["a", "b"] * 15)
    assert m.groups == ["a", "b"]
    assert static.picture(m).size == (760, 500)


# ---- matrix of cosines


@pytest.mark.parametrize("pairs", ["both ways", "from the pictures", "from the texts", "one", "none"])
def test_matrix_holds_items_beside_their_counterparts(pairs):
    there, back = [*range(15, 30)], [*range(15)]
    given = {
        "both ways": there + back,
        "from the pictures": there + [-1] * 15,
        "from the texts": [-1] * 15 + back,
        "one": [15] + [-1] * 29,
        "none": None,
    }[pairs]
    m = model(pairs=given)
    rows, columns, found = m.matrix()
    if pairs in ("one", "none"):
        assert sorted(rows) == list(range(N))
        assert columns.tolist() == rows.tolist()
    else:
        assert sorted(rows) == (there if pairs == "from the texts" else back)
        assert columns.tolist() == [given[i] for i in rows]
    assert [m.labels[i] for i in rows] == sorted(m.labels[i] for i in rows)  # class beside class
    for t in range(T):
        np.testing.assert_allclose(found[t], cosines(m.embeddings[t])[np.ix_(rows, columns)], atol=1e-5)


def test_matrix_is_a_sample_of_all_classes_and_travels_in_256_shades():
    rng = np.random.default_rng(0)
    labels = [i // 100 for i in range(500)] + [None] * 100
    w = explore(rng.normal(size=(2, 600, 5)), captions=["x"] * 600, labels=labels)
    rows, columns, cosine = w.model.matrix()
    assert len(rows) == len(columns) == len(set(rows)) == 64
    counts = [sum(labels[i] == c for i in rows) for c in (0, 1, 2, 3, 4, None)]
    assert min(counts) >= 10
    assert max(counts) <= 11
    sent = w.snapshots["matrix"]
    assert (sent["rows"], sent["columns"]) == (rows.tolist(), columns.tolist())
    shades = np.frombuffer(w.matrix, np.uint8).reshape(2, 64, 64) / 255
    step = (sent["high"] - sent["low"]) / 255
    np.testing.assert_allclose(sent["low"] + (sent["high"] - sent["low"]) * shades, cosine, atol=step * 0.51)


# ---- arguments


@pytest.mark.parametrize("kind", [np.float64, np.float16, torch.float32, torch.float64, torch.bfloat16])
def test_embeddings_of_any_float_type_and_of_one_snapshot(kind):
    z, options = data(steps=None)
    z = torch.tensor(z[0], requires_grad=True).to(kind) if isinstance(kind, torch.dtype) else z[0].astype(kind)
    m = ExplorerModel(z, **options)
    assert m.frames.shape == (1, N, 2)
    assert m.steps == [0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"embeddings": "numbers"}, TypeError, "embeddings must be a torch.Tensor or numpy array, .* got str"),
        ({"embeddings": np.ones((1, T, N, D))}, ValueError, r"embeddings must have shape .* got \(1, 4, 30, 12\)"),
        ({"embeddings": np.ones((N, 1))}, ValueError, "embeddings must have shape"),
        ({"embeddings": np.ones((0, N, D))}, ValueError, "embeddings must have shape"),
        ({"captions": ["x"] * 29}, ValueError, "captions must have 30 entries, got 29"),
        ({"captions": "x" * 30}, TypeError, "captions must be a sequence of 30 entries, got str"),
        ({"captions": ["x"] * 29 + [["a"]]}, TypeError, r"captions\[29\] has the wrong type list"),
        ({"labels": ["a"] * 31}, ValueError, "labels must have 30 entries, got 31"),
        ({"labels": [0.5] * 30}, TypeError, r"labels\[0\] has the wrong type float"),
        ({"modality": ["a"] * 3}, ValueError, "modality must have 30 entries, got 3"),
        ({"pairs": [30] + [-1] * 29}, ValueError, "pairs must be another row, 0 to 29, or −1; got 30 in row 0"),
        ({"pairs": [-1, -2] + [-1] * 28}, ValueError, "got -2 in row 1"),
        ({"pairs": [0] + [-1] * 29}, ValueError, "got 0 in row 0"),
        ({"pairs": [1.5] * 30}, TypeError, r"pairs\[0\] has the wrong type float"),
        ({"steps": [0, 1]}, ValueError, "steps must have 4 entries, got 2"),
        ({"steps": [0, 1, 2, "last"]}, TypeError, "steps must be whole numbers, or names, not both; got"),
        ({"steps": ["a", "b", "", "d"]}, ValueError, "steps must have names that are not empty, got"),
        ({"steps": [0, 1, 2, 2.5]}, TypeError, r"steps\[3\] has the wrong type float"),
        ({"projection": "tsne"}, ValueError, "projection must be one of 'pca', 'umap', got 'tsne'"),
        ({"domains": ["a"] * 3}, ValueError, "domains must have 30 entries, got 3"),
        ({"domains": [("a",)] * 30}, TypeError, r"domains\[0\] has the wrong type tuple"),
        ({"encode": "a model"}, TypeError, "encode must be a function of a list of texts, got str"),
        ({"k": 0}, ValueError, "k must be from 1 to 29, got 0"),
        ({"k": 30}, ValueError, "k must be from 1 to 29, got 30"),
        ({"images": [None] * 3}, ValueError, "images must have 30 entries, got 3"),
        ({"images": [np.ones(5)] * 30}, ValueError, r"images\[0\] must have shape .* got \(5,\)"),
        (
            {"images": [None, np.full((3, 4, 4), 7.0)] + [None] * 28},
            ValueError,
            r"images\[1\] .* within \[0, 1\], got",
        ),
        ({"images": [np.full((3, 4, 4), np.nan)] * 30}, ValueError, r"images\[0\] must be uint8"),
        ({"images": [np.ones((3, 4, 4), np.int64)] * 30}, ValueError, r"images\[0\] must be uint8"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    for make in (model, widget):
        with pytest.raises(error, match=message):
            make(**change)


def test_explore_takes_what_the_model_takes():
    model_takes = inspect.signature(ExplorerModel.__init__).parameters
    assert [*model_takes.values()][1:] == [*inspect.signature(explore).parameters.values()]


@pytest.mark.parametrize(("n", "k"), [(2, 1), (3, 2), (9, 8), (10, 8)])
def test_as_many_neighbours_as_there_are(n, k):
    w = explore(np.random.default_rng(0).normal(size=(n, 3)), captions=["x"] * n)
    w.selected = [1]
    assert (w.setup["k"], len(w.neighbours)) == (k, k)


def test_non_finite_embeddings_say_where():
    z, options = data()
    z[2, 7, 3] = np.nan
    with pytest.raises(
        ValueError, match="embeddings must be finite, got NaN or infinity, first in snapshot 2, row 7"
    ):
        explore(z, **options)


@pytest.mark.parametrize("layout", ["chw uint8", "hwc float", "rgba", "grey", "one tensor"])
def test_pictures_come_in_many_shapes_and_keep_their_colours(layout):
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 255
    one = {
        "chw uint8": red.transpose(2, 0, 1),
        "hwc float": red / 255,
        "rgba": np.concatenate([red, np.full((10, 20, 1), 255, np.uint8)], 2),
        "grey": np.ones((1, 10, 20), np.float32),
        "one tensor": torch.from_numpy(red.transpose(2, 0, 1).copy()),
    }[layout]
    images = torch.stack([one] * N) if layout == "one tensor" else [one] * N
    m = model(images=images)
    assert m.thumbnails.shape == (N, 10, 20, 4)
    assert m.thumbnails[3, 5, 5].tolist() == ([255] * 4 if layout == "grey" else [255, 0, 0, 255])


def test_large_and_odd_pictures_fit_one_size_of_thumbnail():
    m = model(images=[np.ones((3, 200, 100)), np.ones((3, 50, 400)), *[None] * 28])
    assert max(m.thumbnails.shape[1:3]) == 48
    assert (m.sprites >= 0).sum() == 2
    assert m.thumbnails[1, 0, 0, 3] == 0  # letterboxed, not stretched


def test_modality_follows_from_the_pictures_where_not_given():
    assert set(model().modality[:15]) == {"image"}
    assert set(model().modality[15:]) == {"text"}
    assert set(model(images=None).modality) == {"item"}


# ---- the widget, without a browser


def record(w, monkeypatch):
    """The messages that the widget sends from now on, each with its buffers."""
    sent = []
    monkeypatch.setattr(w, "_send", lambda message, buffers=None: sent.append((message, buffers)))
    return sent


def test_widget_and_model_agree_both_ways():
    w = widget()
    w.selected, w.step, w.query = [3, 3], 99, "thing 1"
    assert (w.selected, w.model.selected, w.model.step, w.step) == ([3], [3], 3, 3)
    assert sorted(w.matches) == [i for i, c in enumerate(w.model.captions) if "thing 1" in c]
    assert w.neighbours == w.model.neighbours
    w.model.selected = [7]
    assert w.selected == [7]
    assert state(w) == state(w.model)


def test_two_views_of_one_model_are_linked():
    m = model(encode=encode)
    left, right = Explorer(m), Explorer(m)
    left.selected = [4]
    assert right.selected == [4]
    left.typed, left.axis, left.compare = "word", ["one", "two"], "steps"
    assert state(right) == state(left)
    assert (right.landed, right.maps.keys()) == (left.landed, {"pca", "axis"})


@pytest.mark.parametrize(
    "before",
    [
        {"selected": [3]},
        {"selected": [3], "axis": ["thing 1", "thing 2"], "compare": "steps"},
        {"selected": [3], "compare": "modality", "query": "thing"},
        {"typed": "a longer sentence of one's own"},
        {"selected": list(range(N))},
        {},
    ],
)
def test_a_step_costs_less_than_a_kilobyte(before, monkeypatch):
    w = widget(encode=encode)
    w.set_state(before)
    sent = record(w, monkeypatch)
    w.set_state({"step": 2})
    assert len(sent) == 1
    assert not sent[0][1]
    assert set(sent[0][0]["state"]) <= set(ANSWERS)
    assert len(json.dumps(sent[0][0])) < 1000


def test_a_lasso_around_500_items_is_one_message_each_way(monkeypatch):
    w = explore(np.random.default_rng(0).normal(size=(600, 5)), captions=["x"] * 600)
    sent = record(w, monkeypatch)
    w.set_state({"selected": list(range(500))})
    assert w.model.selected == list(range(500))
    assert len(sent) == 1
    assert set(sent[0][0]["state"]) == {"alt_text"}


def test_frames_survive_the_trip_as_16_bit_numbers():
    w = widget()
    w.axis = ["thing 1", "thing 2"]
    for name, layout in w.model.layouts.items():
        sent = w.maps[name]
        q = np.frombuffer(sent["frames"], "<u2").reshape(T, N, 2).astype(float)
        low = layout.frames.min((0, 1))
        span = layout.frames.max((0, 1)) - low
        if name == "pca":  # one scale for both axes; those between two texts have one each
            span[:] = span.max()
        np.testing.assert_allclose(low + q / 65535 * span, layout.frames, atol=span.max() / 65000)
        assert q.max() == 65535
        assert (sent["axes"], sent["free"], sent["far"]) == (layout.axes, name == "axis", [[]] * T)


def test_atlas_holds_every_picture_in_its_place():
    w = widget()
    sheet = np.asarray(Image.open(io.BytesIO(w.atlas)).convert("RGBA"))
    height, width = w.model.thumbnails.shape[1:3]
    for sprite, thumbnail in enumerate(w.model.thumbnails):
        row, column = divmod(sprite, w.setup["across"])
        cell = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        np.testing.assert_array_equal(cell, thumbnail)


# ---- the still picture


@pytest.mark.parametrize(
    "changes",
    [
        {
            "images": None,
            "labels": None,
            "pairs": None,
            "steps": None,
            "embeddings": np.random.default_rng(0).normal(size=(N, 3)),
        },
        {
            "captions": ["猫", "𓀀", "קטן", "$\\frac{", "_x", "🐈"] * 5,
            "title": "标题 $x 🐈",
            "labels": ["猫", "_a", "$b$"] * 10,
        },
    ],
)
def test_any_text_and_any_subset_of_arguments_draws_without_a_warning(changes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [widget(**changes)._picture(dark).size for dark in (False, True)] == [(760, 500)] * 2


def test_still_picture_follows_the_step_and_shows_the_pictures():
    magenta = np.zeros((3, 24, 24))
    magenta[[0, 2]] = 1
    m = model(images=[magenta, *[None] * 29])

    def centre():
        pixels = np.asarray(static.picture(m)).astype(int)
        rows, columns = np.nonzero(np.abs(pixels - [255, 0, 255]).sum(2) < 60)
        assert len(rows) > 100
        return np.array([rows.mean(), columns.mean()])

    first = centre()
    m.step = 3
    assert np.linalg.norm(centre() - first) > 5


def blank(model, scene):
    scene.axes().set(x=(0, 1), y=(0, 1))
    return "nothing"


@pytest.mark.parametrize("show", [widget, lambda: panel(traitlets.HasTraits(), blank), runtime.start])
def test_colabs_custom_widgets_are_switched_on(monkeypatch, show):
    switched = []
    output = types.SimpleNamespace(enable_custom_widget_manager=lambda: switched.append(True))
    show()
    assert not switched  # not in Colab
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    show()
    assert switched
