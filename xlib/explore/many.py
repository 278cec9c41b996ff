"""More items than a map drawn item by item can show: jupyter-scatter draws millions."""

from xlib.explore import inputs, looks, projections

MOST = 50_000


def scatter(embeddings, captions, labels, values, coordinates, projection):
    """A jupyter-scatter widget of the last snapshot, coloured by value or label; says on the page that it is one."""
    try:
        import jscatter
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f"explore() draws up to {MOST:,} items and leaves more to jupyter-scatter, which is not installed: "
            "pip install jupyter-scatter pandas, or show fewer items"
        ) from error
    z = inputs.snapshots(embeddings)
    n = z.shape[1]
    places = None if coordinates is None else inputs.coordinates(coordinates, n, len(z))[-1]
    z, options = z[-1:], {}
    table = {"caption": inputs.captions(captions, n)}
    if labels is not None:
        table["class"] = pd.Categorical([None if v is None else str(v) for v in inputs.labels(labels, n)])
        options = {"color_by": "class"}  # up to 8 classes in the colours of Okabe and Ito
    if values is not None:
        table["value"] = inputs.values(values, n)
        tones = looks.of_values(table["value"]).of
        table["tone"] = pd.Categorical(tones, categories=range(len(looks.SCALE) + 1))  # 0 for a missing one
        options = {"color_by": "tone", "color_map": [looks.GREY, *looks.SCALE]}
    if places is None:
        places = getattr(projections, projection)(z).frames[0]
    print(
        f"{n:,} items, more than the {MOST:,} that explore() draws itself: the last snapshot in jupyter-scatter, "
        "captions on hover, no pictures."
    )
    table["x"], table["y"] = places.T
    found = jscatter.Scatter(data=pd.DataFrame(table), x="x", y="y", **options)
    return found.tooltip(True, properties=["caption"])
