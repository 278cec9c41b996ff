"""What the explorer shows when there are many classes or domains, values, a map of one's own, or a few far items; and
numbers that are large, small or none."""

import re
import time
import warnings
from itertools import combinations

import numpy as np
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from test_explore import D, N, T, data, encode, model, widget

from xlib.explore import Explorer, ExplorerModel, explore, looks, page, projections, static
from xlib.explore.model import fold

PLAIN = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


# ---- classes and domains


def oklab(colours):
    """(n, 3): colours in a space where distances are those that people see (Ottosson 2020)."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    axes = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.cbrt(linear @ np.transpose(cones)) @ np.transpose(axes)


@pytest.mark.parametrize("many", [1, 8, 9, 10, 25, 26])
def test_up_to_26_classes_have_colours_that_can_be_told_apart(many):
    w = explore(PLAIN, labels=[f"c{i % many:02}" for i in range(40)])
    palette, tones = w.setup["palette"], np.frombuffer(w.columns, "<i4").reshape(8, 40)[6]
    assert w.setup["tones"] == [f"c{i:02}" for i in range(many)]
    assert tones.tolist() == [1 + i % many for i in range(40)]
    assert (
        palette[:8] == ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"][:many]
    )
    found = oklab([*palette, looks.GREY])
    assert min(np.linalg.norm(a - b) for a, b in combinations(found, 2)) > 0.11  # 0.02 is what is just seen
    assert w.setup["remarks"] == []


def test_of_more_classes_the_largest_have_colours_and_a_sentence_says_so():
    labels = [*range(200), *range(0, 60, 2), None, None]  # thirty classes of two, and of these 26
    w = explore(np.random.default_rng(0).normal(size=(232, 5)), labels=labels)
    assert w.setup["tones"] == [*map(str, range(0, 52, 2)), "other (174 classes)"]
    assert w.setup["palette"][26:] == [looks.GREY]
    tones = np.frombuffer(w.columns, "<i4").reshape(8, -1)[6]
    assert tones.tolist() == [0 if c is None else 1 + c // 2 if c < 52 and c % 2 == 0 else 27 for c in labels]
    said = "The 26 largest of 200 classes have a colour of their own; the other 174 are grey."
    assert w.setup["remarks"] == [said]
    assert w.alt_text.endswith(said)
    one = explore(PLAIN, labels=[i % 27 for i in range(40)])
    assert one.setup["tones"][-1] == "other (1 class)"
    assert one.setup["remarks"] == ["The 26 largest of 27 classes have a colour of their own; the other one is grey."]


def test_ids_as_classes_and_as_domains_are_quick_and_all_alike():
    n, start = 50_000, time.perf_counter()
    z = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    w = explore(z, labels=[f"id {i}" for i in range(n)], domains=[f"d {i}" for i in range(n)])
    w.selected = [7]
    assert time.perf_counter() - start < 5  # 0.5 s; where each is looked for among all it takes a minute
    assert (w.setup["palette"], w.setup["tones"], w.setup["groups"]) == ([], [], ["domains"])
    assert w.setup["remarks"] == [
        "Each of the 50,000 domains is one item: all have the same shape.",
        "Each of the 50,000 classes is one item: all are grey.",
    ]
    assert w.model.comparisons["domains"] == ["d 0", "the other 49,999"]


@pytest.mark.parametrize(("many", "shapes"), [(6, 6), (12, 12), (13, 12), (20, 12)])
def test_more_domains_than_shapes_share_the_last_one(many, shapes):
    w = explore(PLAIN, domains=[f"d{i % many}" for i in range(40)])
    assert len(w.setup["groups"]) == shapes
    if many == shapes:
        assert w.setup["groups"] == [f"d{i}" for i in range(many)]
        assert w.setup["remarks"] == []
    else:
        rest = many - 11
        assert w.setup["groups"] == [*(f"d{i}" for i in range(11)), f"other ({rest} domains)"]
        assert w.setup["remarks"] == [
            f"The 11 largest of {many} domains have a shape of their own; the other {rest} share one."
        ]
        assert w.model.group.tolist() == [min(i % many, 11) for i in range(40)]
    assert len(static.MARKERS) == looks.SHAPES
    assert w._picture(False).size == (760, 500)


def test_the_stills_legend_of_twelve_shapes_and_26_classes_stays_within_the_picture(monkeypatch):
    legends = []
    legend = static.Figure.legend
    monkeypatch.setattr(static.Figure, "legend", lambda self, **o: legends.append(legend(self, **o)) or legends[-1])
    names = {
        "labels": [f"a class with a long name {i % 27}" for i in range(81)],
        "domains": [i % 12 for i in range(81)],
    }
    w = explore(np.random.default_rng(0).normal(size=(81, 4)), **names)
    w._picture(False)
    box = legends[-1].get_window_extent()
    assert box.x1 <= 760
    assert 40 <= box.y0 < box.y1 <= 500  # and above the sentence on what is grey
    assert len(legends[-1].get_texts()) == 12 + 27


def test_modalities_are_told_apart_by_shape_too():
    w = widget(modality=[f"sense {i % 15}" for i in range(N)])
    assert w.setup["groups"][-1] == "other (4 modalities)"


# ---- values


@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-300, 1e-20, 1.0, 1e20, 1e300]))
def test_values_have_even_steps_of_one_scale(seed, scale):
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 2, N) * scale
    values[[3, 5]] = np.nan
    colours = looks.of_values(values)
    low, high = np.nanmin(values), np.nanmax(values)
    share = (values - low) / (high - low)
    assert (colours.of[[3, 5]] == 0).all()
    known = np.isfinite(values)
    np.testing.assert_allclose((colours.of[known] - 1) / 63, share[known], atol=0.51 / 63)
    assert colours.scale["missing"] == 2
    read = [float(colours.scale[end].replace("−", "-").replace(",", "")) for end in ("low", "middle", "high")]
    np.testing.assert_allclose(read, [low, low / 2 + high / 2, high], atol=0.006 * (high - low))


@pytest.mark.parametrize("far", [[1e6], [-1e6], [1e6, 1e9], [1e6, -1e6], [1e308, -1e308]])
def test_a_far_value_does_not_make_all_others_one_colour(far):
    values = np.array([*np.linspace(0, 12.3, 40), *far])
    colours = looks.of_values(values)
    assert len(set(colours.of[:40].tolist())) == 40
    assert colours.of[40:].tolist() == [64 if v > 0 else 1 for v in far]
    assert colours.scale["high"] == ("≥ 12.3" if max(far) > 0 else "12.3")
    assert colours.scale["low"] == ("≤ 0" if min(far) < 0 else "0")


@pytest.mark.parametrize(
    ("values", "scale", "of"),
    [
        ([5.0] * N, {"low": "5", "middle": "5", "high": "5", "missing": 0}, {33}),
        ([np.nan] * N, None, {0}),
        ([2020.0, 2026.0] * 15, {"low": "2020", "middle": "2023", "high": "2026", "missing": 0}, {1, 64}),
        ([1000.001, 1000.002] * 15, {"low": "1000.001", "middle": "1000.0015", "high": "1000.002", "missing": 0},
         {1, 64}),
        ([-0.0, 1] * 15, {"low": "0", "middle": "0.5", "high": "1", "missing": 0}, {1, 64}),
        ([-4.054, 11.39] * 15, {"low": "−4.1", "middle": "3.7", "high": "11.4", "missing": 0}, {1, 64}),
        ([-4187.4, 3884] * 15, {"low": "−4187", "middle": "−152", "high": "3884", "missing": 0}, {1, 64}),
        ([1e-9, 2.9e8] * 15, {"low": "0", "middle": "145,000,000", "high": "290,000,000", "missing": 0}, {1, 64}),
        ([1e-9, 3.456e-9] * 15, {"low": "1e−9", "middle": "2.23e−9", "high": "3.46e−9", "missing": 0}, {1, 64}),
        ([1e7, 2.5e7] * 15, {"low": "10,000,000", "middle": "17,500,000", "high": "25,000,000", "missing": 0},
         {1, 64}),
    ],
)  # fmt: skip
def test_the_numbers_of_the_legend_are_as_people_write_them(values, scale, of):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w = widget(values=values)
        assert (w.setup["scale"], set(w.model.colours.of.tolist())) == (scale, of)
        said = (
            "Colour: " + ("one value, 5." if values[0] == 5 else f"values from {scale['low']} to ") if scale else ""
        )
        assert said in w.alt_text
        assert w._picture(True).size == (760, 500)


def test_values_are_in_the_card_the_table_the_alternative_text_and_the_still():
    values = [None, 0.25, *range(2, N)]
    w = widget(values=values)
    columns = np.frombuffer(w.columns, "<i4").reshape(8, N)
    assert w.setup["values"][:4] == ["", "0.25", "2", "3"]
    assert columns[7, 1:].argsort().tolist() == list(range(N - 1))  # by which the table sorts
    assert w.setup["tones"] == []  # colour tells the values; the labels are in the card
    assert w.setup["classes"] == ["0", "1", "2"]
    assert "Colour: values from 0.2 to 29, 1 missing." in w.alt_text
    bare = widget(values=values, images=None, labels=None)._picture(False)
    pixels = np.asarray(bare.convert("RGB")).reshape(-1, 3)
    for colour in (looks.SCALE[0], looks.SCALE[-1], looks.MISSING[False]):  # the ends of the bar, and "no value"
        wanted = (np.array(to_rgb(colour)) * 255).round()
        assert (np.abs(pixels - wanted).sum(1) < 12).sum() >= 4


def test_the_colour_scale_is_even_and_is_seen_on_light_and_dark_paper():
    steps = np.linalg.norm(np.diff(oklab(looks.SCALE[::9]), axis=0), axis=1)
    assert steps.max() < 1.3 * steps.min()
    lightness = oklab(looks.SCALE)[:, 0]
    assert (np.diff(lightness) > 0).all()  # also for those who see no colours
    assert lightness[0] > 0.38 > 0.19  # of #111111
    assert lightness[-1] < 0.8


# ---- captions, and a map of one's own


def test_without_captions_the_rows_are_numbered():
    w = explore(PLAIN)
    assert w.model.captions == [str(i) for i in range(40)]
    w.query = "12"
    assert w.matches == [12]


@pytest.mark.parametrize("steps", [1, T])
def test_given_coordinates_are_shown_first_and_as_they_are(steps):
    z, options = data()
    xy = np.random.default_rng(1).normal(size=(T, N, 2)) * 40 + 7
    xy = xy if steps == T else xy[0]
    w = explore(z, coordinates=xy, **options)
    assert (w.projection, w.model.axes, set(w.maps)) == ("given", ["x", "y"], {"given", "pca"})
    np.testing.assert_array_equal(w.model.frames, np.broadcast_to(xy, (T, N, 2)))
    q = np.frombuffer(w.maps["given"]["frames"], "<u2").reshape(T, N, 2) / 65535
    low, span = xy.reshape(-1, 2).min(0), np.ptp(xy.reshape(-1, 2), 0).max()
    np.testing.assert_allclose(low + q * span, w.model.frames, atol=span / 60_000)
    w.selected = [3]
    assert w.model.trustworthiness("given", 0) == projections.trust(z[0].astype("f4"), w.model.frames[0], 8)
    w.projection = "pca"
    assert w.model.axes[0].startswith("PCA 1")
    assert set(page.offline(w.model)["agree"]) == {"given", "pca"}


def test_a_typed_caption_lands_beside_its_nearest_items_on_a_given_map():
    z, options = data()
    xy = np.random.default_rng(1).normal(size=(N, 2))
    w = explore(z, coordinates=xy, encode=encode, **options)
    w.typed = "word"
    unit = z[-1] / np.linalg.norm(z[-1], axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ encode(["word"])[0]))[:3]
    np.testing.assert_allclose(w.model.layouts["given"].place(w.model.typed_vector), xy[nearest].mean(0), atol=1e-6)
    w.model.append(50, z[0])  # of which nobody has given the places
    assert (w.projection, set(w.model.layouts)) == ("pca", {"pca"})
    with pytest.raises(traitlets.TraitError, match="projection must be one of 'pca', 'umap', 'axis', got 'given'"):
        w.projection = "given"


def test_axes_of_different_units_have_a_scale_each_and_a_map_of_one_unit_keeps_distances():
    years = np.stack([np.linspace(1900, 2020, 40), PLAIN[:, 0]], 1)
    assert explore(PLAIN, coordinates=years).maps["given"]["free"]
    assert not explore(PLAIN, coordinates=PLAIN[:, :2] * [1, 2]).maps["given"]["free"]
    assert not explore(PLAIN).maps["pca"]["free"]


@pytest.mark.parametrize("factor", [2.0**-1000, 2.0**-70, 2.0**80, 2.0**1000])
def test_coordinates_of_any_size_are_the_same_map(factor):
    xy, found = np.random.default_rng(1).normal(size=(40, 2)), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for places in (xy, xy * factor):
            w = explore(PLAIN, coordinates=places)
            w.selected = [3]
            found.append((w.maps["given"]["frames"], w.note, w.warning, w._picture(False).tobytes()))
    assert found[0] == found[1]


# ---- a few far items


def spread(w, name, rows):
    """How much of a map's width or height these rows fill, at each step."""
    q = np.frombuffer(w.maps[name]["frames"], "<u2").reshape(len(w.model.steps), -1, 2)
    return np.ptp(q[:, rows].astype(float), axis=1).max(1) / 65535


