"""Every panel of every lesson on a page without a kernel, beside the same panel driven in Python: by mouse, touch and
keyboard it shows what Python shows."""

import functools
import html
import json
import random

import panels
import pytest
import traitlets as T
from harness import until
from playwright.sync_api import expect
from test_scene_in_browser import differences

from xlib.explore import page as pages
from xlib.explore import recorded
from xlib.explore.panel import Panel, panel
from xlib.explore.scene import _share, elements, layout

pytestmark = pytest.mark.browser

# What is seen: the picture as scene.py's tree of elements, its words, what each control and each point says.
SEEN = """() => {
  const root = document.querySelector(".xlib-panel"), svg = root.querySelector(".stage > svg");
  const told = (node) => [...node.attributes].map((a) => [a.name, a.name === "href" ? "" : a.value]);
  const tree = (node) => [node.localName, Object.fromEntries(told(node)),
    node.localName === "text" ? node.textContent : [...node.children].map(tree)];
  const values = {};
  for (const node of root.querySelectorAll(".control")) {
    const label = node.getAttribute("aria-label") ?? node.querySelector("label").textContent;
    const range = node.querySelector("[type=range]"), box = node.querySelector("[type=checkbox]");
    values[label] = range ? +range.getAttribute("aria-valuetext").replace("−", "-")
      : box ? box.checked : node.querySelector("[aria-pressed=true]").textContent;
  }
  return JSON.stringify({ alt: svg.getAttribute("aria-label"), width: svg.viewBox.baseVal.width, values,
    picture: [...svg.children].map(tree), points: [...root.querySelectorAll("[role=application] button")].map(
      (ring) => ring.getAttribute("aria-label").match(/[-−\\d.]+(?=[,)])/g).map((v) => +v.replace("−", "-"))) });
}"""
ALT = '() => document.querySelector(".xlib-panel .stage > svg").getAttribute("aria-label")'
LATE = """() => {  // what is unpacked waits for go()
  const { json } = Response.prototype, gone = new Promise((done) => { window.go = done; });
  Response.prototype.json = async function () { await gone; return json.call(this); };
}"""
BESIDE = """(src) => {  // the recording lies in a script beside the page: there, or where it should be
  const script = document.querySelector("script.xlib-scenes"), text = window.packed ??= script.textContent;
  script.dataset.key = "k";
  script.dataset.src = src || `data:text/javascript,xlibCame["k:data"]=${encodeURIComponent(text)}`;
}"""
HEIGHTS = """async (width) => {
  document.querySelector("main").style.width = `${width}px`;
  return [...document.querySelectorAll(".xlib-panel")].map((panel) => Math.round(panel.clientHeight));
}"""
START = """() => {
  for (const place of document.querySelectorAll(".xlib-kernelless")) place.dispatchEvent(new Event("xlib-start"));
}"""
SET_THEME = """(theme) => {
  const { dataset } = document.documentElement;
  if (theme) dataset.theme = theme; else delete dataset.theme;
}"""
# The panels that have these; `test_as_it_begins` sees to it that none is forgotten.
POINTS = ["01 arrows", "01 turn", "02 circle", "04 samples"]
PICKS = ["02 table", "02 bound", "06 map"]
PLAYED = ["01 gap", "02 circle", "03 four", "04 dial", "05 turned", "05 reversal", "06 first", "07 first"]
PLAYED += ["08 moment", "08 bridge"]
SLIDERS = [name for name in panels.PANELS if name != "01 arrows"]
CHOICES = ["01 arrows", "01 gap", "01 turn", "06 map", "07 plan", "08 moment"]
BUTTONS = ["04 samples", "06 map"]
TOUCH = "Input.dispatchTouchEvent"
body = functools.cache(recorded.body)  # all that ask find the panel as it was at first


