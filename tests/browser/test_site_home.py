"""The explorer of the site's home page plays once by itself, and leaves whoever does not want that alone."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "site"))

import pages

from xlib.explore import explore, page

pytestmark = pytest.mark.browser
STEP = "() => +document.querySelector('[data-ui=slider]')?.value"
PLAYING = "() => !!document.querySelector('[data-ui=play].playing')"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A page that holds the home page's explorer, of 6 snapshots, 1,500 pixels from the top."""
    shown = explore(np.random.default_rng(0).normal(size=(6, 12, 5)), steps=[*range(6)])
    path = tmp_path_factory.mktemp("home") / "index.html"
    path.write_text(
        f"<!doctype html><style>{page.stylesheet(shown)}</style><p style='height: 1500px'>Above.</p>"
        f'<div class="xlib-home">{page.body(shown)}</div>{pages.PLAY}<script>{page.script(shown)}</script>',
        "utf-8",
    )
    return path.as_uri()


@pytest.fixture
def visit(browser):
    contexts = []

    def go(address, motion="no-preference"):
        contexts.append(browser.new_context(reduced_motion=motion, offline=True))
        opened = contexts[-1].new_page()
        opened.goto(address)
        return opened

    yield go
    for context in contexts:
        context.close()


def seen(opened):
    opened.evaluate("() => scrollTo(0, 1400)")
    opened.wait_for_selector("[data-ui=play]")


def test_it_plays_once_when_it_is_seen(visit, home):
    opened = visit(home)
    opened.wait_for_timeout(600)
    assert not opened.evaluate(PLAYING)
    seen(opened)
    opened.wait_for_function(PLAYING)
    assert opened.evaluate(STEP) < 5  # from the start
    opened.wait_for_function(f"() => !({PLAYING})() && ({STEP})() === 5")
    opened.evaluate("() => scrollTo(0, 0)")
    seen(opened)
    opened.wait_for_timeout(600)
    assert opened.evaluate(STEP) == 5


@pytest.mark.parametrize("touch", ["pointer", "key", "wheel"])
def test_a_touch_stops_it(visit, home, touch):
    opened = visit(home)
    seen(opened)
    opened.wait_for_function(PLAYING)
    box = opened.locator("[data-ui=stages]").bounding_box()
    opened.mouse.move(box["x"] + 20, box["y"] + 20)
    if touch == "pointer":
        opened.mouse.down()
    elif touch == "wheel":
        opened.mouse.wheel(0, 10)
    else:
        opened.evaluate("() => document.querySelector('[data-ui=search]').focus({ preventScroll: true })")
        opened.keyboard.press("a")
    opened.wait_for_function(f"() => !({PLAYING})()")
    step = opened.evaluate(STEP)
    opened.wait_for_timeout(1200)
    assert opened.evaluate(STEP) == step < 5


@pytest.mark.parametrize(("motion", "hash_"), [("reduce", ""), ("no-preference", "#step=1")])
def test_it_leaves_alone_who_wants_no_motion_or_one_view(visit, home, motion, hash_):
    opened = visit(home + hash_, motion)
    seen(opened)
    opened.wait_for_timeout(1200)
    assert not opened.evaluate(PLAYING)