@pytest.mark.parametrize("n", [5, 12, 40, 1000])
@pytest.mark.parametrize("far", [{0: 1e6}, {0: -1e6, 1: 3e5}, {0: 1e25}])
@pytest.mark.parametrize("kind", ["pca", "given"])
def test_a_far_item_does_not_hide_the_map(n, far, kind):
    if n == 5 and len(far) > 1:
        return  # two of five are no exception
    z = np.random.default_rng(n).normal(size=(n, 6))
    for row, factor in far.items():
        z[row] *= factor
    w = explore(z) if kind == "pca" else explore(PLAIN[:1].repeat(n, 0), coordinates=z[:, :2])
    rest = [i for i in range(n) if i not in far]
    assert w.maps[kind]["far"] == [sorted(far)]
    assert spread(w, kind, rest) > 0.85
    q = np.frombuffer(w.maps[kind]["frames"], "<u2").reshape(n, 2)
    assert set(q[list(far)].flatten().tolist()) & {0, 65535}  # at the rim, which no other item reaches
    assert not set(q[rest].flatten().tolist()) & {0, 65535}
    words = "1 item lies" if len(far) == 1 else "2 items lie"
    assert f" {words} beyond the edge of the map, where the arrow" in w.alt_text
    if kind == "pca":  # its axes are those of the other items
        whole = projections.pca(z[None, rest].astype("f4"))
        without = f", without {len(far)} far item{'s' * (len(far) > 1)})"
        assert w.model.axes == [name.replace(")", without) for name in whole.axes]
        np.testing.assert_allclose(w.model.frames[0, rest], whole.frames[0], atol=1e-3)


