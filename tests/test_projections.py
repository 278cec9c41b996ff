"""The explorer's projections and their trustworthiness, against independent computations."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from test_explore import D, N, T, data, encode, model, unit

from xlib.explore import ExplorerModel, projections


def first_component(rows):
    """The centred rows' first principal direction, its largest entry positive, and its share of the variance."""
    _, s, v = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return v[0] * np.sign(v[0][np.abs(v[0]).argmax()]), s[0] ** 2 / (s**2).sum()


# ---- PCA


def test_pca_is_one_map_for_all_snapshots_with_fixed_signs():
    z, options = data()
    m = ExplorerModel(z, **options)
    rows = z.reshape(-1, D)
    _, s, v = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    v = v[:2] * np.sign([row[np.abs(row).argmax()] for row in v[:2]])[:, None]
    np.testing.assert_allclose(m.frames, (z - rows.mean(0)) @ v.T, atol=1e-4)
    assert m.axes == [f"PCA {i + 1} ({s[i] ** 2 / (s**2).sum():.0%} of variance)" for i in range(2)]
    np.testing.assert_array_equal(m.frames, ExplorerModel(z, **options).frames)
    x = encode(["anything"])[0]
    np.testing.assert_allclose(m.layout("pca").place(x), (x - rows.mean(0)) @ v.T, atol=1e-4)


def test_pca_of_very_many_rows_is_fitted_on_a_sample(monkeypatch):
    z = np.random.default_rng(0).normal(size=(2, 3000, 4)) * [4, 2, 1, 1]
    whole = projections.pca(z)
    fitted = []
    monkeypatch.setattr(projections, "FIT_ROWS", 2500)
    monkeypatch.setattr(PCA, "fit", lambda self, x, fit=PCA.fit: fitted.append(len(x)) or fit(self, x))
    sample = projections.pca(z)
    assert fitted == [2500]
    assert sample.frames.shape == whole.frames.shape == (2, 3000, 2)
    np.testing.assert_allclose(sample.frames, whole.frames, atol=0.15 * whole.frames.std())


def by_scikit_learn(rows, seen):
    """Where PCA of the rows puts what is seen, and the shares of variance."""
    fitted = PCA(2).fit(rows)
    signs = np.sign(fitted.components_[[0, 1], np.abs(fitted.components_).argmax(1)])
    return fitted.transform(seen) * signs, fitted.explained_variance_ratio_


def hubs(factor):
    z = np.random.default_rng(0).normal(size=(2000, 24))
    z[:40] *= factor
    return z


@pytest.mark.parametrize(
    "z",
    [
        np.random.default_rng(0).normal(size=(2000, 24)) * np.random.default_rng(1).lognormal(size=(2000, 1)) ** 0.7,
        np.random.default_rng(0).standard_t(3, size=(2000, 24)),
        hubs(12),
        np.concatenate([np.random.default_rng(0).normal(size=(11, 24)), np.full((1, 24), 6.0)]),
    ],
    ids=["norms of all sizes", "tails", "hubs", "one of twelve"],
)
def test_where_no_item_hides_the_others_pca_is_that_of_all_rows(z):
    layout = projections.pca(z[None])
    places, shares = by_scikit_learn(z, z)
    np.testing.assert_allclose(layout.frames[0], places, atol=1e-6 * np.abs(places).max())
    assert layout.axes == [f"PCA {i + 1} ({share:.0%} of variance)" for i, share in enumerate(shares)]
    assert not layout.far(0).any()


