"""Sounds in the explorer: a click, Enter or a button plays one, and nothing else does; on an exported page from the
disk with the network off, and in JupyterLab."""

import base64
import itertools
from pathlib import Path

import numpy as np
import pytest
from harness import Notebook, until
from matplotlib.colors import to_rgb
from test_explorer import COUNT
from test_explorer_elsewhere import violations

from xlib.explore import explore, page

pytestmark = pytest.mark.browser

# What every clip of a page does: (number of its player, event, time in it).
SPY = """
  [window.events, window.sources] = [[], []];
  const players = [], { play } = HTMLMediaElement.prototype;
  HTMLMediaElement.prototype.play = function () {
    if (!players.includes(this)) {
      const p = players.push(this) - 1;
      sources.push(this.src);
      for (const type of ["playing", "timeupdate", "pause", "ended", "error"])
        this.addEventListener(type, () => events.push([p, type, this.currentTime]));
    }
    events.push([players.indexOf(this), "play", this.currentTime]);
    return window.refuse ? Promise.reject(new DOMException("", window.refuse)) : play.call(this);
  };"""
Z = np.eye(6) + 0.1
PLACES = np.array([[0, 0], [4, 0], [0, 3], [4, 3], [2, 0.8], [2, 2.2]])


def tone(frequency, seconds=2.0):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(16_000 * seconds)) / 16_000)


def make(**changes):
    """Four sounds of two seconds at a map's corners and two texts within, each in a colour of its own."""
    options = {
        "captions": ["one", "two", "three", "four", "five", "six"],
        "sounds": [*map(tone, (300, 500, 800, 1_200)), None, None],
        "labels": [f"class {i}" for i in range(6)],
        "pairs": [4, -1, -1, -1, 0, -1],
        "coordinates": PLACES,
        "title": "Spoken",
    }
    return explore(Z, **options | changes)


class Page:
    """An exported file whose sounds are watched, opened from the disk with the network off."""

    def __init__(self, browser, path, address="", init=SPY, **options):
        options = {"viewport": {"width": 1200, "height": 950}} | options
        self.context = browser.new_context(offline=True, **options)
        self.context.add_init_script(init)
        self.page, self.errors, self.requests = self.context.new_page(), [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + address)
        self.root = self.page.locator(".xlib-explorer").first
        self.canvas = self.root.locator(".stage > canvas").first
        until(lambda: self.place(0)[0] > 50, "the map is drawn")

    def place(self, i):
        """How many pixels have the colour of item i, and their centre."""
        colour = (np.array(to_rgb(PALETTE[i])) * 255).round().tolist()
        return self.canvas.evaluate(COUNT, [colour, None])

    def click(self, i, **options):
        _, x, y = until(lambda: (found := self.place(i))[0] > 20 and found, f"item {i} is in full colour")
        self.canvas.click(position={"x": x, "y": y}, **options)

    def events(self, *types):
        return [(player, type_) for player, type_, _ in self.page.evaluate("events") if type_ in types]

    def plays(self, player):
        """Wait until this player, counted from 0, has begun, and its time goes on."""
        until(lambda: (player, "playing") in self.events("playing"), f"clip {player} begins")
        times = lambda: [at for p, type_, at in self.page.evaluate("events") if (p, type_) == (player, "timeupdate")]  # noqa: E731
        until(lambda: max(times(), default=0) > 0.05, f"clip {player} goes on")

    def silent(self):
        self.page.wait_for_timeout(300)
        assert self.page.evaluate("events") == []

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def close(self):
        assert self.errors == []
        assert [url[:60] for url in self.requests if not url.startswith(("file:", "data:", "blob:"))] == []
        self.context.close()


