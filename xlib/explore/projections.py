"""Pictures of an embedding in two dimensions, and how far they can be trusted."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from xlib.progress import tqdm

FIT_ROWS = 50_000  # rows that PCA is fitted on, drawn from all snapshots
TRUST_ROWS = 1_000  # items that trustworthiness is measured on: it costs their number squared
FAR = 10  # a few items are far away where all others fill less than this part of a picture with them


@dataclass
class Layout:
    """A picture of T snapshots of N items: one map for all snapshots, so that frames are comparable."""

    frames: np.ndarray  # (T, N, 2)
    axes: list[str]
    place: Callable[[np.ndarray], np.ndarray]  # (d,) of the last snapshot's space → (2,)
    trust: dict[int, float | None] = field(default_factory=dict)  # by snapshot, as far as it has been measured
    free: bool = False  # the axes are different things: each has a scale of its own

    @cached_property
    def box(self):
        """(2, 2): the lower left and the upper right corner of what a map shows, at all snapshots: all items, but for
        a few that lie so far away that they would hide the others."""
        axes = [[0], [1]] if self.free else [[0, 1]]
        return np.concatenate([_box(self.frames[..., axis]) for axis in axes], 1)

    @cached_property
    def cut(self):
        """Whether any item lies beyond the box, at any snapshot."""
        low, high = self.box
        return bool((self.frames.min((0, 1)) < low).any() or (self.frames.max((0, 1)) > high).any())

    def far(self, step):
        """(N,) bool: True where an item lies beyond the box at a snapshot."""
        low, high = self.box
        return ((self.frames[step] < low) | (self.frames[step] > high)).any(1)


def pca(z):
    """PCA of z (T, N, d), fitted on all snapshots together, beyond FIT_ROWS rows on a sample of them; each axis's
    largest loading is made positive. Where a few rows lie so far away that they would hide all others, it is fitted
    without them, and its axes' names say so."""
    layout, shares, without = _principal(_roomy(z))
    layout.axes = [f"PCA {i + 1} ({share:.0%} of variance{without})" for i, share in enumerate(shares)]
    return layout


def umap(z):
    """UMAP (cosine, fixed seed, exact neighbours); every row of every snapshot takes part in the fit. A map fitted on
    the last snapshot alone would have no place for the earlier ones, and UMAP's `transform` takes several times as
    long as the fit: a new point lands at the mean place of its three nearest items, by cosine."""
    rows = _directions(z.reshape(-1, z.shape[2]))  # the same cosines
    frames = np.nan_to_num(_umap(rows))  # all in one point where the embedding has collapsed
    frames = frames.reshape(*z.shape[:2], 2)
    return Layout(frames, ["UMAP 1", "UMAP 2"], _beside(z[-1], frames[-1]))


def given(z, coordinates):
    """A map that somebody else has made: coordinates (T, N, 2) as they are. A new point lands at the mean place of
    its three nearest items, by cosine. Where one axis is more than four times as long as the other, each has a scale
    of its own."""
    largest = np.abs(coordinates).max()
    if largest and not 1e-100 < largest < 1e100:  # or their squares would be too large, or too small
        coordinates = coordinates / largest
    layout = Layout(coordinates, ["x", "y"], _beside(z[-1], coordinates[-1]))
    extent = np.ptp(layout.box, 0)
    return replace(layout, free=bool(extent.max() > 4 * extent.min()))


def _beside(z, places):
    """The function from a vector (d,) to the mean place of its three nearest items among z (N, d), by cosine."""

    def place(x):
        cosine = unit(z) @ unit(x)
        return places[np.argsort(-cosine, kind="stable")[:3]].mean(0)

    return place


def between(z, a, b, names):
    """The axis from direction a to direction b, both (d,): for each item its cosine with unit(b) − unit(a). Upwards
    is the first principal component of what that axis leaves over."""
    axis = unit(unit(b) - unit(a))

    def along(x):
        return unit(x) @ axis

    def rest(x):
        directions = unit(x)
        return directions - (directions @ axis)[..., None] * axis

    up = pca(rest(z))

    def place(x):
        return np.stack([along(x), up.place(rest(x))[..., 0]], -1)

    return Layout(place(z), [f"{names[0]} ↔ {names[1]} (cosine)", f"the rest: {up.axes[0]}"], place, free=True)


