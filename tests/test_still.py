"""What a widget leaves in a notebook: its picture, light and dark, beside a living widget that is dead tomorrow."""

import base64
import io
import re

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from PIL import Image

CELLS = """
import asyncio
import numpy as np
from IPython.display import display
from xlib.explore import explore, still
still.REST = 0.1
rng = np.random.default_rng(0)
pictures = [*rng.integers(0, 255, (20, 24, 24, 3), np.uint8), *[None] * 20]
shown = explore(rng.normal(size=(3, 40, 8)), captions=['<b>"a&b"</b>'] * 40, images=pictures, steps=[0, 5, 9],
                labels=["x", "y"] * 20, title="Forty")
shown
---
display(shown)
---
shown.step = 2
await asyncio.sleep(0.2)  # timers come in the order of their times, however slow the machine is
---
import ipywidgets
class Drawn(ipywidgets.Label):
    alt_text = "a line"
    def _ipython_display_(self):
        self.still.show()
label = Drawn("1")
size = 'width="40" height="30"'
svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><rect {size} fill="COLOUR"/></svg>'
def draw(dark):
    return svg.replace("COLOUR", "red" if dark else "blue") if label.value else ""
label.still = still.Still(label, draw, ["value"])
label
---
label.value = ""  # cannot be drawn: the last picture stays
label.still._redraw()
"""


@pytest.fixture(scope="module")
def outputs():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.split("---\n")])
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    return [cell.outputs for cell in notebook.cells]


def page(output):
    return BeautifulSoup(output.data["text/html"], "html.parser")


def picture(image):
    kind, content = re.fullmatch(r"data:(.*);base64,(.*)", image["src"]).groups()
    return kind, base64.b64decode(content)


pytestmark = pytest.mark.long


@pytest.mark.parametrize("cell", [0, 1])
def test_an_explorer_is_two_outputs_its_picture_and_the_widget(outputs, cell):
    still, live = outputs[cell]
    assert sorted(still.data) == ["image/png", "text/html", "text/plain"]
    assert sorted(live.data) == ["application/vnd.jupyter.widget-view+json", "text/plain"]
    assert live.data["text/plain"] == ""  # or GitHub would print the widget's repr below its picture
    (name,) = set(re.findall(r"xlib-live-(\w+)", still.data["text/html"]))
    assert name == live.data["application/vnd.jupyter.widget-view+json"]["model_id"]


def test_its_pictures_are_of_the_light_and_of_the_dark_theme(outputs):
    light, dark = page(outputs[0][0]).select("img")
    assert [each.find_parent(hidden=True) is not None for each in (light, dark)] == [False, True]
    (kind, light), (_, dark) = picture(light), picture(dark)
    assert kind == "image/webp"
    papers = [np.asarray(Image.open(io.BytesIO(each)).convert("L"))[0, 0] for each in (light, dark)]
    assert papers == [255, 17]


def test_it_says_what_it_shows_and_how_to_go_on_and_all_of_it_is_text(outputs):
    still = outputs[0][0]
    alt = still.data["text/plain"]
    assert alt.startswith("Forty: 20 image and 20 text items")
    assert [image["alt"] for image in page(still).select("img")] == [alt, alt]
    assert still.metadata["image/png"]["alt"] == alt
    assert page(still).p.get_text() == "Run this cell to bring it alive."
    assert page(still).select("b") == []


def test_the_picture_follows_what_has_changed_once_that_rests(outputs):
    for still, _ in outputs[:2]:
        assert "Step 9 (3 of 3 snapshots)" in still.data["text/plain"]


def test_svg_stays_svg_and_is_png_too(outputs):
    light, dark = page(outputs[3][0]).select("img")
    assert [picture(each)[0] for each in (light, dark)] == ["image/svg+xml"] * 2
    assert 'fill="blue"' in picture(light)[1].decode()  # and not the picture of nothing, of the cell after it
    png = Image.open(io.BytesIO(base64.b64decode(outputs[3][0].data["image/png"])))
    assert png.convert("RGB").getpixel((5, 5)) == (0, 0, 255)
