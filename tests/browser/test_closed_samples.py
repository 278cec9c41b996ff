"""The two samples of lesson 04: what samples.js computes in the browser is what the lesson's own cells compute."""

import random

import pytest
import results
from closed_forms import differences, program

from xlib.explore.scene import Scene

pytestmark = pytest.mark.browser

CHANGE = """([values, some, scene, constants]) => {
  const settled = CLOSED.samples.settle({ ...values, ...some }, Object.keys(some), {}, constants);
  return { values: settled, ...CLOSED.samples.draw(settled, scene, constants) };
}"""
NAMES = ("x", "y", "sigma")


@pytest.fixture(scope="module")
def lesson():
    return results.from_lesson("04_mmd", ("set-up", "drag-model", "drag-draw"))


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.add_script_tag(content=program("samples"))
    yield page
    page.close()


def changes(count):
    """One after the other: as the panel begins, with three σ; then a point moved, σ set, all of y moved far away, or
    put on x."""
    draw = random.Random(0)
    spot = lambda: [draw.uniform(-2.5, 2.5), draw.uniform(-2.5, 2.5)]  # noqa: E731
    x, y = ([spot() for _ in range(8)] for _ in range(2))
    yield from ({"sigma": sigma} for sigma in (0.1, 3.0, 0.7))  # points and grid at round numbers: many ties
    yield {"x": x, "y": y}
    for n in range(4, count):
        if n % 50 == 0:
            y = [list(point) for point in x]
            yield {"y": y}
        elif n % 25 == 0:
            y = [[2 + i / 50, 2 - i / 50] for i in range(8)]
            yield {"y": y}
        elif draw.random() < 0.3:
            yield {"sigma": draw.randint(1, 30) / 10}
        else:
            i, whole = draw.randrange(8), {"x": x, "y": y}
            name = draw.choice("xy")
            new = [*whole[name][:i], spot(), *whole[name][i + 1 :]]
            x, y = (new, y) if name == "x" else (x, new)
            yield {name: new}


def test_samples_js_is_the_lessons_python(page, lesson):
    model, draw = lesson["TwoSamples"](), lesson["draw_samples"]
    constants = {"ticks": lesson["ticks"].tolist(), "splits": lesson["split_codes"]}
    scene = Scene()
    draw(model, scene)
    first, held, seen = scene.data(), {name: getattr(model, name) for name in NAMES}, []
    for some in changes(200):
        for name, value in some.items():
            setattr(model, name, value)
        scene = Scene()
        words = draw(model, scene)
        found = page.evaluate(CHANGE, [held, some, first, constants])
        held = found["values"]
        wanted = {"values": {name: getattr(model, name) for name in NAMES}, "scene": scene.data(), "alt": words}
        assert differences(found, wanted) == [], some
        seen.append(float(words.split(", p ")[1].split(";")[0]))
    assert min(seen) == 0.005  # as small as it can be; and as large, and between
    assert max(seen) == 1
    assert sum(0.005 < p < 1 for p in seen) > 50