def follow(frames, x):
    """The map of snapshots that are still coming: `frames` (T, N, 2) as they are, and behind them the PCA of x (N, d)
    by itself, turned (orthogonal Procrustes, Schönemann 1966) onto the last of them. So what moves on the map has
    moved in the space, and costs no more than one snapshot."""
    alone, shares, without = _principal(_roomy(x)[None])
    flat = alone.frames[0]
    turn = np.eye(2, dtype=flat.dtype)
    if len(frames):
        near = bulk(flat) & bulk(frames[-1])  # a few far items would turn all others
        before = frames[-1][near]
        u, _, v = np.linalg.svd(flat[near].T @ (before - before.mean(0)))
        turn = u @ v
    names = [f"PCA of each step by itself ({shares.sum():.0%} of variance{without})", "turned onto the step before"]
    return Layout(np.concatenate([frames, (flat @ turn)[None]]), names, lambda y: alone.place(y) @ turn)


def each(z):
    """(T, N, 2): the snapshots z (T, N, d), each by itself and turned onto the one before."""
    frames = np.zeros((0, z.shape[1], 2), z.dtype)
    for x in z:
        frames = follow(frames, x).frames
    return frames


def trust(vectors, picture, k):
    """Trustworthiness of a picture (N, 2) of vectors (N, d), by cosine, on at most TRUST_ROWS items: 1 where all that
    is near in the picture is near in truth, about 0.5 for a picture without a meaning (Venna & Kaski 2001). None for
    too few items."""
    rows = np.arange(len(vectors))
    if len(rows) > TRUST_ROWS:
        rows = np.random.default_rng(0).choice(len(rows), TRUST_ROWS, replace=False)
    if k >= len(rows) / 2:
        return None
    vectors, picture = _directions(vectors[rows]), _roomy(picture[rows])
    return float(trustworthiness(vectors, picture, n_neighbors=k, metric="cosine"))


def unit(x):
    """The vectors x (…, d), each divided by its length; zeros stay zeros. Right where the squares of float32 are not:
    beyond 1e19, and below 1e-19."""
    with np.errstate(over="ignore", under="ignore"):
        norm = np.linalg.norm(x, axis=-1, keepdims=True)
        plain = _plain(norm)
        if plain.all():
            return x / norm
        wide = x.astype(np.float64)
        length = np.linalg.norm(wide, axis=-1, keepdims=True)
        return np.where(plain, x / np.where(plain, norm, 1), wide / np.where(length > 0, length, 1)).astype(x.dtype)


