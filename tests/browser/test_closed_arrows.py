"""The arrows of lesson 01: the browser's formulas (arrows.js) against the lesson's own Python."""

import math
import random

import pytest
import traitlets
from closed_forms import differences, program
from lessons import lesson

from xlib.explore import scene as scenes
from xlib.explore.panel import panel

pytestmark = pytest.mark.browser

STEP = """([values, some, first]) => {
  const settled = CLOSED.arrows.settle({ ...values, ...some }, Object.keys(some), {}, {});
  return { values: settled, ...CLOSED.arrows.draw(settled, first, {}) };
}"""


@pytest.fixture(scope="module")
def arrows():
    """The lesson's model and its draw."""
    scope = {"traitlets": traitlets, "math": math, "fixed": scenes.fixed, "panel": panel}
    for code in lesson("01_shared_space")._code:
        if "class Arrows(" in code or "def draw_arrows(" in code:
            exec(code, scope)
    return scope["arrows"], scope["draw_arrows"]


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.add_script_tag(content=program("arrows"))
    yield page
    page.close()


def states(n):
    """What is set, one after the other: one arrow moved, the box ticked, or both; some are long, some are 0."""
    pick = random.Random(0)
    tips = [[1.6, 0.6], [0.6, 1.5]]
    for _ in range(n):
        some = {}
        if pick.random() < 0.4:
            some["normalise"] = pick.random() < 0.5
        if pick.random() < 0.8 or not some:
            new = [pick.uniform(-2.2, 2.2), pick.uniform(-2.2, 2.2)] if pick.random() < 0.9 else [0.0, 0.0]
            tips = [new, tips[1]] if pick.random() < 0.5 else [tips[0], new]
            some["tips"] = tips
        yield some


def test_arrows_js_is_the_lessons_python(page, arrows):
    model, draw = arrows
    drawn = scenes.Scene()
    draw(model, drawn)
    first, held = drawn.data(), {"tips": model.tips, "normalise": model.normalise}
    seen = set()
    for some in states(200):
        for name, value in some.items():
            setattr(model, name, value)
        drawn = scenes.Scene()
        words = draw(model, drawn)
        found = page.evaluate(STEP, [held, some, first])
        held = found["values"]
        values = {"tips": model.tips, "normalise": model.normalise}
        assert differences(found, {"values": values, "scene": drawn.data(), "alt": words}) == [], some
        seen.add((model.normalise, "no angle" in words, "2.00" in words))
    assert len(seen) >= 5  # long arrows, arrows without a direction, normalised and not