MADE = make()
PALETTE = MADE.setup["palette"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "sounds.html"
    MADE.to_html(path)
    return path


@pytest.fixture
def opened(browser, file):
    found = Page(browser, file)
    yield found
    found.close()


def test_a_click_plays_an_item_and_pointing_at_it_does_not(opened):
    _, x, y = opened.place(0)
    opened.canvas.hover(position={"x": x, "y": y})
    opened.root.locator(".card", has_text="click or Enter plays it").wait_for()
    opened.silent()
    opened.click(4)  # a text
    opened.root.locator(".head", has_text="five").wait_for()
    opened.button("Play: one").first.hover()  # its pair
    opened.root.locator("ol .row").first.hover()
    opened.silent()
    opened.click(0)
    opened.plays(0)
    assert opened.root.locator(".head .caption").inner_text() == "one"
    assert opened.button("Stop: one").count() == 1
    until(lambda: (0, "ended") in opened.events("ended"), "it ends by itself")
    opened.button("Play: one").wait_for()
    opened.click(0)  # again, from the beginning
    opened.plays(1)


def test_enter_plays_what_the_keys_have_reached_and_escape_stops_before_it_clears(opened):
    opened.canvas.focus()
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowDown"):
        opened.page.keyboard.press(key)
    assert opened.root.locator(".card b").inner_text() == "one"
    opened.page.keyboard.press(" ")  # selects it beside others: no choice of one
    opened.silent()
    opened.page.keyboard.press("Enter")
    opened.plays(0)
    opened.page.keyboard.press("Escape")
    until(lambda: opened.events("pause", "ended") == [(0, "pause")], "Escape stops it")
    assert opened.root.locator(".head", has_text="one").is_visible()
    assert opened.button("Stop: one").count() == 0
    opened.page.keyboard.press("Escape")
    opened.root.locator(".head").wait_for(state="hidden")


def test_a_button_plays_a_neighbour_and_stops_it_and_a_new_clip_stops_the_old_one(opened):
    opened.click(4)
    three = opened.button("Play: three")
    three.click()
    opened.plays(0)
    assert opened.root.locator(".head .caption").inner_text() == "five"  # still
    assert three.count() == 0
    opened.button("Stop: three").click()
    until(lambda: (0, "pause") in opened.events("pause"), "a second press stops it")
    assert three.count() == 1
    three.focus()
    opened.page.keyboard.press("Enter")
    opened.plays(1)
    opened.button("Play: two").click()
    opened.plays(2)
    assert opened.events("pause", "ended") == [(0, "pause"), (1, "pause")]
    assert opened.root.locator(".hear.playing").count() == 1
    opened.click(1)
    opened.plays(3)
    assert opened.events("pause", "ended")[2:] == [(2, "pause")]
    files = [base64.b64encode(MADE.model.sounds[i]).decode() for i in (2, 2, 1, 1)]
    assert opened.page.evaluate("sources") == [f"data:audio/mpeg;base64,{file}" for file in files]


def test_list_search_and_table_play_what_they_choose_and_several_are_silent(opened):
    for i in (0, 1):
        opened.click(i, modifiers=["Control"])
    opened.root.get_by_text("2 items selected").wait_for()
    opened.silent()
    opened.page.keyboard.press("Escape")
    opened.click(4)
    opened.root.locator("ol .row", has_text="three").click()
    opened.plays(0)
    opened.root.get_by_role("searchbox").fill("four")
    opened.page.keyboard.press("Enter")
    opened.plays(1)
    opened.root.get_by_role("button", name="Table", exact=True).click()
    opened.root.locator("tbody tr", has_text="four").locator("th").click()
    opened.plays(2)
    opened.root.get_by_role("searchbox").fill("")
    opened.root.locator("tbody tr", has_text="two").get_by_role("checkbox").check()
    opened.root.get_by_text("2 items selected").wait_for()
    assert len(opened.events("play")) == 3


def test_tab_goes_from_a_row_to_its_button_and_arrows_from_row_to_row(opened):
    opened.click(4)
    rows = opened.root.locator("ol .row .caption").all_inner_texts()
    row = opened.root.locator("ol .row").first
    row.focus()
    opened.page.keyboard.press("Tab")
    focused = lambda: opened.page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText")  # noqa: E731
    assert focused() == f"Play: {rows[0]}"
    opened.page.keyboard.press("ArrowDown")
    assert focused().startswith(rows[1])
    silent = opened.root.locator("ol .audible", has_text="six").locator(".hear")
    assert not silent.is_visible()
    assert silent.is_disabled()


def test_what_an_address_or_python_has_chosen_is_silent(browser, file, tmp_path):
    for path, address in ((file, "#selected=1"), (tmp_path / "chosen.html", "")):
        if not address:
            explorer = make()
            explorer.selected = [1]
            explorer.to_html(path)
        opened = Page(browser, path, address)
        opened.button("Play: two").wait_for()
        opened.silent()
        opened.button("Play: two").click()
        opened.plays(0)
        opened.close()


def test_two_explorers_of_a_page_do_not_sound_at_once(browser, file, tmp_path):
    text = file.read_text("utf-8")
    (tmp_path / "two.html").write_text(text.replace("</main>", page.body(make()) + "</main>", 1), "utf-8")
    opened = Page(browser, tmp_path / "two.html", viewport={"width": 1200, "height": 1800})
    opened.click(0)
    opened.plays(0)
    other = opened.page.locator(".xlib-explorer").nth(1)
    other.get_by_role("searchbox").fill("four")
    opened.page.keyboard.press("Enter")
    opened.plays(1)
    assert opened.events("pause", "ended") == [(0, "pause")]
    assert opened.root.locator(".hear.playing").count() == 0
    opened.close()


def test_what_keeps_a_sound_from_playing_is_said_in_words(browser, file, tmp_path):
    refused = Page(browser, file, init=SPY + "window.refuse = 'NotAllowedError';")
    refused.click(0)
    refused.root.get_by_role("alert").get_by_text("The browser let no sound play: press ▶ once more.").wait_for()
    assert refused.root.locator(".hear.playing").count() == 0
    refused.page.evaluate("window.refuse = ''")
    refused.button("Play: one").click()
    refused.plays(1)
    assert not refused.root.locator("[data-ui=unheard]").is_visible()
    refused.close()
    text = file.read_text("utf-8")
    (tmp_path / "strict.html").write_text(text.replace("; media-src data:", "", 1), "utf-8")
    strict = Page(browser, tmp_path / "strict.html")
    strict.click(0)
    strict.root.get_by_text("This sound cannot be played here.").wait_for()
    strict.click(4)
    strict.root.get_by_text("This sound cannot be played here.").wait_for(state="hidden")
    assert any("media-src" in error or "default-src" in error for error in strict.errors)
    strict.context.close()


def test_axe_finds_nothing_while_a_sound_plays(browser, file):
    opened = Page(browser, file, viewport={"width": 390, "height": 950}, has_touch=True)
    _, x, y = opened.place(0)
    box = opened.canvas.bounding_box()
    opened.page.touchscreen.tap(box["x"] + x, box["y"] + y)
    opened.plays(0)
    assert opened.root.locator(".head .caption").inner_text() == "one"  # not what then stands under the finger
    stop = opened.button("Stop: one")
    for player, (width, scheme) in enumerate(itertools.product((390, 1200), ("light", "dark"))):
        opened.page.set_viewport_size({"width": width, "height": 950})
        opened.page.emulate_media(color_scheme=scheme)
        if player:
            opened.button("Play: one").click()
            opened.plays(player)
        assert stop.count() == 1
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(opened.page) == []
        opened.button("Play: one").wait_for()  # it has come to its end
    for name in ("aria-label", "title"):
        opened.root.locator(".hear:enabled").first.evaluate("(button, name) => button.removeAttribute(name)", name)
    assert any("button-name" in line for line in violations(opened.page))  # axe would have said so
    opened.close()


CELL = f"""import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from test_explorer_sounds import Z, make, tone
explorer = make(encode=lambda texts: Z[[1] * len(texts)], speak=lambda text: tone(100 * len(text)),
                hear=lambda clips: Z[[2] * len(clips)])
display(explorer, make())"""


def test_in_jupyterlab_sounds_play_and_a_typed_caption_is_spoken(browser, lab):
    notebook = Notebook(browser, lab, lab.add("sounds.ipynb", [CELL])).run_all()
    tab, root = notebook.page, notebook.page.locator(".xlib-explorer").first
    tab.evaluate(f"() => {{ {SPY} }}")
    root.scroll_into_view_if_needed()
    notebook.execute("explorer.selected = [0]")
    one = root.get_by_role("button", name="Play: one", exact=True)
    one.wait_for()
    assert tab.evaluate("events") == []
    root.get_by_role("searchbox").fill("two")
    tab.keyboard.press("Enter")
    until(lambda: any(at > 0.05 for _, type_, at in tab.evaluate("events") if type_ == "timeupdate"), "it plays")
    until(lambda: notebook.kernel("explorer.selected") == [1], "and is chosen")
    root.get_by_label("Your own caption").fill("seven")
    tab.keyboard.press("Enter")
    spoken = root.get_by_role("button", name="Play: seven", exact=True)
    spoken.wait_for()
    tab.wait_for_timeout(300)
    assert {player for player, *_ in tab.evaluate("events")} == {0}, "typing is silent"
    root.get_by_text("Spoken, it lands at cosine").wait_for()
    spoken.click()
    until(lambda: [1, "playing"] in [event[:2] for event in tab.evaluate("events")], "the button speaks it")
    other = tab.locator(".xlib-explorer").nth(1)
    other.get_by_role("searchbox").fill("four")
    tab.keyboard.press("Enter")
    until(lambda: [2, "playing"] in [event[:2] for event in tab.evaluate("events")], "the other explorer plays")
    assert [1, "pause"] in [event[:2] for event in tab.evaluate("events")], "and stops the first one"
    heard = np.array(notebook.kernel("explorer.heard['pca']"))
    assert np.abs(heard - notebook.kernel("explorer.landed['pca']")).max() > 1_000
    notebook.clean()
    notebook.close()