@pytest.mark.parametrize(("far", "words"), [([7], "without 1 far item"), ([7, 8, 9], "without 3 far items")])
def test_pca_without_far_items_says_so_and_gives_the_shares_of_the_others(far, words):
    z = np.random.default_rng(0).normal(size=(3, 200, 6)) * [5, 3, 1, 1, 1, 0]
    z[:2, far] += 1e6 * np.eye(6)[[5, 0, 1][: len(far)]]  # the first where the others have no width
    near = np.ones((3, 200), bool)
    near[:2, far] = False
    layout = projections.pca(z)
    places, shares = by_scikit_learn(z[near], z[near])
    np.testing.assert_allclose(layout.frames[near], places, atol=1e-6)
    assert layout.axes == [f"PCA {i + 1} ({share:.0%} of variance, {words})" for i, share in enumerate(shares)]
    followed = projections.follow(layout.frames[:0], z[0])
    share = by_scikit_learn(z[0][near[0]], z[0][near[0]])[1].sum()
    assert followed.axes[0] == f"PCA of each step by itself ({share:.0%} of variance, {words})"


def test_a_far_item_does_not_turn_the_snapshots_that_come_one_by_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1]
    wild = x.copy()
    wild[4] = 1e6 * rng.normal(size=6)
    near = np.arange(50) != 4
    found = projections.each(np.stack([x, wild, x]))
    for frame in found[1:]:  # but for the far item all is as it was
        np.testing.assert_allclose(frame[near], found[0][near], atol=0.6)


def test_snapshots_that_come_one_by_one_are_turned_onto_the_one_before():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1]
    turned = x @ np.linalg.qr(rng.normal(size=(6, 6)))[0]  # PCA alone would give it other signs, or other axes
    first = projections.follow(np.zeros((0, 50, 2)), x)
    found = projections.follow(first.frames, turned + 7)
    np.testing.assert_allclose(
        first.frames[0],
        (x - x.mean(0))
        @ np.linalg.svd(x - x.mean(0))[2][:2].T
        * np.sign((first.frames[0] * ((x - x.mean(0)) @ np.linalg.svd(x - x.mean(0))[2][:2].T)).sum(0)),
        atol=1e-6,
    )
    np.testing.assert_allclose(found.frames, np.stack([first.frames[0]] * 2), atol=1e-6)
    np.testing.assert_allclose(found.place(turned[3] + 7), found.frames[1, 3], atol=1e-6)
    assert found.axes[1] == "turned onto the step before"
    s = np.linalg.svd(x - x.mean(0))[1] ** 2
    assert found.axes[0] == f"PCA of each step by itself ({s[:2].sum() / s.sum():.0%} of variance)"
    np.testing.assert_allclose(projections.each(np.stack([x, turned + 7])), found.frames, atol=1e-6)


def test_a_collapsed_snapshot_is_one_point():
    layout = projections.follow(np.zeros((1, 5, 2)), np.ones((5, 3)))
    assert np.abs(layout.frames).max() == 0


# ---- UMAP


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
    nearest = np.argsort(-(unit(blobs[1]) @ unit(blobs[1, 25])))[:3]
    assert 25 in nearest
    np.testing.assert_allclose(m.layout("umap").place(blobs[1, 25]), m.frames[1, nearest].mean(0), atol=1e-5)


@pytest.mark.long
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("n", [2, 3, 5])
def test_umap_of_a_few_items(n):
    frames = projections.umap(np.random.default_rng(0).normal(size=(1, n, 4)).astype("f4")).frames
    assert frames.shape == (1, n, 2)
    assert np.isfinite(frames).all()


# ---- an axis between two texts


def check_axis(m, a, b):
    """The axis projection of a model, from the directions of its two texts."""
    axis = unit(unit(b) - unit(a))
    z = unit(m.embeddings)
    along = z @ axis
    rest = z - along[..., None] * axis
    up, share = first_component(rest.reshape(-1, D))
    frames = m.layouts["axis"].frames
    assert frames.shape == (T, N, 2)
    np.testing.assert_allclose(frames[..., 0], along, atol=1e-5)
    np.testing.assert_allclose(frames[..., 1], (rest - rest.mean((0, 1))) @ up, atol=1e-4)
    assert m.axes == [f"{m.axis[0]} ↔ {m.axis[1]} (cosine)", f"the rest: PCA 1 ({share:.0%} of variance)"]
    x = encode(["a word typed later"])[0]
    there = unit(x) @ axis
    landed = [there, (unit(x) - there * axis - rest.mean((0, 1))) @ up]
    np.testing.assert_allclose(m.layouts["axis"].place(x), landed, atol=1e-4)


