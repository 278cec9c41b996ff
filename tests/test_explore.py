"""The explorer without a browser: answers against independent computations, errors, payload, still picture."""

import base64
import io
import json
import warnings

import numpy as np
import pytest
import torch
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xlib.explore import Explorer, ExplorerModel, explore, static

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


def cosines(z):
    z = np.asarray(z, dtype=np.float64)
    return z @ z.T / np.outer(np.linalg.norm(z, axis=1), np.linalg.norm(z, axis=1))


# ---- answers


@given(
    seed=st.integers(0, 1000),
    i=st.integers(0, N - 1),
    step=st.integers(0, T - 1),
    among=st.sampled_from(["all", "other"]),
)
@settings(max_examples=30, deadline=None)
def test_neighbours_are_those_of_the_full_space(seed, i, step, among):
    m = model(seed=seed)
    m.set_trait("among", among)
    m.step, m.selected = step, i
    similarity = cosines(data(seed=seed)[0][step])[i]
    allowed = [j for j in range(N) if j != i and (among == "all" or (j < 15) != (i < 15))]
    expected = sorted(allowed, key=lambda j: -similarity[j])[:8]
    assert [j for j, _ in m.neighbours] == expected
    assert [s for _, s in m.neighbours] == pytest.approx(similarity[expected], abs=1e-4)
    pair = m.pairs[i]
    rivals = [j for j in range(N) if (j < 15) == (pair < 15) and j != i]
    assert m.pair_rank == 1 + sum(similarity[j] > similarity[pair] for j in rivals)
    assert m.pair_similarity[step, i] == pytest.approx(similarity[pair], abs=1e-6)


def test_neighbours_follow_the_step_and_go_with_the_selection():
    m = model()
    assert m.neighbours == [] and m.note == ""  # noqa: PT018
    m.selected = 3
    before = m.neighbours
    m.step = 3
    assert m.neighbours != before
    m.selected = -1
    assert (m.neighbours, m.note, m.pair_rank) == ([], "", 0)


def test_note_says_how_far_the_picture_agrees():
    z = np.zeros((10, 2))
    z[:, 0], z[:, 1] = np.cos(np.arange(10) / 10), np.sin(np.arange(10) / 10)
    flat = ExplorerModel(z, captions=["x"] * 10, k=3)
    flat.selected = 4
    assert flat.note.startswith("Cosine similarity in all 2 dimensions. 3 of these 3 are also")


def test_search_is_a_caseless_substring_in_any_script():
    m = model(captions=["Black CAT", "猫", "dog", "大猫", "cart"] + ["x"] * 25)
    for query, rows in {"cat": [0], "CA": [0, 4], "猫": [1, 3], " dog ": [2], "": [], "   ": [], "zebra": []}.items():
        m.query = query
        assert m.matches == rows


def test_step_is_clipped_and_rows_are_checked():
    m = model()
    m.step = 99
    assert m.step == T - 1
    m.step = -5
    assert m.step == 0
    for name in ("selected", "hover"):
        with pytest.raises(traitlets.TraitError, match=f"{name} must be a row, 0 to 29, or −1, got 30"):
            setattr(m, name, 30)
        assert getattr(m, name) == -1


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
    assert m.pair_contrast() == pytest.approx(expected, abs=1e-6)


def test_alt_text_is_made_from_the_data():
    m = model(title="Toys")
    m.step, m.selected = 2, 4
    paired, rest = m.pair_contrast()
    j, cosine = m.neighbours[0]
    for part in (
        "Toys: 15 image and 15 text items",
        m.axes[0],
        "Step 20 (3 of 4 snapshots).",
        f"Mean cosine of pairs {paired:.2f}, of other combinations {rest:.2f}.",
        f"Selected: thing 4 (image); nearest: {m.captions[j]} ({m.modality[j]}), cosine {cosine:.2f}.",
    ):
        assert part in m.alt_text


# ---- projections


def test_pca_is_one_map_for_all_snapshots_with_fixed_signs():
    z, options = data()
    m = ExplorerModel(z, **options)
    rows = z.reshape(-1, D)
    _, s, v = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    v = v[:2] * np.sign([row[np.abs(row).argmax()] for row in v[:2]])[:, None]
    np.testing.assert_allclose(m.frames, (z - rows.mean(0)) @ v.T, atol=1e-4)
    assert m.axes == [f"PCA {i + 1} ({s[i] ** 2 / (s**2).sum():.0%} of variance)" for i in range(2)]
    np.testing.assert_array_equal(m.frames, ExplorerModel(z, **options).frames)


