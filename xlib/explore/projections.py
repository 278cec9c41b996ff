"""Pictures of an embedding in two dimensions, and how far they can be trusted."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from xlib.progress import tqdm

FIT_ROWS = 50_000  # rows that PCA is fitted on, drawn from all snapshots
TRUST_ROWS = 1_000  # items that trustworthiness is measured on: it costs their number squared


@dataclass
class Layout:
    """A picture of T snapshots of N items: one map for all snapshots, so that frames are comparable."""

    frames: np.ndarray  # (T, N, 2)
    axes: list[str]
    place: Callable[[np.ndarray], np.ndarray]  # (d,) of the last snapshot's space → (2,)
    trust: dict[int, float | None] = field(default_factory=dict)  # by snapshot, as far as it has been measured


def pca(z):
    """PCA of z (T, N, d), fitted on all snapshots together, beyond FIT_ROWS rows on a sample of them; each axis's
    largest loading is made positive."""
    flat = z.reshape(-1, z.shape[2])
    rng = np.random.default_rng(0)
    fit = flat if len(flat) <= FIT_ROWS else flat[rng.choice(len(flat), FIT_ROWS, replace=False)]
    with np.errstate(invalid="ignore", divide="ignore"):  # a collapsed embedding has no variance to share
        fitted = PCA(2, random_state=0).fit(fit)
    loadings = fitted.components_
    loadings = loadings * np.sign(loadings[[0, 1], np.abs(loadings).argmax(1)])[:, None]
    shares = np.nan_to_num(fitted.explained_variance_ratio_)

    def place(x):
        return (x - fitted.mean_) @ loadings.T

    return Layout(place(z), [f"PCA {i + 1} ({share:.0%} of variance)" for i, share in enumerate(shares)], place)


def umap(z):
    """UMAP (cosine, fixed seed, exact neighbours); every row of every snapshot takes part in the fit. A map fitted on
    the last snapshot alone would have no place for the earlier ones, and UMAP's `transform` takes several times as
    long as the fit: a new point lands at the mean place of its three nearest items, by cosine."""
    frames = np.nan_to_num(_umap(z.reshape(-1, z.shape[2])))  # all in one point where the embedding has collapsed
    frames = frames.reshape(*z.shape[:2], 2)

    def place(x):
        cosine = _unit(z[-1]) @ _unit(x)
        return frames[-1][np.argsort(-cosine, kind="stable")[:3]].mean(0)

    return Layout(frames, ["UMAP 1", "UMAP 2"], place)


def between(z, a, b, names):
    """The axis from direction a to direction b, both (d,): for each item its cosine with unit(b) − unit(a). Upwards
    is the first principal component of what that axis leaves over."""
    axis = _unit(_unit(b) - _unit(a))

    def along(x):
        return _unit(x) @ axis

    def rest(x):
        unit = _unit(x)
        return unit - (unit @ axis)[..., None] * axis

    up = pca(rest(z))

    def place(x):
        return np.stack([along(x), up.place(rest(x))[..., 0]], -1)

    return Layout(place(z), [f"{names[0]} ↔ {names[1]} (cosine)", f"the rest: {up.axes[0]}"], place)


def follow(frames, x):
    """The map of snapshots that are still coming: `frames` (T, N, 2) as they are, and behind them the PCA of x (N, d)
    by itself, turned (orthogonal Procrustes, Schönemann 1966) onto the last of them. So what moves on the map has
    moved in the space, and costs no more than one snapshot."""
    with np.errstate(invalid="ignore", divide="ignore"):
        fitted = PCA(2, random_state=0).fit(x)
    share = np.nan_to_num(fitted.explained_variance_ratio_).sum()
    turn = np.eye(2, dtype=x.dtype)
    flat = (x - fitted.mean_) @ fitted.components_.T
    if len(frames):
        before = frames[-1] - frames[-1].mean(0)
        u, _, v = np.linalg.svd(flat.T @ before)
        turn = u @ v

    def place(y):
        return (y - fitted.mean_) @ fitted.components_.T @ turn

    names = [f"PCA of each step by itself ({share:.0%} of variance)", "turned onto the step before"]
    return Layout(np.concatenate([frames, place(x)[None]]), names, place)


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
    return float(trustworthiness(vectors[rows], picture[rows], n_neighbors=k, metric="cosine"))


def _unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


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
