"""The embedding explorer: both modalities of a trained space in one picture that can be played with."""

from xlib.explore.model import ExplorerModel
from xlib.explore.view import Explorer

__all__ = ["Explorer", "ExplorerModel", "explore"]


def explore(
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
) -> Explorer:
    """Show an embedding as a widget: hover, search, play its training, click for nearest neighbours.

    embeddings: (N, d), or (T, N, d) for T snapshots over training; torch or numpy, finite, used as they are.
    captions: N strings. images: N pictures, each (3|4, h, w) or (h, w, 3|4), uint8 or float in [0, 1], or None for an
    item without one; a tensor (N, ...) too. labels: N class names or ints, or None; up to 8 classes are coloured.
    modality: N names, such as "image" and "text", at most 4 different ones (default: by who has a picture).
    pairs: N ints, the row of the counterpart in the other modality, −1 for none; many may share one. steps: T ints,
    the training step of each snapshot. projection: "pca" or "umap", one map for all snapshots (see `model.project`).
    k: how many neighbours to list, by cosine in all d dimensions at the step shown.

    On the result, `step` (index of the snapshot), `selected`, `hover` (rows), `query` and `among` can be read and
    set; `neighbours`, `matches`, `note` and `alt_text` follow. Raises ValueError or TypeError naming the argument.
    """
    return Explorer(ExplorerModel(**locals()))  # the same arguments, checked there
