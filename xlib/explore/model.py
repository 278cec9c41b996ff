"""What the explorer shows and what is chosen in it. Pure Python: tests drive it without a browser."""

import warnings

import numpy as np
import torch
import traitlets as T
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from tqdm.auto import tqdm

from xlib import _validate

MOST = 50_000  # beyond this many items a canvas drawn item by item is the wrong tool
FIT_ROWS = 50_000  # rows that PCA is fitted on, drawn from all snapshots
THUMBNAIL = 48  # pixels of a thumbnail's longer side: sharp at 24 CSS pixels on a dense screen


class ExplorerModel(T.HasTraits):
    """Snapshots of an embedding, their 2-D picture, and the answers to what is chosen in it.

    Set `step` (a snapshot's index; clipped), `hover` and `selected` (a row, or −1 for none), `query` (text searched
    in the captions) and `among` ("all", or "other" to search the other modality only). `matches`, `neighbours`
    ((row, cosine) pairs, nearest first), `pair_rank` (1 is nearest; 0: no pair), `note` and `alt_text` follow.
    Arguments as for `explore`.
    """

    step = T.Int(0)
    hover = T.Int(-1)
    selected = T.Int(-1)
    query = T.Unicode("")
    among = T.Enum(("all", "other"), "all")
    matches = T.List(T.Int())
    neighbours = T.List()
    pair_rank = T.Int(0)
    note = T.Unicode("")
    alt_text = T.Unicode("")

    def __init__(
        self,
        embeddings,
        *,
        captions,
        images=None,
        labels=None,
        modality=None,
        pairs=None,
        steps=None,
        projection="pca",
        title="",
        k=8,
    ):
        _validate.choice("projection", projection, ("pca", "umap"))
        z = _snapshots(embeddings)
        n = z.shape[1]
        if n > MOST:
            raise ValueError(f"embeddings must have at most {MOST} items, got {n}; jupyter-scatter draws more")
        if not 1 <= k < n:
            raise ValueError(f"k must be from 1 to {n - 1}, got {k}")
        self.captions = _column("captions", captions, n, str)
        self.labels = _column("labels", labels, n, (str, int, type(None))) or [None] * n
        self.pairs = np.array(_column("pairs", pairs, n, int) or [-1] * n)
        if bad := [i for i, j in enumerate(self.pairs) if not -1 <= j < n or j == i]:
            raise ValueError(
                f"pairs must be another row, 0 to {n - 1}, or −1; got {self.pairs[bad[0]]} in row {bad[0]}"
            )
        self.steps = _column("steps", steps, len(z), int) or list(range(len(z)))
        self.sprites, self.thumbnails = _thumbnails(images, n)
        self.modality = _column("modality", modality, n, str) or _modality(self.sprites)
        if len(set(self.modality)) > 4:
            raise ValueError(f"modality must have at most 4 different values, got {len(set(self.modality))}")

        super().__init__()
        self.embeddings, self.projection, self.title, self.k = z, projection, str(title), int(k)
        self.classes = sorted(set(self.labels) - {None}, key=lambda c: (isinstance(c, str), c))
        self.modalities = list(dict.fromkeys(self.modality))
        self._kind = np.array([self.modalities.index(m) for m in self.modality])
        self._lower = [caption.lower() for caption in self.captions]
        self.frames, self.axes = project(z, projection)
        unit = self.unit = z / np.maximum(np.linalg.norm(z, axis=2, keepdims=True), 1e-12)
        self.pair_similarity = np.where(self.pairs < 0, np.nan, np.einsum("tnd,tnd->tn", unit, unit[:, self.pairs]))
        self._follow(None)

    @T.validate("step")
    def _clip(self, proposal):
        return min(max(proposal["value"], 0), len(self.steps) - 1)

    @T.validate("hover", "selected")
    def _row(self, proposal):
        if not -1 <= proposal["value"] < len(self.captions):
            name, last = proposal["trait"].name, len(self.captions) - 1
            raise T.TraitError(f"{name} must be a row, 0 to {last}, or −1, got {proposal['value']}")
        return proposal["value"]

    @T.observe("query")
    def _search(self, change):
        needle = self.query.strip().lower()
        self.matches = [i for i, text in enumerate(self._lower) if needle in text] if needle else []

    @T.observe("step", "selected", "among")
    def _follow(self, change):
        with self.hold_trait_notifications():  # who listens hears of a complete answer
            self.neighbours, self.pair_rank, self.note = self._nearest() if self.selected >= 0 else ([], 0, "")
            self.alt_text = self._describe()

    def _nearest(self):
        i = self.selected
        others = np.arange(len(self.captions)) != i
        if self.among == "other":
            others &= self._kind != self._kind[i]
        cosine = self.unit[self.step] @ self.unit[self.step, i]
        near = _first(self.k, -cosine, others)
        distance = ((self.frames[self.step] - self.frames[self.step, i]) ** 2).sum(1)
        both = len(set(near) & set(_first(self.k, distance, others)))
        note = (
            f"Cosine similarity in all {self.embeddings.shape[2]} dimensions. "
            f"{both} of these {len(near)} are also among the {len(near)} nearest in the picture."
        )
        return [(j, round(float(cosine[j]), 4)) for j in near], self._rank(i, cosine), note

    def _rank(self, i, cosine):
        """Where item i's counterpart stands among all items of the counterpart's modality."""
        if self.pairs[i] < 0:
            return 0
        rivals = self._kind == self._kind[self.pairs[i]]
        rivals[i] = False
        return 1 + int((cosine[rivals] > cosine[self.pairs[i]]).sum())

    def pair_contrast(self):
        """Mean cosine of pairs, and of all other combinations of their two sides, at the current step."""
        rows = np.flatnonzero(self.pairs >= 0)
        edges = np.stack([rows, self.pairs[rows]], 1)
        order = self._kind * len(self.pairs) + np.arange(len(self.pairs))
        swap = order[edges[:, 0]] > order[edges[:, 1]]  # one modality a side, even where both point at each other
        edges[swap] = edges[swap, ::-1]
        edges = np.unique(edges, axis=0)
        unit = self.unit[self.step].astype(np.float64)
        a, b = (np.unique(side) for side in edges.T)
        paired = (unit[edges[:, 0]] * unit[edges[:, 1]]).sum()
        rest = len(a) * len(b) - len(edges)
        unpaired = (unit[a].sum(0) @ unit[b].sum(0) - paired) / rest if rest else np.nan
        return paired / max(len(edges), 1), unpaired

    def _describe(self):
        counts = " and ".join(f"{(self._kind == m).sum():,} {name}" for m, name in enumerate(self.modalities))
        parts = [f"{self.title or 'Embedding'}: {counts} items; axes {self.axes[0]} and {self.axes[1]}."]
        if len(self.steps) > 1:
            parts.append(f"Step {self.steps[self.step]} ({self.step + 1} of {len(self.steps)} snapshots).")
        if (self.pairs >= 0).any():
            paired, unpaired = self.pair_contrast()
            parts.append(f"Mean cosine of pairs {paired:.2f}, of other combinations {unpaired:.2f}.")
        if self.selected >= 0:
            i, (j, cosine) = self.selected, (self.neighbours or [(self.selected, 1.0)])[0]
            parts.append(
                f"Selected: {self.captions[i]} ({self.modality[i]}); "
                f"nearest: {self.captions[j]} ({self.modality[j]}), cosine {cosine:.2f}."
            )
        return " ".join(parts)