class Live:
    """One panel on a page of its own, and the same one in Python."""

    def __init__(self, context, panel, script="() => {}", loads=""):
        self.panel, self.names = panel, {control["label"]: control["name"] for control in panel.controls}
        self.reset_python()
        options = recorded._thinned(panel) if not panel.closed else map(recorded._options, panel.controls)
        self.options = dict(zip(self.names.values(), options, strict=True))  # what each can be set to on the page
        self.page = context.new_page()
        self.page.evaluate(script)
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        policy = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(pages.POLICY + loads)}">'
        self.body = body(panel)
        self.page.set_content(
            f"<!doctype html><html lang=en data-theme=light><head>{policy}<style>{pages.stylesheet(panel)}</style>"
            f"</head><body>{self.body}<script>{pages.script(panel, 'panel')}</script></body></html>"
        )
        self.root = self.page.locator(".xlib-panel:not(.still)")
        self.root.wait_for()

    def reset_python(self):
        self.set(**self.panel.initial)
        self.set(**self.panel.initial)

    def set(self, **values):
        """In Python, as the browser would."""
        self.panel._set(values)

    def close(self):
        self.page.close()
        self.reset_python()  # another page may show it

    def seen(self):
        return json.loads(self.page.evaluate(SEEN))

    def alt(self):
        return self.page.evaluate(ALT)

    def same(self, where):
        """The page shows what Python shows: words, controls, points and every element of the picture."""
        words = self.panel.alt_text
        until(lambda: self.alt() == words, f"{where}: {words}", seconds=3)
        found, wanted = self.seen(), self.panel.values
        assert {self.names[label]: value for label, value in found["values"].items()} == {
            name: pytest.approx(wanted[name], rel=1e-5) if isinstance(wanted[name], float) else wanted[name]
            for name in self.names.values()
        }, where
        if found["points"]:
            held = [xy for trait, *_ in self.panel.handles for xy in wanted[trait]]
            assert found["points"] == [pytest.approx(xy, abs=0.006) for xy in held], where
        _, python = elements(self.panel.scene, found["width"], recorded.COLOURS)
        assert differences(as_text(json.loads(json.dumps(python))), found["picture"]) == [], where


def as_text(tree):
    """A tree of elements as the page has it: numbers in attributes are words."""
    name, about, inside = tree if isinstance(tree[0], str) else (None, None, tree)
    children = inside if isinstance(inside, str) else [as_text(child) for child in inside]
    return [name, {key: str(value) for key, value in about.items()}, children] if name else children


@pytest.fixture(scope="module")
def context(browser):
    found = browser.new_context(has_touch=True, viewport={"width": 1000, "height": 900})
    yield found
    found.close()


@pytest.fixture(scope="module")
def opened(context):
    """opened(name): one of the panels, with the errors of its page in `errors`; it stays open for all tests."""
    found = {}

    def opened(name):
        if name not in found:
            found[name] = Live(context, panels.of_lesson(name))
        return found[name]

    yield opened
    for one in found.values():
        one.close()


@pytest.fixture
def live(opened, name):
    found = opened(name)
    found.page.bring_to_front()
    yield found
    assert found.errors == []


def controls(live, kind):
    return [control for control in live.panel.controls if control["kind"] == kind]


def back(live):
    reset = live.root.get_by_role("button", name="reset")
    if reset.is_enabled():
        reset.click()
    live.reset_python()
    live.same("after reset")
    assert reset.is_disabled()


@pytest.mark.parametrize("name", panels.PANELS)
def test_as_it_begins(live, name):
    live.same("at first")
    panel = live.panel
    assert (panel.closed == "") == ('class="xlib-scenes"' in live.body)
    picks = any(part["pick"] for part in panel.scene["axes"])
    has = {"POINTS": panel.handles, "PICKS": picks, "PLAYED": panel.play, "SLIDERS": controls(live, "slider"),
           "CHOICES": controls(live, "words") + controls(live, "check"), "BUTTONS": panel.actions}  # fmt: skip
    assert [group for group in has if has[group]] == [group for group in has if name in globals()[group]]


@pytest.mark.parametrize("name", SLIDERS)
def test_sliders(live, name):
    draw = random.Random(name)
    for control in controls(live, "slider"):
        options = live.options[control["name"]]
        slider = live.root.get_by_role("slider", name=control["label"], exact=True)
        for way in ("mouse", "touch", "keyboard", "number"):
            if way == "keyboard":
                slider.press(draw.choice(["ArrowRight", "ArrowLeft", "PageUp", "PageDown", "Home", "End"]))
            elif way == "number":
                number = live.root.get_by_label(f"{control['label']}, as a number")
                value = draw.choice(options)
                number.fill(str(value).replace(".", ","))
                number.press("Enter")
            else:
                box = slider.bounding_box()
                spot = {"x": draw.random() * box["width"], "y": box["height"] / 2}
                slider.click(position=spot) if way == "mouse" else slider.tap(position=spot)
            if way != "number":
                value = options[int(slider.input_value())]
            live.set(**{control["name"]: value})
            live.same(f"{control['name']} = {value} by {way}")
    back(live)


