"""What is drawn beforehand of a panel: every state that its controls lead to, and the model is as it was."""

import base64
import gzip
import json
import re

import numpy as np
import pytest
import traitlets as T
from bs4 import BeautifulSoup

from xlib.explore import recorded
from xlib.explore.panel import panel
from xlib.explore.scene import LIGHT, elements

HOSTILE = "</script><b>\"&'"


class Bars(T.HasTraits):
    height = T.Float(0.5, help="height " + HOSTILE)
    count = T.Int(2)
    word = T.Unicode("plain")
    tick = T.Bool(False)
    other = T.Int(0)  # no control

    @T.observe("count")
    def _other(self, change):
        self.other += 1


CONTROLS = {"height": (0.0, 1.0, 0.25), "count": [1, 2, 3], "word": ["plain", "fancy"], "tick": "check"}


def draw(model, scene):
    axes = scene.axes().set(x=(0, 4), y=(0, 1), title=HOSTILE).bars(range(model.count), [model.height] * model.count)
    axes.text(0, 0.5, model.word)
    return f"{model.count} of {model.height:.2f}, {model.word}, {model.tick} {HOSTILE}"


def states(found):
    """[{name: value}, scene's data, words] of each state."""
    for row, shown, alt in zip(found["values"], found["shown"], found["alts"], strict=True):
        scene = found["scenes"][shown]
        marks = [{"marks": [found["marks"][place] for place in part["marks"]]} for part in scene.get("axes", [])]
        axes = {"axes": [part | more for part, more in zip(scene["axes"], marks, strict=True)]} if scene else {}
        yield dict(zip(found["names"], row, strict=True)), scene | axes, alt


def test_each_state_is_what_the_panel_shows_there():
    model = Bars()
    view = panel(model, draw, controls=CONTROLS)
    found = recorded.record(view)
    seen = list(states(found))
    assert len(seen) == len({json.dumps(values) for values, *_ in seen}) == 5 * 3 * 2 * 2
    for values, scene, alt in seen:
        view._set(values)
        assert (alt, scene) == (view.alt_text, view.scene)
    assert found["options"] == [[0, 0.25, 0.5, 0.75, 1], [1, 2, 3], ["plain", "fancy"], [False, True]]
    assert seen[found["first"]][0] == {"height": 0.5, "count": 2, "word": "plain", "tick": False}
    assert found["moves"] == []
    assert (len(found["scenes"]), len(found["marks"])) == (30, 5 * 3 + 2)  # the tick changes no picture


def test_the_model_is_as_it_was_and_so_is_who_follows_it():
    model, heard = Bars(height=0.75), []
    view = panel(model, draw, controls=CONTROLS)
    before, scene = model.trait_values(), view.scene
    model.observe(heard.append, "word")
    recorded.body(view)
    assert model.trait_values() == before
    assert (view.scene, view.values["height"]) == (scene, 0.75)
    heard.clear()
    model.word = "fancy"
    assert len(heard) == 1
    assert view.alt_text.startswith("2 of 0.75, fancy")


def test_it_begins_where_the_panel_stands_and_leads_back_to_where_it_stood_first():
    model = Bars()
    view = panel(model, draw, controls=CONTROLS)
    model.height = 0.3  # no place of the slider
    seen = list(states(found := recorded.record(view)))
    assert seen[found["now"]][0]["height"] == 0.3
    assert seen[found["first"]][0]["height"] == 0.5
    assert len(seen) == 6 * 12


class Steps(T.HasTraits):
    """A seed that begins anew when it changes, seven refused, and no more than eight steps."""

    step, seed = T.Int(1), T.Int(0)

    @T.observe("seed")
    def _anew(self, change):
        self.step = 0

    @T.validate("step")
    def _wanted(self, proposal):
        if proposal.value == 7:
            raise T.TraitError("seven is refused")
        return min(proposal.value, 8)


def test_what_the_model_makes_of_a_value_is_where_a_move_leads():
    def say(model, scene):
        scene.axes().set(x=(0, 1), y=(0, 1))
        return f"{model.step}, {model.seed}"

    found = recorded.record(panel(Steps(), say, controls={"step": (0, 10, 1), "seed": (0, 1, 1)}))
    place = {tuple(row): state for state, row in enumerate(found["values"])}
    assert sorted(place) == [(step, seed) for step in (0, 1, 2, 3, 4, 5, 6, 8) for seed in (0, 1)]
    moves = {tuple(move[:3]): move[3] for move in found["moves"]}
    for (step, seed), state in place.items():
        wanted = {(state, 0, 7): state, (state, 0, 9): place[8, seed], (state, 0, 10): place[8, seed]}
        if step:
            wanted[state, 1, 1 - seed] = place[0, 1 - seed]
        assert {move: to for move, to in moves.items() if move[0] == state} == wanted


def test_what_draw_raises_is_that_states_words():
    def steep(model, scene):
        if model.count == 3:
            raise ZeroDivisionError("too steep")
        return draw(model, scene)

    view = panel(model := Bars(), steep, controls={"count": [1, 2, 3]})
    by_count = {values["count"]: (scene, alt) for values, scene, alt in states(recorded.record(view))}
    assert by_count[3] == ({}, "The picture could not be drawn. ZeroDivisionError: too steep")
    assert by_count[1][0]
    assert (model.count, view.alt_text[:4]) == (2, "2 of")