def project(z, projection):
    """(T, N, 2) frames of z (T, N, d), and the names of the two axes.

    One map for all snapshots, fitted on all of them together, so that frames are comparable. PCA: each axis's largest
    loading is made positive; beyond FIT_ROWS rows it is fitted on a sample. UMAP (cosine, fixed seed, exact
    neighbours): every row of every snapshot takes part in the fit. A map fitted on the last snapshot alone would have
    no place for the earlier ones, and UMAP's `transform` takes several times as long as the fit.
    """
    flat = z.reshape(-1, z.shape[2])
    if projection == "umap":
        frames = np.nan_to_num(_umap(flat))  # all in one point where the embedding has collapsed
        return frames.reshape(*z.shape[:2], 2), ["UMAP 1", "UMAP 2"]
    rng = np.random.default_rng(0)
    fit = flat if len(flat) <= FIT_ROWS else flat[rng.choice(len(flat), FIT_ROWS, replace=False)]
    with np.errstate(invalid="ignore", divide="ignore"):  # a collapsed embedding has no variance to share
        pca = PCA(2, random_state=0).fit(fit)
    axes = pca.components_
    axes = axes * np.sign(axes[[0, 1], np.abs(axes).argmax(1)])[:, None]
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    return (z - pca.mean_) @ axes.T, [f"PCA {i + 1} ({share:.0%} of variance)" for i, share in enumerate(shares)]