def test_a_collapsed_embedding_is_shown_all_the_same():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m = model(embeddings=np.ones((T, N, D)))
        widget = Explorer(m)
        widget.selected = 2
        assert static.picture(m, palette=[])[:4] == b"\x89PNG"
    assert m.axes[0] == "PCA 1 (0% of variance)"
    assert [s for _, s in m.neighbours] == [1.0] * 8


def test_zero_vectors_have_cosine_zero():
    z, options = data()
    z[:, 0] = 0
    m = ExplorerModel(z, **options)
    m.selected = 0
    assert [s for _, s in m.neighbours] == [0.0] * 8


@pytest.mark.filterwarnings("error::UserWarning")
def test_umap_repeats_and_keeps_all_snapshots_in_one_map():
    rng = np.random.default_rng(0)
    blobs = np.repeat(10 * np.eye(3, 8), 20, 0) + rng.normal(size=(2, 60, 8)) * 0.3
    options = {"captions": ["x"] * 60, "labels": [i // 20 for i in range(60)], "projection": "umap"}
    m = ExplorerModel(blobs, **options)
    assert m.frames.shape == (2, 60, 2)
    assert m.axes == ["UMAP 1", "UMAP 2"]
    np.testing.assert_array_equal(m.frames, ExplorerModel(blobs, **options).frames)
    centres = m.frames.reshape(2, 3, 20, 2).mean(2)
    drift = np.linalg.norm(centres[0] - centres[1], axis=1).max()
    apart = np.linalg.norm(centres[0][:, None] - centres[0][None], axis=2)[np.triu_indices(3, 1)].min()
    assert drift < apart / 2  # a blob stays in its place from snapshot to snapshot


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
        ({"embeddings": [[1.0, 2.0]] * N}, TypeError, "embeddings must be a torch.Tensor or numpy array, got list"),
        ({"embeddings": np.ones((1, T, N, D))}, ValueError, r"embeddings must have shape .* got \(1, 4, 30, 12\)"),
        ({"embeddings": np.ones((N, 1))}, ValueError, "embeddings must have shape"),
        ({"embeddings": np.ones((0, N, D))}, ValueError, "embeddings must have shape"),
        ({"captions": ["x"] * 29}, ValueError, "captions must have 30 entries, got 29"),
        ({"captions": "x" * 30}, TypeError, "captions must be a sequence of 30 entries, got str"),
        ({"captions": ["x"] * 29 + [None]}, TypeError, r"captions\[29\] has the wrong type NoneType"),
        ({"labels": ["a"] * 31}, ValueError, "labels must have 30 entries, got 31"),
        ({"labels": [0.5] * 30}, TypeError, r"labels\[0\] has the wrong type float"),
        ({"modality": ["a"] * 3}, ValueError, "modality must have 30 entries, got 3"),
        (
            {"modality": [str(i) for i in range(30)]},
            ValueError,
            "modality must have at most 4 different values, got 30",
        ),
        ({"pairs": [30] + [-1] * 29}, ValueError, "pairs must be another row, 0 to 29, or −1; got 30 in row 0"),
        ({"pairs": [-1, -2] + [-1] * 28}, ValueError, "got -2 in row 1"),
        ({"pairs": [0] + [-1] * 29}, ValueError, "got 0 in row 0"),
        ({"pairs": [1.0] * 30}, TypeError, r"pairs\[0\] has the wrong type float"),
        ({"steps": [0, 1]}, ValueError, "steps must have 4 entries, got 2"),
        ({"projection": "tsne"}, ValueError, "projection must be one of 'pca', 'umap', got 'tsne'"),
        ({"k": 0}, ValueError, "k must be from 1 to 29, got 0"),
        ({"k": 30}, ValueError, "k must be from 1 to 29, got 30"),
        ({"images": [None] * 3}, ValueError, "images must have 30 entries, got 3"),
        ({"images": [np.ones((5, 5))] * 30}, ValueError, r"images\[0\] must have shape .* got \(5, 5\)"),
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
    with pytest.raises(error, match=message):
        model(**change)


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


def widget(**changes):
    embeddings, options = data(**changes)
    return explore(embeddings, **options)


def test_widget_and_model_agree_both_ways():
    w = widget()
    w.selected, w.step, w.query = 3, 99, "thing 1"
    assert (w.model.selected, w.model.step, w.step) == (3, 3, 3)
    assert w.matches == [i for i, c in enumerate(w.model.captions) if "thing 1" in c]
    assert w.neighbours == w.model.neighbours
    w.model.selected = 7
    assert w.selected == 7
    assert w.alt_text == w.model.alt_text
    assert w.neighbours == w.model.neighbours
    with pytest.raises(traitlets.TraitError, match="selected"):
        w.selected = 1000
    assert (w.selected, w.model.selected) == (7, 7)
    with pytest.raises(traitlets.TraitError, match="among"):
        w.among = "nobody"
    assert w.among == "all"


def test_choices_that_arrive_together_all_count():
    w = widget()
    w.set_state({"hover": 5, "selected": 7, "query": "thing"})  # as one message from the browser
    assert (w.hover, w.selected, w.query) == (5, 7, "thing")
    assert (w.model.hover, w.model.selected) == (5, 7)
    assert w.neighbours == w.model.neighbours


def test_two_views_of_one_model_are_linked():
    m = model()
    left, right = Explorer(m), Explorer(m)
    left.selected = 4
    assert right.selected == 4
    assert right.neighbours == left.neighbours


def test_a_step_costs_less_than_a_kilobyte(monkeypatch):
    w = widget()
    w.selected = 3
    sent = []
    monkeypatch.setattr(w, "_send", lambda message, buffers=None: sent.append((message, buffers)))
    w.set_state({"step": 2})
    assert len(sent) == 1
    assert not sent[0][1]
    assert set(sent[0][0]["state"]) <= {"neighbours", "pair_rank", "note", "alt_text"}
    assert len(json.dumps(sent[0][0])) < 1000


def test_frames_survive_the_trip_as_16_bit_numbers():
    w = widget()
    q = np.frombuffer(w.frames, "<u2").reshape(T, N, 2).astype(float)
    low = w.model.frames.min((0, 1))
    span = (w.model.frames.max((0, 1)) - low).max()
    np.testing.assert_allclose(low + q / 65535 * span, w.model.frames, atol=span / 65000)
    assert w.setup["extent"] == q.max((0, 1)).tolist()


def test_atlas_holds_every_picture_in_its_place():
    w = widget()
    sheet = np.asarray(Image.open(io.BytesIO(w.atlas)).convert("RGBA"))
    height, width = w.model.thumbnails.shape[1:3]
    for sprite, thumbnail in enumerate(w.model.thumbnails):
        row, column = divmod(sprite, w.setup["across"])
        cell = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        np.testing.assert_array_equal(cell, thumbnail)


def test_many_classes_are_not_coloured():
    assert len(widget().setup["palette"]) == 3
    assert widget(labels=[f"class {i}" for i in range(30)]).setup["palette"] == []


# ---- the still picture


def bundle(**changes):
    return widget(**changes)._repr_mimebundle_()


def test_output_holds_widget_picture_and_alt_text():
    bundle_, metadata = bundle(title="Toys")
    assert "application/vnd.jupyter.widget-view+json" in bundle_
    assert bundle_["text/plain"] == metadata["image/png"]["alt"]
    assert bundle_["text/plain"].startswith("Toys: 15 image and 15 text items")
    picture = Image.open(io.BytesIO(base64.b64decode(bundle_["image/png"])))
    assert min(picture.size) >= 400


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
        assert "image/png" in bundle(**changes)[0]


def test_still_picture_follows_the_step_and_shows_the_pictures():
    magenta = np.zeros((3, 24, 24))
    magenta[[0, 2]] = 1
    m = model(images=[magenta, *[None] * 29])

    def centre():
        pixels = np.asarray(Image.open(io.BytesIO(static.picture(m, palette=[]))).convert("RGB")).astype(int)
        rows, columns = np.nonzero(np.abs(pixels - [255, 0, 255]).sum(2) < 60)
        assert len(rows) > 100
        return np.array([rows.mean(), columns.mean()])

    first = centre()
    m.step = 3
    assert np.linalg.norm(centre() - first) > 5