def test_who_follows_the_model_and_fails_is_not_the_end():
    def follow(change):
        raise RuntimeError("it rains")

    view = panel(model := Bars(), draw, controls={"count": [1, 2, 3]})
    model.observe(follow, "count")
    assert len(recorded.record(view)["values"]) == 3
    assert model.count == 2


@pytest.mark.parametrize(
    ("controls", "counts"),
    [
        ({"height": (0.0, 1.0, 0.001)}, [252]),  # every fourth of 1,001
        ({"height": (0.0, 1.0, 0.01), "tick": "check"}, [101, 2]),
        ({"height": (0.0, 1.0, 0.01), "other": (0, 100, 1)}, [17, 18]),  # both
        ({"height": (0.0, 1.0, 0.01), "word": ["plain", *map(str, range(400))]}, [3, 401]),  # words are all kept
    ],
)
def test_long_sliders_are_thinned_and_keep_their_ends_and_where_they_stand(controls, counts):
    view = panel(Bars(height=0.37), draw, controls=controls)
    options = recorded._thinned(view)
    assert [len(each) for each in options] == counts
    assert {0, 1, 0.37} <= set(options[0])
    assert options[0] == sorted(options[0])


class Turn(T.HasTraits):
    angle, grip = T.Int(0), T.List([[1.0, 0.0]])
    free = T.List([[0.5, 0.5]])

    @T.observe("angle")
    def _follow(self, change):
        self.grip = [[float(np.cos(self.angle)), float(np.sin(self.angle))]]


def test_points_that_a_control_moves_come_with_it_and_others_cannot_be_dragged():
    def ring(model, scene):
        scene.axes().set(x=(-1, 1), y=(-1, 1)).points(*np.transpose(model.grip))
        return f"turned by {model.angle}"

    handles = {"grip": ["handle"], "free": ["free"]}
    view = panel(Turn(), ring, controls={"angle": (0, 6, 1)}, handles=handles)
    found = recorded.record(view)
    assert [row[1] for row in found["values"]] == [
        [[pytest.approx(np.cos(row[0])), pytest.approx(np.sin(row[0]))]] for row in found["values"]
    ]
    assert script(recorded.body(view), "state")["state"]["handles"] == [["grip", ["handle"], False]]


def script(body, name):
    return json.loads(BeautifulSoup(body, "html.parser").select_one(f"script.xlib-{name}").string)


def test_the_place_is_a_still_a_state_and_a_recording_and_all_of_it_is_text():
    about = {"play": "height", "actions": {"go <b>": print}, "title": HOSTILE}
    body = recorded.body(panel(Bars(), draw, controls=CONTROLS, **about))
    page = BeautifulSoup(body, "html.parser")
    assert page.div["data-kind"] == "panel"
    assert page.select("b, svg script") == []
    still = page.select_one(".xlib-panel.still")
    assert still.select_one("[role=img]")["aria-label"] == f"2 of 0.50, plain, False {HOSTILE}"
    assert [each.get_text() for each in still.select(".label")] == ["height " + HOSTILE, "count", "word", "tick"]
    assert [each.get_text() for each in still.select(".bar button")] == ["▶ play", "reset", "go <b>"]
    assert "var(--ink)" in str(still.svg)
    assert not re.search("#1b1f24|#59636e", str(still.svg)), "the theme's colours are the page's"
    found = json.loads(gzip.decompress(base64.b64decode(script(body, "scenes"))))
    assert len(found["values"]) == 60
    assert script(body, "state")["state"]["values"] == {"height": 0.5, "count": 2, "word": "plain", "tick": False}


def test_formulas_that_the_browser_knows_need_no_recording():
    view = panel(Bars(), draw, controls=CONTROLS, closed="example")
    assert "xlib-scenes" not in recorded.body(view)


def test_digits_that_cannot_be_seen_are_left_out():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(30, 30))

    def field(model, scene):
        axes = scene.axes().set(x=(-2, 2), y=(-2, 2))
        axes.field(noise * model.height, low=-1, high=1, colours="viridis", x=(-2, 2), y=(-2, 2))
        axes.points(*noise[:2])
        return "noise"

    view = panel(Bars(), field, controls={"height": (0.0, 1.0, 0.25)})
    ((_, scene, _),) = [state for state in states(recorded.record(view)) if state[0]["height"] == 0.5]
    for found, wanted in zip(elements(scene, 720, LIGHT)[1], elements(view.scene, 720, LIGHT)[1], strict=True):
        if found[0] == "circle":
            for side in ("cx", "cy"):
                assert found[1][side] == pytest.approx(wanted[1][side], abs=0.01)
    assert len(json.dumps(scene)) < len(json.dumps(view.scene)) / 3
    levels = np.array(scene["axes"][0]["marks"][0]["values"]) / recorded.SHADES * 2 - 1
    assert np.abs(levels - np.clip(noise / 2, -1, 1)).max() <= 0.001  # of a scale of 256 colours