@given(seed=st.integers(0, 1000), i=st.integers(15, N - 1), j=st.integers(15, N - 1), norm=st.floats(0.1, 10))
def test_an_axis_between_two_items(seed, i, j, norm):
    z, _ = data(seed=seed)
    m = model(seed=seed, embeddings=z * norm, captions=[f"Thing {n}" for n in range(N)])
    if i == j:
        return
    m.axis = [f" thing {i}", f"THING {j} "]
    assert (m.axis, m.projection) == ([f"thing {i}", f"THING {j}"], "axis")
    assert m.frames is m.layouts["axis"].frames
    check_axis(m, z[-1, i], z[-1, j])
    at = m.layouts["axis"].place(z[-1, i] * norm)[0], m.layouts["axis"].place(z[-1, j] * norm)[0]
    assert at[0] < 0 < at[1]


def test_several_items_of_one_caption_are_averaged_and_texts_go_before_pictures():
    captions = ["even", "odd", "ODD", "Even"] + ["x"] * 12 + ["even", "EVEN"] + ["x"] * 12  # pictures up to row 14
    m = model(captions=captions)
    m.axis = ["Even", "odd"]
    z = unit(m.embeddings[-1])
    check_axis(m, z[[16, 17]].mean(0), z[[1, 2]].mean(0))
    before = m.layouts["axis"]
    m.axis = ["odd", "even"]
    np.testing.assert_allclose(m.frames[..., 0], -before.frames[..., 0], atol=1e-6)
    m.step = 2  # the texts are those of the last snapshot, whichever is shown
    m.axis = ["even", "odd"]
    np.testing.assert_array_equal(m.frames, before.frames)


@pytest.mark.parametrize("tensor", [torch.from_numpy, np.asarray])
def test_an_axis_between_texts_that_are_no_items(tensor):
    m = model(encode=lambda texts: tensor(encode(texts)))
    m.axis = ["happy", "thing 4"]
    check_axis(m, encode(["happy"])[0], m.embeddings[-1, 19])
    m.axis = ["happy", "sad"]
    check_axis(m, encode(["happy"])[0], encode(["sad"])[0])


# ---- trustworthiness


@given(seed=st.integers(0, 1000), n=st.integers(6, 40), k=st.integers(1, 12))
@example(seed=0, n=10, k=5)
@example(seed=0, n=11, k=5)
def test_trustworthiness_is_that_of_scikit_learn(seed, n, k):
    rng = np.random.default_rng(seed)
    vectors, picture = rng.normal(size=(n, 5)), rng.normal(size=(n, 2))
    found = projections.trust(vectors, picture, k)
    if k >= n / 2:
        assert found is None
    else:
        assert found == pytest.approx(trustworthiness(vectors, picture, n_neighbors=k, metric="cosine"))


def test_trustworthiness_tells_a_faithful_picture_from_a_meaningless_one():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 300)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert projections.trust(circle * rng.uniform(1, 2, (300, 1)), circle, 8) == pytest.approx(1)
    assert projections.trust(circle, rng.permutation(circle), 8) == pytest.approx(0.5, abs=0.05)


def test_trustworthiness_of_many_items_is_measured_on_a_sample(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1200, 6)) * [3, 3, 1, 1, 1, 1]
    sizes, measure = [], trustworthiness

    def measured(x, picture, **options):
        sizes.append((len(x), len(picture)))
        return measure(x, picture, **options)

    monkeypatch.setattr(projections, "trustworthiness", measured)
    found = projections.trust(vectors, vectors[:, :2], 8)
    assert sizes == [(1000, 1000)]
    assert found == projections.trust(vectors, vectors[:, :2], 8)
    assert found == pytest.approx(measure(vectors, vectors[:, :2], n_neighbors=8, metric="cosine"), abs=0.02)
    assert 0.6 < found < 0.95