def test_a_far_item_in_one_snapshot_hides_none_of_them():
    z = np.random.default_rng(0).normal(size=(3, 40, 6))
    z[1, 9] *= 1e6
    w = explore(z)
    assert w.maps["pca"]["far"] == [[], [9], []]
    assert min(spread(w, "pca", [i for i in range(40) if i != 9])) > 0.5
    texts = page.offline(w.model)["texts"]["pca"]
    assert ["beyond the edge" in text for text in texts] == [False, True, False]
    w.step = 1
    arrow = np.asarray(w._picture(False).convert("L"))
    w.step = 0
    assert (arrow != np.asarray(w._picture(False).convert("L"))).any()


@pytest.mark.long
def test_a_far_item_does_not_hide_umaps_map(monkeypatch):
    places = np.random.default_rng(0).normal(size=(40, 2)).astype("f4")
    places[7] = 1e4
    monkeypatch.setattr(projections, "_umap", lambda rows: places)
    w = explore(PLAIN, projection="umap")
    assert w.maps["umap"]["far"] == [[7]]
    assert spread(w, "umap", [i for i in range(40) if i != 7]) > 0.85


@pytest.mark.parametrize(
    "points",
    [
        np.random.default_rng(0).normal(size=(500, 2)),
        np.random.default_rng(0).standard_t(3, size=(2000, 2)),  # with tails
        np.random.default_rng(0).uniform(size=(500, 2)) ** 3,
        np.concatenate([np.random.default_rng(0).normal(size=(400, 2)), 50 + np.ones((100, 2))]),  # a fifth elsewhere
        np.concatenate([np.zeros((30, 2)), [[1e6, 0]]]),  # all others in one point: there is nothing to be hidden
        np.array([[0.0, 0.0], [1e6, 1e6]]),
        np.array([[0.0, 0.0], [1.0, 1.0], [1e6, 1e6]]),
        np.zeros((10, 2)),
    ],
)
def test_where_nothing_is_hidden_the_map_is_of_all_items(points):
    layout = projections.Layout(points[None], ["x", "y"], None)
    np.testing.assert_array_equal(layout.box, [points.min(0), points.max(0)])
    assert not layout.cut
    assert not layout.far(0).any()