@pytest.mark.parametrize("name", CHOICES)
def test_words_and_boxes(live, name):
    draw = random.Random(name)
    for control in [*controls(live, "words"), *controls(live, "check")]:
        for way in ("mouse", "touch", "keyboard"):
            value = draw.choice(control.get("options", ["the box"]))
            if control["kind"] == "words":
                node = live.root.get_by_role("button", name=value, exact=True)
            else:
                node = live.root.get_by_role("checkbox", name=control["label"], exact=True)
            {"mouse": node.click, "touch": node.tap, "keyboard": lambda node=node: node.press("Space")}[way]()
            live.set(**{control["name"]: node.is_checked() if control["kind"] == "check" else value})
            live.same(f"{control['name']} = {value} by {way}")
    back(live)


@pytest.mark.parametrize("name", PICKS)
def test_a_click_on_axes_chooses(live):
    n, part = next((n, part) for n, part in enumerate(live.panel.scene["axes"]) if part["pick"])
    for share_x, share_y in ((0.62, 0.3), (0.8, 0.7)):
        box, width = live.root.locator(".stage > svg").bounding_box(), live.seen()["width"]
        place = layout(live.panel.scene, width)[1][n]
        spot = (place["left"] + share_x * place["width"], place["top"] + share_y * place["height"])
        live.page.mouse.click(*(box[side] + at for side, at in zip("xy", spot, strict=True)))
        for side, (trait, places, chosen) in part["pick"].items():
            axis, wanted = part[side], share_x if side == "x" else 1 - share_y
            far = [abs(_share(axis, at) - wanted) for at in places]
            live.set(**{trait: chosen[far.index(min(far))]})
        live.same(f"picked at {spot}")
    back(live)


@pytest.mark.parametrize("name", POINTS)
def test_points(live):
    """By keyboard as Python would; dragged by mouse and by finger, they move, and Python agrees with what is said."""
    panel, ring = live.panel, live.root.locator("[role=application] button").first
    before = live.alt()
    ring.press("ArrowUp")
    until(lambda: live.alt() != before, "it moves")
    client = live.page.context.new_cdp_session(live.page)
    for way in ("mouse", "touch"):
        was, box = live.alt(), ring.bounding_box()
        start = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        path = [(start[0] - 6 * i, start[1] + 9 * i) for i in range(1, 9)]
        if way == "mouse":
            live.page.mouse.move(*start)
            live.page.mouse.down()
            for at in path:
                live.page.mouse.move(*at)
            live.page.mouse.up()
        else:
            for kind, at in (("touchStart", start), *(("touchMove", at) for at in path), ("touchEnd", None)):
                points = [{"x": at[0], "y": at[1]}] if at else []
                client.send(TOUCH, {"type": kind, "touchPoints": points})
        found = live.alt()
        assert found != was, way
        ring.blur()
        assert live.alt() == found, f"after the {way} it stays"
        if not panel.closed:  # else Python's own points are told no further than two decimals
            live.set(angle=live.seen()["values"]["angle in degrees"])
            live.same(f"dragged by {way}")
    back(live)


@pytest.mark.parametrize("name", PLAYED)
def test_play(live, name):
    name = live.panel.play
    label = next(label for label, each in live.names.items() if each == name)
    slider = live.root.get_by_role("slider", name=label, exact=True)
    live.root.get_by_role("button", name="play").click()
    if name == "steps":  # the circle's steps go on from state to state
        live.root.get_by_role("button", name="pause").click()
        return back(live)
    slider.press("End")
    live.set(**{name: live.options[name][-1]})
    live.same("at the end")
    live.root.get_by_role("button", name="play").click()  # from there it begins anew
    until(lambda: live.alt() != live.panel.alt_text, "it plays")
    live.root.get_by_role("button", name="pause").click()
    live.set(**{name: live.options[name][int(slider.input_value())]})
    live.same("paused")
    back(live)


@pytest.mark.parametrize("name", BUTTONS)
def test_buttons(live):
    """They do what Python does, or say that they need it."""
    for i, words in enumerate(live.panel.actions):
        button = live.root.get_by_role("button", name=words)
        if live.panel.closed:
            button.click()
            list(live.panel._actions.values())[i](lambda text: None)
            live.same(words)
            back(live)
        else:
            assert button.is_disabled()
            expect(button).to_have_accessible_description("needs Python: run the lesson for it")


@pytest.mark.parametrize("name", ["02 bound", "02 circle"])
def test_words_are_spoken_once_it_rests(live):
    status = live.root.locator("[role=status]")
    live.root.get_by_role("slider").first.press("End")
    until(lambda: status.text_content() == live.alt(), "spoken")
    back(live)


