"""More items than a map drawn item by item can show: jupyter-scatter draws millions."""

from xlib.explore import inputs, projections

MOST = 50_000


def scatter(embeddings, captions, labels, projection):
    """A jupyter-scatter widget of the last snapshot, coloured by label; says on the page that it is one."""
    try:
        import jscatter
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f"explore() draws up to {MOST:,} items and leaves more to jupyter-scatter, which is not installed: "
            "pip install jupyter-scatter pandas, or show fewer items"
        ) from error
    z = inputs.snapshots(embeddings)[-1:]
    n = z.shape[1]
    table = {"caption": inputs.captions(captions, n)}
    if labels is not None:
        table["class"] = pd.Categorical([None if v is None else str(v) for v in inputs.labels(labels, n)])
    layout = getattr(projections, projection)(z)
    print(
        f"{n:,} items, more than the {MOST:,} that explore() draws itself: the last snapshot in jupyter-scatter, "
        "captions on hover, no pictures."
    )
    table["x"], table["y"] = layout.frames[0].T
    options = {"color_by": "class"} if "class" in table else {}  # up to 8 classes in the colours of Okabe and Ito
    found = jscatter.Scatter(data=pd.DataFrame(table), x="x", y="y", **options)
    return found.tooltip(True, properties=["caption"])