def test_a_space_that_shrinks_is_seen_to_shrink_and_nothing_of_it_is_far():
    x = np.random.default_rng(0).normal(size=(200, 2))
    x[0] = 3  # in the last snapshots far from all others, but not farther than these were
    frames = np.stack([x, *[np.where(np.arange(200)[:, None] == 0, x, 0.001 * x)] * 99])
    layout = projections.Layout(frames, ["x", "y"], None)
    assert not layout.cut


def test_a_typed_caption_that_lands_far_away_does_not_hide_the_map():
    w = widget(encode=lambda texts: np.full((1, D), 1e9))
    w.typed = "word"
    assert np.abs(np.array(w.landed["pca"]) - 32_767).max() <= 65_536


# ---- large, small and odd numbers


@pytest.mark.parametrize("exponent", [-30, -25, -20, -12, -8, -6, 10, 15, 18, 20, 25, 37])
def test_embeddings_of_any_size_have_the_same_answers(exponent):
    z, options = data()
    z = z.astype(np.float32) / 8
    factor = 2.0 ** round(exponent * np.log2(10))  # a power of two: no rounding of its own
    reference, scaled = (ExplorerModel(x.astype("f4"), **options, encode=lambda t, x=x: x[-1, [4]])
                         for x in (z, z * factor))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for m in (reference, scaled):
            m.selected = [3]
        assert [j for j, _ in scaled.neighbours] == [j for j, _ in reference.neighbours]
        assert [c for _, c in scaled.neighbours] == pytest.approx([c for _, c in reference.neighbours], abs=2e-4)
        assert (scaled.ranks, scaled.note, scaled.axes) == (reference.ranks, reference.note, reference.axes)
        np.testing.assert_allclose(scaled.pair_similarity, reference.pair_similarity, atol=1e-6)
        np.testing.assert_allclose(scaled.frames / factor, reference.frames, atol=1e-5)
        maps = [np.frombuffer(Explorer(m).maps["pca"]["frames"], "<u2").astype(int) for m in (scaled, reference)]
        np.testing.assert_allclose(*maps, atol=2)
        for m in (reference, scaled):
            m.typed, m.axis = "word", ["thing 1", "thing 2"]
        assert scaled.neighbours == reference.neighbours
        np.testing.assert_allclose(scaled.frames, reference.frames, atol=1e-5)
        scaled.append(41, z[0] * factor)
        assert np.isfinite(scaled.frames).all()
        assert static.picture(scaled).size == (760, 500)


