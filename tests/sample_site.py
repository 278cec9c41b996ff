"""A site of two tiny lessons, for the tests of tools/build_site.py: everything that a lesson may hold, once."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import build_site
import nbformat

HOSTILE = """</script><img src=x onerror="window.hacked=1">"""
TITLE = """# Tiny & mighty: $x^2$

<img align="right" width="36%" alt="Arrows in a panel." src="pictures/01_shared_space.webp">

A sentence with $\\|v\\|$, a [way on](second.ipynb), [another lesson](07_scaling.ipynb) and the
[glossary](../docs/glossary.md).

$$L = \\Big\\| \\frac{1}{n} \\sum_i \\phi(x_i) \\Big\\|^2 + \\text{a penalty with a name that is wider than a phone}$$

Press **Shift + Enter** to run a cell and go on to the next.

**Time on a laptop CPU:** not measured yet

**Launch:** [Binder](https://mybinder.org/v2/gh/a/b) · [Colab](https://colab.research.google.com/github/a/b)"""
HELP = """## 1 · An exercise

| | what it is |
|---|---|
| $\\tau$ | a temperature, with a long explanation that does not fit on a phone: `logit_scale = 1 / temperature` |

<details><summary>Hint</summary>Half of $a < b$ costs <code>$5</code>.</details>
<details><summary>Solution</summary>

```python
def answer(x):  # one line of code that is longer than any phone is wide, so that it has to scroll inside its own box
    return x
```
</details>

## 1 · An exercise

The same words, another place."""
EXPLORER = f"""import numpy as np
from xlib.explore import explore
from xlib.progress import tqdm

rng = np.random.default_rng(0)
captions = [f"thing {{i}}" for i in range(20)]
captions[3] = {HOSTILE!r}
z = rng.normal(size=(3, 40, 8))
pictures = [*rng.integers(0, 255, (20, 8, 8, 3), np.uint8), *[None] * 20]
for _ in tqdm(range(3), desc="a bar that nobody wants"):
    pass
explorer = explore(z, captions=captions * 2, images=pictures, pairs=[*range(20, 40), *range(20)], steps=[0, 5, 9],
                   title="Forty <things>")
explorer"""
PANEL = """import traitlets as T
from xlib.explore.panel import panel

class Width(T.HasTraits):
    width = T.Float(1.0, help="width")

def draw(model, scene):
    scene.axes().set(x=(0, 1), y=(0, 2)).line([0, 1], [0, model.width])
    return f"A line up to {model.width}."

panel(Width(), draw, controls={"width": (0.0, 2.0, 0.01)})"""
FIGURE = """from matplotlib.figure import Figure
from xlib.course import report

figure = Figure(figsize=(7, 2))
figure.subplots().plot([1, 2])
report.show(figure, 'A line that rises from 1 to 2, "quoted" & <marked>.')"""
PRINTS = """import sys, warnings
print("first <b>line</b>")
print("second line")
print("nobody needs this", file=sys.stderr)
warnings.warn("nor this")"""
WIDGET = """import ipywidgets
from IPython.display import HTML, display
display(HTML("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"))
ipywidgets.IntSlider(description="alone")"""


STUB = """def answer(x):
    ...  # your code


# checks.answer(answer)"""


def write(folder):
    """The paths of the two notebooks."""
    hidden = nbformat.v4.new_code_cell(FIGURE, metadata={"jupyter": {"source_hidden": True}})
    code, words = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    first = [words(TITLE), code(EXPLORER), code(PANEL), hidden, code(STUB, id="exercise-tiny"), words(HELP)]
    first += [code(PRINTS), code(WIDGET)]
    second = [words("# Second lesson\n\nBack to [the first](first.ipynb#1-an-exercise)."), code("6 * 7")]
    for name, cells in (("first", first), ("second", second)):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    return [folder / "first.ipynb", folder / "second.ipynb"]


@functools.cache
def built():
    """The folder of the site of both notebooks, built once a process."""
    folder = Path(tempfile.mkdtemp(prefix="xlib-site-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    build_site.build(write(folder), folder / "site")
    return folder / "site"