def bulk(points, far=FAR):
    """(N,) bool: which of the points (N, m) a picture is of. All, but for a few so far away that the others would
    fill less than 1/far of its width: up to a twentieth of them along each axis (of few points up to two, and of less
    than four none).

    Example:
        >>> bulk(np.array([[0.0], [1.0], [2.0], [3.0], [1e6]])).tolist()
        [True, True, True, True, False]
    """
    n = len(points)
    few = max(min(2, n // 4), n // 20)
    whole, order = np.ptp(points, 0).max(), np.sort(points, 0)
    while few:
        # Along each axis the shortest stretch that holds all but these few, and as much again on either side.
        start = (order[n - few - 1 :] - order[: few + 1]).argmin(0)
        low, high = (np.take_along_axis(order, row[None], 0)[0] for row in (start, start + n - few - 1))
        reach = (high - low).max()
        if reach > 0:
            inside = ((points >= low - reach) & (points <= high + reach)).all(1)
            return inside if whole > far * np.ptp(points[inside], 0).max() else np.ones(n, bool)
        few //= 2  # those many coincide
    return np.ones(n, bool)


def _box(frames):
    """(2, m): the corners of what is shown of frames (T, N, m), see `Layout.box`."""
    low, high = frames.min(1), frames.max(1)
    whole = np.stack([low.min(0), high.max(0)])
    some = np.sort(frames[:, :: max(1, frames.shape[1] // 256)], 1)  # a glance at a few: mostly it is enough
    quarter = some.shape[1] // 4
    glance = (some[:, -1 - quarter] - some[:, quarter]).max(1)
    for t in np.flatnonzero((high - low).max(1) > FAR * glance):
        seen = frames[t][bulk(frames[t])]
        low[t], high[t] = seen.min(0), seen.max(0)
    shown = np.stack([low.min(0), high.max(0)])
    return shown if np.ptp(whole, 0).max() > FAR * np.ptp(shown, 0).max() else whole


def _principal(z):
    """The first two principal components of z (T, N, d), see `pca`: the map without names, their shares of the
    variance (2,), and words on what the fit went without."""
    layout, shares = _fitted(z, z.reshape(-1, z.shape[2]))
    near = _near(z)
    width, whole = (np.ptp(places, 0).max() for places in (layout.frames[near], layout.frames.reshape(-1, 2)))
    if near.all() or width * FAR >= whole:
        return layout, shares, ""
    far = int((~near).any(0).sum())
    return *_fitted(z, z[near]), f", without {far:,} far item{'s' * (far > 1)}"


def _fitted(z, rows):
    """The first two principal components of the rows (M, d): z (T, N, d) in them, and their shares of variance."""
    if len(rows) > FIT_ROWS:
        rows = rows[np.random.default_rng(0).choice(len(rows), FIT_ROWS, replace=False)]
    with np.errstate(invalid="ignore", divide="ignore"):  # a collapsed embedding has no variance to share
        fitted = PCA(2, random_state=0).fit(rows)
    loadings = fitted.components_
    loadings = loadings * np.sign(loadings[[0, 1], np.abs(loadings).argmax(1)])[:, None]

    def place(x):
        return (x - fitted.mean_) @ loadings.T

    return Layout(place(z), [], place), np.nan_to_num(fitted.explained_variance_ratio_)


def _near(z):
    """(T, N) bool: the rows of z (T, N, d), but for those that lie FAR times as far from the middle of their snapshot
    as half of it does, if these are few."""
    near = np.ones(z.shape[:2], bool)
    for t, x in enumerate(z):
        middle = np.median(x[:: max(1, len(x) // 256)], 0)
        distance = np.linalg.norm(x - middle, axis=1)
        near[t] = (distance <= FAR * np.median(distance)) | bulk(distance[:, None])
    return near


def _plain(norm):
    """Whether vectors of these lengths can be divided by them as they are; also by scikit-learn, which takes what is
    shorter than 1e-6 for zero."""
    return (norm > 1e-5) & (norm < 1e15)


def _directions(x):
    """The vectors x (N, d), or where their squares would be too large or too small their directions."""
    with np.errstate(over="ignore", under="ignore"):
        plain = _plain(np.linalg.norm(x, axis=1)).all()
    return x if plain else unit(x)


def _roomy(x):
    """x, in float64 where float32 cannot hold its squares."""
    largest = np.abs(x).max(initial=0)
    return x if 1e-9 < largest < 1e15 or largest == 0 else x.astype(np.float64)


def _umap(rows):
    from umap import UMAP  # slow to import

    options = {"n_neighbors": min(15, len(rows)), "metric": "cosine"}
    with tqdm(total=2, desc="UMAP: neighbours", leave=False) as bar, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_neighbors is larger")  # of very few items
        warnings.filterwarnings("ignore", "precomputed_knn")  # it cannot transform new rows: nobody asks it to
        # Exact neighbours from scikit-learn: UMAP's own search spends a minute on compiling itself.
        distances, indices = NearestNeighbors(**options, algorithm="brute").fit(rows).kneighbors(rows)
        bar.update()
        bar.set_description("UMAP: layout")
        places = UMAP(
            **options,
            precomputed_knn=(indices, distances),
            force_approximation_algorithm=True,  # so that the given neighbours are used for few rows too
            init="pca",
            n_epochs=200,
            random_state=0,
            n_jobs=1,
        ).fit_transform(rows)
        bar.update()  # or else the bar stays, in red, as one that was broken off
    return places