@pytest.mark.long
@pytest.mark.parametrize("factor", [1e25, 1e-25])
def test_umap_of_large_and_small_numbers_keeps_groups_together(factor):
    rng = np.random.default_rng(0)
    groups = np.repeat(10 * np.eye(3, 8), 20, 0) + 0.3 * rng.normal(size=(60, 8))
    xy = projections.umap((groups * factor)[None].astype("f4")).frames[0]
    nearest = (np.linalg.norm(xy[:, None] - xy, axis=2) + np.diag([np.inf] * 60)).argmin(1)
    assert (nearest // 20 == np.arange(60) // 20).all()


def test_rows_of_very_different_size_and_zeros_have_their_true_cosines():
    z = PLAIN.copy()
    z[0], z[1], z[2] = 0, z[1] * np.float32(1e25), z[2] * np.float32(1e-25)
    unit = PLAIN / np.linalg.norm(PLAIN.astype(float), axis=1, keepdims=True)
    unit[0] = 0
    np.testing.assert_allclose(projections.unit(z), unit, atol=1e-6)
    m = ExplorerModel(z, k=39)
    m.selected = [1]
    for j, cosine in m.neighbours:
        assert cosine == pytest.approx(unit[1] @ unit[j], abs=1e-4)


@pytest.mark.parametrize("z", [np.eye(2), np.ones((2, 2)), np.zeros((2, 5)), np.full((2, 3), 1e30), -np.ones((3, 2))])
def test_two_items_and_one_pair_are_told_without_what_is_not_there(z):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w = explore(z, pairs=[1, 0, -1][: len(z)], title=None)
        w.selected = [0]
        text = w.alt_text
        assert static.picture(w.model).size == (760, 500)
        assert page.offline(w.model)["texts"]["pca"][0]
    cosine = float(z[0] @ z[1] / max((z[0] ** 2).sum(), 1e-9))
    assert "nan" not in text
    assert re.fullmatch(rf"Embedding: \d items; axes .*\. Mean cosine of pairs {cosine:.2f}\. Selected: 0; .*", text)
    assert (w.setup["title"], w.model.title) == ("", "")


# ---- what is searched


@pytest.mark.parametrize(
    ("caption", "query"),
    [
        ("cafe\u0301", "café"),  # as a Mac writes names of files
        ("café", "CAFE\u0301"),
        ("Stra\u00dfe", "STRASSE"),
        ("STRASSE", "stra\u00dfe"),
        ("İstanbul", "istanbul"),
        ("ISTANBUL", "ıstanbul"),
        ("ＦＵＬＬ ｗｉｄｔｈ", "full width"),
        ("ｶﾞ", "ガ"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        ("ﬁsh", "fish"),
        ("각", "\u1100\u1161\u11a8"),  # Hangul in its parts
        ("Åse", "A\u030ase"),
    ],
)
def test_search_finds_a_letter_whatever_its_case_and_way_of_writing(caption, query):
    m = model(captions=[caption, f"a {caption}", "something else"] + ["x"] * 27)
    m.query = query
    assert m.matches == [0, 1]
    m.axis = [query, "something else"]  # a caption that is named is found likewise
    assert m.projection == "axis"
    assert fold(fold(query)) == fold(query)


def test_an_accent_tells_words_apart():
    m = model(captions=["cafe", "café"] * 15)
    m.query = "café"
    assert m.matches == list(range(1, N, 2))
