"""Words on the map's regions: which they are, where they stand, and what hides them."""

from itertools import combinations

import numpy as np
import pytest
from harness import until
from test_explorer_elsewhere import Page, violations

from xlib.explore import explore
from xlib.explore.view import HERE

pytestmark = pytest.mark.browser

REGIONS = {"harbour": ("ship", "crane", "gull", "rope"), "kitchen": ("pan", "knife", "stove", "spoon"),
           "garden": ("rose", "spade", "hedge", "bee"), "森林": ("松树", "蘑菇", "狐狸", "溪水")}  # fmt: skip
CORNERS = [(-1, 1), (1, 1), (-1, -1), (1, -1)]


def make(**changes):
    """Four regions of 80 items, in each of them four parts with a word of their own; two steps, at the first of which
    everything lies anywhere. "the" is in all captions, and each has a number."""
    rng = np.random.default_rng(0)
    captions, places = [], []
    for (region, parts), corner in zip(REGIONS.items(), CORNERS, strict=True):
        for part, way in zip(parts, CORNERS, strict=True):
            captions += [f"the {region} {part} {len(captions) + j}" if region.isascii() else f"the {region}里的{part}"
                         for j in range(20)]  # fmt: skip
            places.append(np.array(corner) + 0.06 * np.array(way) + 0.015 * rng.normal(size=(20, 2)))
    xy = np.concatenate(places)
    anywhere = rng.permutation(xy)
    z = np.pad(np.stack([anywhere, xy]), ((0, 0), (0, 0), (0, 3))) + 1e-3 * rng.normal(size=(2, len(xy), 5))
    options = {"captions": captions, "coordinates": np.stack([anywhere, xy]), "steps": [0, 9]} | changes
    return explore(z, **options)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    shown = make()
    shown.step = 1
    shown.to_html(found := tmp_path_factory.mktemp("words") / "words.html")
    return found


class Words(Page):
    def __init__(self, browser, path, **options):
        super().__init__(browser, path, **options)
        self.words = self.root.locator(".words span")

    def seen(self):
        return set(self.words.all_inner_texts())

    def become(self, words):
        until(lambda: self.seen() == set(words), f"the words are {set(words)}, not {self.seen()}")

    def boxes(self):
        return self.words.evaluate_all("(nodes) => nodes.map((n) => n.getBoundingClientRect().toJSON())")


@pytest.fixture
def opened(browser, path):
    found = Words(browser, path, reduced_motion="reduce")
    yield found
    assert found.errors == []
    found.context.close()


def test_the_telling_words_stand_on_their_regions_and_zooming_in_refines_them(opened):
    opened.become(REGIONS)
    box = opened.canvas.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for word, (x, y) in zip(REGIONS, CORNERS, strict=True):
        at = opened.words.filter(has_text=word).bounding_box()
        assert (at["x"] + at["width"] / 2 > middle[0]) == (x > 0), word
        assert (at["y"] + at["height"] / 2 < middle[1]) == (y > 0), word
    said = opened.canvas.get_attribute("aria-label")
    assert all(word in said.rpartition("Words on its regions:")[2] for word in REGIONS)
    garden = opened.words.filter(has_text="garden").bounding_box()
    opened.page.mouse.move(garden["x"] + garden["width"] / 2, garden["y"] + garden["height"] / 2)
    opened.page.keyboard.down("Control")
    for _ in range(5):
        opened.page.mouse.wheel(0, -100)
    opened.page.keyboard.up("Control")
    opened.page.mouse.move(5, 5)
    opened.become(REGIONS["garden"])
    opened.canvas.focus()
    opened.page.keyboard.press("0")
    opened.become(REGIONS)


def test_no_word_where_none_tells(opened):
    opened.root.get_by_role("slider").focus()
    opened.page.keyboard.press("Home")
    opened.become([])
    opened.page.keyboard.press("End")
    opened.become(REGIONS)


def test_the_switch_is_kept_and_what_is_chosen_has_the_floor(opened):
    opened.become(REGIONS)
    opened.select()
    opened.become([])
    opened.page.keyboard.press("Escape")
    opened.become(REGIONS)
    switch = opened.root.get_by_role("button", name="Words", exact=True)
    assert switch.get_attribute("aria-pressed") == "true"
    switch.focus()
    opened.page.keyboard.press("Space")
    opened.become([])
    assert switch.get_attribute("aria-pressed") == "false"
    opened.root.get_by_role("slider").focus()
    opened.page.keyboard.press("Home")
    opened.root.get_by_role("button", name="Table", exact=True).click()
    assert switch.is_disabled()
    opened.root.get_by_role("button", name="Map", exact=True).click()
    opened.page.keyboard.press("Tab")
    opened.root.get_by_role("slider").focus()
    opened.page.keyboard.press("End")
    opened.page.wait_for_timeout(900)
    opened.become([])
    switch.click()
    opened.become(REGIONS)