def _umap(rows):
    from umap import UMAP  # slow to import

    options = {"n_neighbors": min(15, len(rows)), "metric": "cosine"}
    with tqdm(total=2, desc="UMAP: neighbours", leave=False) as bar, warnings.catch_warnings():
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


def _first(k, cost, allowed):
    """Rows of the k lowest costs among those allowed, ties by row."""
    rows = np.flatnonzero(allowed)
    return rows[np.argsort(cost[rows], kind="stable")[:k]].tolist()


def _snapshots(embeddings):
    if not isinstance(embeddings, (torch.Tensor, np.ndarray)):
        raise TypeError(f"embeddings must be a torch.Tensor or numpy array, got {type(embeddings).__name__}")
    z = torch.as_tensor(embeddings).detach().float().cpu().numpy()
    z = z[None] if z.ndim == 2 else z
    if z.ndim != 3 or z.shape[0] < 1 or z.shape[1] < 2 or z.shape[2] < 2:
        raise ValueError(
            "embeddings must have shape (N, d) or (T, N, d) with at least two items and two dimensions, "
            f"got {tuple(embeddings.shape)}"
        )
    if not np.isfinite(z).all():
        t, row = np.argwhere(~np.isfinite(z).all(2))[0]
        raise ValueError(f"embeddings must be finite, got NaN or infinity, first in snapshot {t}, row {row}")
    return z


def _column(name, values, n, kinds):
    """values as a list of n entries of the given types; None stays None."""
    if values is None:
        return None
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise TypeError(f"{name} must be a sequence of {n} entries, got {type(values).__name__}")
    if len(values) != n:
        raise ValueError(f"{name} must have {n} entries, got {len(values)}")
    values = [v.item() if hasattr(v, "item") else v for v in values]
    for i, value in enumerate(values):
        if not isinstance(value, kinds):
            raise TypeError(f"{name}[{i}] has the wrong type {type(value).__name__}: {value!r}")
    return values


def _modality(sprites):
    """Without names for the modalities: what has a picture is an image, where some items have none."""
    if (sprites < 0).all() or (sprites >= 0).all():
        return ["item" if s < 0 else "image" for s in sprites]
    return ["image" if s >= 0 else "text" for s in sprites]


def _thumbnails(images, n):
    """(N,) index of each item's thumbnail or −1, and the thumbnails: (M, h, w, 4) uint8, one size for all."""
    images = [None] * n if images is None else images
    if not hasattr(images, "__len__") or len(images) != n:
        raise ValueError(
            f"images must have {n} entries, got {len(images) if hasattr(images, '__len__') else images!r}"
        )
    rgba = {i: _rgba(i, image) for i, image in enumerate(images) if image is not None}
    sprites = np.full(n, -1)
    sprites[list(rgba)] = np.arange(len(rgba))
    if not rgba:
        return sprites, np.zeros((0, 1, 1, 4), np.uint8)
    size = np.max([image.shape[:2] for image in rgba.values()], axis=0)
    height, width = np.ceil(size * min(1, THUMBNAIL / size.max())).astype(int)
    cells = np.zeros((len(rgba), height, width, 4), np.uint8)
    for cell, pixels in zip(cells, rgba.values(), strict=True):
        picture = Image.fromarray(pixels)
        picture.thumbnail((width, height), Image.Resampling.BOX)
        top, left = (height - picture.height) // 2, (width - picture.width) // 2
        cell[top : top + picture.height, left : left + picture.width] = picture
    return sprites, cells


def _rgba(i, image):
    """One picture as (h, w, 4) uint8."""
    x = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if x.ndim == 3 and x.shape[0] in (1, 3, 4) and x.shape[2] not in (3, 4):
        x = x.transpose(1, 2, 0)
    if x.ndim != 3 or x.shape[2] not in (1, 3, 4) or x.size == 0:
        raise ValueError(f"images[{i}] must have shape (3|4, h, w) or (h, w, 3|4), got {x.shape}")
    if x.dtype != np.uint8:
        if not (np.issubdtype(x.dtype, np.floating) and x.min() >= -1e-3 and x.max() <= 1.001):  # NaN fails too
            raise ValueError(f"images[{i}] must be uint8, or floating point within [0, 1], got {x.dtype}")
        x = (x.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    if x.shape[2] < 4:
        x = np.concatenate(
            [np.broadcast_to(x[..., :3], (*x.shape[:2], 3)), np.full((*x.shape[:2], 1), 255, np.uint8)], 2
        )
    return x
