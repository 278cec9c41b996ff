"""Lesson 08 in a real JupyterLab: a spoken number on the map is heard when it is asked for, and the panels move."""

import pytest
from harness import Panel, explorer, first_screen, move_the_explorer, opens, second_day, skip_questions, until
from test_explorer_sounds import SPY

pytestmark = pytest.mark.browser


opened = opens("08_sound", seconds=900, budget="smoke")


def test_the_first_screen(opened):
    first_screen(opened)
    opened.clean()


def test_a_spoken_number_is_heard_when_it_is_asked_for(opened):
    skip_questions(opened)
    tab, root = opened.page, explorer(opened, 1)  # the first one has the clips of section 1
    tab.evaluate(f"() => {{ {SPY} }}")
    spoken = opened.kernel("[i for i, sound in enumerate(sounds_map.model.sounds) if sound][42]")
    caption = opened.kernel(f"sounds_map.model.captions[{spoken}]")
    opened.execute(f"sounds_map.selected = [{spoken}]")
    play = root.locator(".head").get_by_role("button", name=f"Play: {caption}", exact=True)
    play.wait_for()
    tab.wait_for_timeout(300)
    assert tab.evaluate("events") == [], "chosen from Python, it is silent"
    play.click()
    until(lambda: any(at > 0.05 for _, kind, at in tab.evaluate("events") if kind == "timeupdate"), "it sounds")
    assert tab.evaluate("sources.map((source) => source.slice(0, 22))") == ["data:audio/mpeg;base64"]
    until(lambda: play.count() == 1, "it ends by itself")
    opened.clean()


def test_the_panels(opened):
    skip_questions(opened)
    mel, cosines, anchors = (Panel(opened, index) for index in range(3))
    for panel, act, expression, value, words in (
        (mel, lambda: mel.press("moment", "End"), "first_moment.moment", 63, "moment 64 of 64"),
        (mel, lambda: mel.press("number", "End"), "first_moment.number", 66, "Sixty-six"),
        (
            cosines,
            lambda: cosines.press("cosine of sound and caption", "End"),
            "first_bridge.a",
            1.0,
            "1.00 and 0.70",
        ),
        (anchors, lambda: anchors.press("pairs", "Home"), "first_anchors.pairs", 10, "10 pairs"),
    ):
        panel.changes(act, expression, value, words)
    opened.clean()


def test_three_modalities_in_one_explorer(opened):
    move_the_explorer(opened, "sounds_map", "seven", 1)
    opened.clean()


def test_the_second_day(opened):
    second_day(opened)
