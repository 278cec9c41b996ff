"""The embedding explorer: a trained space in pictures that can be played with, in a notebook or in a web page."""

from xlib import _validate
from xlib.explore import inputs, many
from xlib.explore.model import ExplorerModel
from xlib.explore.view import Explorer

__all__ = ["Explorer", "ExplorerModel", "explore"]


def explore(
    embeddings,
    *,
    captions=None,
    images=None,
    sounds=None,
    labels=None,
    values=None,
    domains=None,
    modality=None,
    pairs=None,
    steps=None,
    coordinates=None,
    projection="pca",
    encode=None,
    suggestions=(),
    speak=None,
    hear=None,
    title="",
    k=None,
):
    """Show an embedding as a widget: hover, search, play its training, click for nearest neighbours, compare.

    embeddings: (N, d), or (T, N, d) for T snapshots over training: a tensor, an array, a table or rows of numbers, in
    float32's range, finite, used as they are. captions: N texts (default: the rows' numbers). images: N pictures,
    each of PIL, a file's path, or (3|4, h, w), (h, w, 3|4) or (h, w), uint8 or float in [0, 1]; a tensor (N, ...)
    too. What an item does not have is None, NaN or NA, in any column.
    sounds: N clips, each (samples,) float in [-1, 1], one channel of 16,000 samples a second, at most 2 s. A clip
    plays when its item is clicked, chosen by Enter, or its button pressed; without a picture, its spectrogram is one.
    labels: N class names or ints: the 26 largest classes have a colour each. values: N numbers, coloured on a scale
    that leaves a few far ones out; where there are labels too, colour tells the values and the card both.
    domains: N names; modality: N names, such as "image" and "text" (default: by who has a picture or a sound). A
    marker's shape tells an item's domain, or where it has none its modality: of more than 12 the smallest share one.
    pairs: N ints, the row of the counterpart in the other modality, −1 for none; many may share one. steps: T ints,
    the training step of each snapshot, or T names, such as those of models.
    coordinates: (N, 2) or (T, N, 2), a map of your own, shown first, as it is. projection: "pca" or "umap" to begin
    with, one map for all snapshots. Where a few items lie so far away from all others that these would fill less than
    a tenth of a map, it shows them at its edge, and PCA is fitted without them, as its axes' names say.
    encode: a function of a list of M texts to an (M, d) tensor or array in the space of the last snapshot. With it
    one can type captions of one's own, and span an axis between any two texts. suggestions: up to 6 captions to try.
    speak: a function of one text to a clip as above, of at most 20 s, or None: a typed caption can then be heard.
    hear: a function of a list of M such clips to (M, d), as `encode` of texts: a second star shows where the sound of
    a typed caption lands.
    k: how many neighbours to list, by cosine in all d dimensions at the step shown (default: 8, or all).

    On the result, `step` (index of the snapshot), `selected` (rows), `hover` (a row), `query`, `among`, `projection`,
    `axis` (two texts), `compare` and `typed` can be read and set, see `ExplorerModel`; `neighbours`, `matches`,
    `note`, `warning` and `alt_text` follow. `to_html(path)` writes a page that works without a kernel.

    Beyond 50,000 items it says so and returns a jupyter-scatter widget of the last snapshot (pip install
    jupyter-scatter pandas). Raises ValueError or TypeError naming the argument.
    Relations: `Explorer(ExplorerModel(...))` of the same arguments, up to 50,000 items.

    Example:
        >>> import torch
        >>> shown = explore(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), captions=["cat", "kit", "car"], k=1)
        >>> shown.selected, shown.query = [0], "ca"
        >>> shown.neighbours, shown.matches  # row and cosine; rows
        ([(1, 0.99)], [0, 2])
    """
    given = dict(locals())  # the same arguments, checked there
    _validate.choice("projection", projection, ("pca", "umap"))
    given["embeddings"] = z = inputs.snapshots(embeddings)
    if z.shape[1] > many.MOST:
        return many.scatter(z, captions, labels, values, coordinates, projection)
    return Explorer(ExplorerModel(**given))