def test_what_is_asked_before_the_recording_is_there_is_not_lost(context):
    live = Live(context, panels.of_lesson("03 four"), LATE)
    slider = live.root.get_by_role("slider", name="likeness of a pair")
    before = live.alt()
    for _ in range(3):
        slider.press("ArrowRight")
    live.root.get_by_label("temperature τ, as a number").fill("0.5")
    slider.focus()
    status = live.root.locator(".progress")
    assert (live.alt(), status.text_content()) == (before, "loading…")
    live.page.evaluate("go()")
    live.set(likeness=0.3, temperature=0.5)
    live.same("once it is there")
    assert status.text_content() == ""
    live.close()


class Steps(T.HasTraits):
    """A seed that begins anew when it changes, and no more than three steps."""

    step, seed = T.Int(2, help="step"), T.Int(0, help="seed")

    @T.observe("seed")
    def _anew(self, change):
        self.step = 0

    @T.validate("step")
    def _few(self, proposal):
        return min(proposal.value, 3)


def draw_steps(model, scene):
    scene.axes().set(x=(0, 1), y=(0, 1))
    return f"step {model.step} of seed {model.seed}"


def test_a_move_leads_where_the_model_leads_it_and_reset_leads_back(context):
    live = Live(context, panel(Steps(), draw_steps, controls={"step": (0, 5, 1), "seed": (0, 2, 1)}))
    step, seed = (live.root.get_by_role("slider", name=name) for name in ("step", "seed"))
    for slider, key, words in (
        (step, "End", "step 3 of seed 0"),
        (seed, "End", "step 0 of seed 2"),
        (step, "ArrowRight", "step 1 of seed 2"),
    ):
        slider.press(key)
        until(lambda words=words: live.alt() == words, words)
    assert step.input_value() == "1"
    back(live)
    live.close()


def test_what_cannot_be_loaded_is_said_and_tried_again_at_the_next_move(context):
    live = Live(context, panels.of_lesson("06 map"), loads=" data:")
    live.page.evaluate(BESIDE, "nowhere:")
    slider, status = live.root.get_by_role("slider"), live.root.locator(".progress")
    slider.press("End")
    words = "What else it shows cannot be loaded: nowhere: cannot be loaded"
    until(lambda: status.text_content() == words, "it is said")
    assert live.root.locator("[role=status]").text_content() == words
    live.same("as at first")
    live.page.evaluate(BESIDE, "")
    live.root.get_by_role("button", name="DANN 1.0").click()
    live.set(method="DANN 1.0")
    live.same("the first move is forgotten")
    assert status.text_content() == "needs Python: run the lesson for it"
    live.close()


def test_dragged_over_the_seam_the_slider_goes_to_the_end_that_is_near(opened):
    live = opened("01 turn")
    number = live.root.get_by_label("angle in degrees, as a number")
    ring = live.root.get_by_label("handle that turns")
    for start, key, end in (("-175", "ArrowDown", "−180"), ("175", "ArrowUp", "180")):
        number.fill(start)
        number.press("Enter")
        ring.press(key)
        assert number.input_value() == end
    back(live)


def test_all_panels_keep_their_height_when_they_start(context):
    page = context.new_page()
    bodies = "".join(body(panels.of_lesson(name)) for name in panels.PANELS)
    page.set_content(f"<!doctype html><style>{pages.stylesheet(Panel)}</style><main>{bodies}</main>")
    columns = (374, 570, 590, 900)  # of the window's 1,000 px: axes below each other in two, beside each other in two
    still = [page.evaluate(HEIGHTS, column) for column in columns]
    page.evaluate(pages.script(Panel, "panel"))
    page.evaluate(START)
    until(lambda: page.locator(".still").count() == 0, "all have started")
    for column, heights in zip(columns, still, strict=True):
        until(lambda: page.evaluate(HEIGHTS, column) == heights, f"{column} px: {heights}")  # noqa: B023
    page.close()


@pytest.mark.parametrize(
    ("theme", "system", "medium", "dark"),
    [
        ("dark", "light", "screen", True),
        ("light", "dark", "screen", False),
        ("", "dark", "screen", True),
        ("", "dark", "print", False),  # paper is white
        ("dark", "light", "print", False),
    ],
)
@pytest.mark.parametrize("name", ["06 map"])
def test_the_pages_theme_is_followed_and_else_the_systems(live, theme, system, medium, dark):
    live.page.emulate_media(color_scheme=system, media=medium)
    live.page.evaluate(SET_THEME, theme)
    colour = live.root.evaluate("(root) => getComputedStyle(root).backgroundColor")
    assert colour == ("rgb(17, 17, 17)" if dark else "rgb(255, 255, 255)")