def test_the_legend_and_two_maps_have_words_of_what_they_show(browser, tmp_path):
    shown = make(labels=[i // 80 for i in range(320)], modality=["a", "b"] * 160)
    shown.step = 1
    shown.to_html(tmp_path / "words.html")
    opened = Words(browser, tmp_path / "words.html", reduced_motion="reduce")
    opened.become(REGIONS)
    opened.root.locator(".legend button", has_text="0").click()
    opened.become([word for word in REGIONS if word != "harbour"])
    opened.root.locator(".legend button", has_text="0").click()
    opened.root.get_by_label("Compare").select_option("modality")
    until(lambda: opened.words.count() == 8, "each map has its words")
    assert opened.errors == []
    opened.context.close()


@pytest.mark.parametrize("width", [390, 1200])
def test_no_two_words_meet(browser, tmp_path, width):
    rng = np.random.default_rng(3)
    xy = np.concatenate(
        [at + 0.01 * rng.normal(size=(12, 2)) for at in [(1, 1), *rng.random((39, 2))]]
    )  # one by the buttons
    captions = [f"{'long' * (1 + g % 4)}word{g}" for g in range(40) for _ in range(12)]
    explore(np.pad(xy, ((0, 0), (0, 2))), captions=captions, coordinates=xy).to_html(tmp_path / "crowd.html")
    opened = Words(browser, tmp_path / "crowd.html", has_touch=True, reduced_motion="reduce")
    opened.page.set_viewport_size({"width": width, "height": 800})
    for zoomed in range(3):
        opened.page.wait_for_timeout(400)
        boxes = opened.boxes()
        assert (1 if zoomed else 4) <= len(boxes) <= 12
        buttons = [opened.root.locator(".zoom").bounding_box()]
        buttons = [
            {"left": b["x"], "top": b["y"], "right": b["x"] + b["width"], "bottom": b["y"] + b["height"]}
            for b in buttons
        ]
        for a, b in combinations([*boxes, *buttons], 2):
            apart = (
                a["right"] <= b["left"]
                or b["right"] <= a["left"]
                or a["bottom"] <= b["top"]
                or b["bottom"] <= a["top"]
            )
            assert apart, (a, b)
        stage = opened.canvas.evaluate("(c) => c.getBoundingClientRect().toJSON()")
        assert all(stage["left"] <= b["left"] and b["right"] <= stage["right"] for b in boxes)
        opened.root.get_by_role("button", name="Zoom in").tap()
    assert opened.errors == []
    opened.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_with_a_switch_is_followed_whatever_the_system_says(browser, path, scheme):
    opened = Words(browser, path, color_scheme={"light": "dark", "dark": "light"}[scheme])
    opened.page.evaluate("(scheme) => (document.documentElement.dataset.theme = scheme)", scheme)
    is_dark = "(root) => root.classList.contains('dark')"
    until(lambda: opened.root.evaluate(is_dark) == (scheme == "dark"), "the explorer follows")
    light = opened.root.evaluate("(r) => +getComputedStyle(r).backgroundColor.match(/\\d+/)[0] > 128")
    assert light == (scheme == "light")
    assert violations(opened.page, ".xlib-explorer") == []
    opened.context.close()


# ---- the words by themselves, without a map

ALONE = """([n, shuffled, times]) => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const at = new Float32Array(2 * n), captions = [];
  for (let i = 0; i < n; i++) {
    const topic = i % 20;
    at[2 * i] = (topic % 5) * 150 + 80 + random() * 80;
    at[2 * i + 1] = Math.floor(topic / 5) * 120 + 60 + random() * 60;
    const rare = `rare${Math.floor(random() ** 2 * 3000)}`;
    captions.push(`The thing of a ${rare} ${random() < .4 ? "Topic" + topic : "other"}`);
  }
  if (shuffled) for (let i = 0; i < n; i++) {
    const j = i + Math.floor(random() * (n - i));
    [captions[i], captions[j]] = [captions[j], captions[i]];
  }
  const known = vocabulary(captions), rows = [...captions.keys()], spent = [];
  let found = [];
  for (let k = 0; k < times; k++) {
    const start = performance.now();
    found = tellingWords(known, rows, at, 780, 530).map((one) => one.word);
    spent.push(performance.now() - start);
  }
  return [found, Math.min(...spent)];
}"""


@pytest.fixture(scope="module")
def alone(browser):
    page = browser.new_page()
    source = "".join((HERE / f"{name}.js").read_text("utf-8") for name in ("common", "data", "words"))
    page.add_script_tag(content=f"const FAMILY = 'serif';\n{source}")
    yield page
    page.close()


def test_words_of_10000_items_take_less_than_15_ms(alone):
    found, spent = alone.evaluate(ALONE, [10_000, False, 15])
    assert set(found) == {f"Topic{topic}" for topic in range(20)}
    assert spent < 15


@pytest.mark.parametrize("n", [40, 400, 4000])
def test_words_that_lie_about_by_chance_tell_nothing(alone, n):
    assert alone.evaluate(ALONE, [n, True, 1])[0] == []


def test_words_are_cut_by_the_language_s_own_rules(alone):
    captions = ["Red-hot chilli, 42!", "the woman’s hat", "红色的苹果", "ÉCOLE école cafe\u0301", "", "🐈"] * 3
    cut = """(captions) => {
      const { spelt, of, ends } = vocabulary(captions);
      return captions.map((_, i) => Array.from(of.slice(ends[i], ends[i + 1]), (w) => spelt[w]));
    }"""
    known = alone.evaluate(cut, captions)
    assert known[:2] == [["Red", "hot", "chilli", "42"], ["the", "woman’s", "hat"]]
    assert "苹果" in known[2]
    assert "".join(known[2]) == "红色的苹果"
    assert known[3:6] == [["ÉCOLE", "cafe\u0301"], [], []]
