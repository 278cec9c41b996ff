"""The circle of lesson 02: circle.js computes in the browser what the lesson's own cells compute in Python."""

import math
import random

import pytest
import results
from closed_forms import differences, program

from xlib.explore.scene import Scene

pytestmark = pytest.mark.browser

BEGIN = """([values, scene]) => {
  Object.assign(window, { scene, memory: {} });
  window.values = CLOSED.circle.settle(values, [], memory);
}"""
CHANGE = """(some) => {
  window.values = CLOSED.circle.settle({ ...values, ...some }, Object.keys(some), memory);
  return { values, ...CLOSED.circle.draw(values, scene) };
}"""
NAMES = ("pictures", "captions", "temperature", "steps")


@pytest.fixture(scope="module")
def lesson():
    return results.from_lesson("02_infonce", ("set-up", "circle-model", "circle-panel"))


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.add_script_tag(content=f"{program('circle')}\nwindow.CLOSED = CLOSED;")
    yield page
    page.close()


def drawn(lesson, circle):
    """The scene's numbers and its words, as Python has them."""
    scene = Scene()
    alt = lesson["draw_circle"](circle, scene)
    return {"values": {name: getattr(circle, name) for name in NAMES}, "scene": scene.data(), "alt": alt}


def test_the_browser_moves_and_draws_as_python_does(page, lesson):
    """200 changes, each from where the one before has left it."""
    pick = random.Random(0)
    on_circle = lesson["on_circle"]
    circle = lesson["Circle"](pictures=on_circle(80, 170, 300).tolist(), captions=on_circle(125, 20, 235).tolist())
    page.evaluate(BEGIN, [{name: getattr(circle, name) for name in NAMES}, drawn(lesson, circle)["scene"]])
    for _ in range(200):
        kind = pick.choice((*NAMES, "steps"))
        if kind == "temperature":
            some = {kind: pick.choice([0.1, 0.2, 0.5, 1.0])}
        elif kind == "steps":
            some = {kind: pick.choice([0, 5, 40, 200])}
        else:
            points, moved, length = getattr(circle, kind), pick.randrange(3), pick.uniform(0.5, 2)
            angle = pick.uniform(0, math.tau)
            if pick.random() < 0.4:  # beside another one, whose number is in the way
                angle = math.atan2(*points[moved - 1][::-1]) + pick.uniform(-0.4, 0.4)
            to = [length * math.cos(angle), length * math.sin(angle)]
            some = {kind: [to if i == moved else pair for i, pair in enumerate(points)]}
        found = page.evaluate(CHANGE, some)
        for name, value in some.items():
            setattr(circle, name, value)
        assert differences(found, drawn(lesson, circle)) == [], some
