"""scene.js makes the same elements as scene.py, on a plain page without a kernel."""

import json
import re

import pytest
from scenes import every_mark

from xlib.explore.scene import LIGHT, elements
from xlib.explore.view import HERE

pytestmark = pytest.mark.browser

SOURCE = "".join((HERE / f"{name}.js").read_text("utf-8") for name in ("common", "scene"))
SAME = f"([data, width, colours]) => {{ {SOURCE} return elements(data, width, colours); }}"
SEEN = f"""([data, colours]) => {{ {SOURCE}
  const [height, found] = elements(data, 720, colours);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.append(...found.map(built));
  document.body.replaceChildren(svg);
  return [svg.querySelectorAll("image").length, document.querySelector("svg script, svg b")];
}}"""
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")


@pytest.fixture(scope="module")
def page(browser):
    found = browser.new_page()
    yield found
    found.close()


def differences(python, js, where="svg"):
    """Where two trees of elements differ by more than rounding."""
    if isinstance(python, str) or isinstance(js, str):
        if not (isinstance(python, str) and isinstance(js, str)):
            return [f"{where}: {python!r} and {js!r}"]
        numbers = [NUMBER.findall(text) for text in (python, js)]
        near = len(numbers[0]) == len(numbers[1]) and all(
            abs(float(a) - float(b)) <= 0.011 for a, b in zip(*numbers, strict=True)
        )
        return [] if near and NUMBER.sub("", python) == NUMBER.sub("", js) else [f"{where}: {python!r} and {js!r}"]
    if isinstance(python, (int, float)):
        return [] if abs(python - js) <= 0.011 else [f"{where}: {python} and {js}"]
    if isinstance(python, dict):
        if list(python) != list(js):
            return [f"{where}: {list(python)} and {list(js)}"]
        return [d for k in python if k != "href" for d in differences(python[k], js[k], f"{where} {k}")]
    if len(python) != len(js):
        return [f"{where}: {len(python)} and {len(js)} of them"]
    return [d for i, (a, b) in enumerate(zip(python, js, strict=True)) for d in differences(a, b, f"{where}[{i}]")]


@pytest.mark.parametrize("width", [1000, 720, 390])
def test_both_draw_the_same(page, width):
    for seed in range(6):
        data = every_mark(seed)
        python = json.loads(json.dumps(elements(data, width, LIGHT)))  # as JSON has it: no tuples
        js = page.evaluate(SAME, [data, width, LIGHT])
        assert differences(python, js) == []
        assert len(js[1]) > 90


def test_a_field_has_the_same_pixels(page):
    for seed in range(3):
        data = every_mark(seed)
        data["axes"] = [
            axes | {"marks": [m for m in axes["marks"] if m["mark"] == "field"]} for axes in data["axes"][2:]
        ]
        found = [json.dumps(elements(data, 720, LIGHT)), json.dumps(page.evaluate(SAME, [data, 720, LIGHT]))]
        pixels = [page.evaluate(PIXELS, re.search(r"data:image[^\"]*", text).group()) for text in found]
        assert pixels[0] == pixels[1]
        assert len(set(pixels[0])) > 10


PIXELS = """async (href) => {
  const picture = Object.assign(new Image(), { src: href });
  await picture.decode();
  const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  context.drawImage(picture, 0, 0);
  return [...context.getImageData(0, 0, picture.width, picture.height).data];
}"""


def test_what_a_scene_says_is_text_on_the_page(page):
    data = every_mark(0)
    data["axes"][0]["title"] = "<b>bold</b><script>window.hacked = 1</script>"
    assert page.evaluate(SEEN, [data, LIGHT]) == [2, None]
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("svg text", has_text="<b>bold</b>").count() == 1
