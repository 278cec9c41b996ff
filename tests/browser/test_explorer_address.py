"""Explorers on pages: their state in the address, links to a view, and the lists of worst pairs and of hubs."""

import pytest
from harness import until
from test_explorer_elsewhere import Page, make, violations

from xlib.explore import page as pages

pytestmark = pytest.mark.browser

SPACE = '<div style="height: 3000px"><h2 id="some-heading">A heading</h2></div>'


class Address:
    """A file and what follows its name in the address, as `Page` asks for it."""

    def __init__(self, path, hash_):
        self.path, self.hash = path, hash_

    def as_uri(self):
        return self.path.as_uri() + self.hash


@pytest.fixture
def explorer():
    names = [f"thing {i}" for i in range(40)]
    return make(captions=[*names, *names[:20], *[f"word {i}" for i in range(20, 40)]], title="Forty things", k=4)


@pytest.fixture
def path(explorer, tmp_path_factory):
    explorer.to_html(found := tmp_path_factory.mktemp("address") / "explorer.html")
    return found


@pytest.fixture
def two(explorer, path):
    """A page with two explorers, and a heading a long way between them."""
    found = path.with_name("two.html")
    body = f"{pages.body(explorer)}{SPACE}{pages.body(explorer)}"
    style = pages.stylesheet(explorer)
    found.write_text(f"<!doctype html><style>{style}</style>{body}<script>{pages.script(explorer)}</script>", "utf-8")
    return found


@pytest.fixture
def visit(browser):
    """Opens a page at an address, in a context without a network; fails on anything that the console reports."""
    opened = []

    def go(path, hash_="", **options):
        opened.append(Page(browser, Address(path, hash_), reduced_motion="reduce", **options))
        return opened[-1]

    yield go
    for found in opened:
        found.context.close()
        assert found.errors == []


def hash_of(opened):
    return opened.page.evaluate("() => location.hash")


def becomes(opened, hash_):
    try:
        until(lambda: hash_of(opened) == hash_, f"the address ends in {hash_}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it ends in {hash_of(opened)}") from None


def button(opened, name):
    return opened.root.get_by_role("button", name=name, exact=True)


def captions(opened):
    return opened.rows.locator(".caption").all_inner_texts()


# ---- the address


def test_what_is_chosen_stands_in_the_address_and_can_be_opened_elsewhere(visit, path):
    opened = visit(path)
    entries = opened.page.evaluate("() => history.length")
    opened.root.get_by_role("slider").focus()
    opened.page.keyboard.press("End")
    becomes(opened, "#step=2")
    opened.page.keyboard.press("Home")
    becomes(opened, "")
    opened.page.keyboard.press("ArrowRight")
    opened.root.get_by_role("searchbox").fill("ing 3,&#?%")
    becomes(opened, "#step=1&query=ing+3,%26%23%3F%25")
    opened.root.get_by_role("searchbox").fill("thing 3")
    opened.root.get_by_label("Compare").select_option("modality")
    button(opened, "Zoom in").click()
    button(opened, "Table").click()
    until(lambda: "tab=table" in hash_of(opened), "the tab is there too")
    found = hash_of(opened)
    assert found.startswith("#compare=modality&step=1&query=thing+3&tab=table&zoom=1.500&centre=0.")
    assert opened.page.evaluate("() => history.length") == entries
    button(opened, "Map").click()
    there = visit(path, found.replace("&tab=table", ""))
    assert there.root.get_by_role("searchbox").input_value() == "thing 3"
    assert there.root.locator(".what").all_inner_texts() == ["image", "text"]
    assert there.root.get_by_role("slider").input_value() == "1"
    button(there, "Copy link").click()  # which is made of what is seen
    assert hash_of(there) == found.replace("&tab=table", "")
    there.page.evaluate("() => (location.hash = 'tab=table&selected=3,17')")
    until(lambda: there.root.locator("tbody tr.picked").count() == 2, "a link on the page is followed")
    assert there.root.locator("tbody tr.picked th").all_inner_texts() == ["thing 3", "thing 17"]


@pytest.mark.parametrize(
    "hash_",
    [
        "#step=zz&selected=99999,1e9,-1,,<b>&projection=__proto__&compare=constructor&among=x&listing=best&words=1&tab=x",
        "#zoom=NaN&centre=a,b",
        "#zoom=1e999&centre=0.1",
        "#zoom=-4&centre=9,9,9",
        "#%&%E0%A4%A=1&query=",
        "#2.step=1",
        "#step",
        "#some-heading",
        "#" + "step=1&" * 3 + "step=99999999999",
    ],
)
def test_what_does_not_fit_is_left_out(visit, path, hash_):
    plain, opened = visit(path), visit(path, hash_)
    until(lambda: opened.look() == plain.look(), "it looks as ever")
    assert opened.root.get_by_role("slider").input_value() == "0"
    assert opened.root.locator("[data-ui=hint]").is_visible()


def test_what_is_too_far_is_clipped_and_text_stays_text(visit, path):
    opened = visit(path, "#step=999&query=<img src=x onerror=window.hacked=1>" + "x" * 999)
    assert opened.root.get_by_role("slider").input_value() == "2"
    assert len(opened.root.get_by_role("searchbox").input_value()) == 200
    assert opened.root.locator("img").count() == 0
    assert opened.page.evaluate("() => window.hacked") is None


def test_of_several_explorers_each_has_its_number_and_comes_into_view(visit, two):
    opened = visit(two, "#2.step=1&2.selected=5")
    second = opened.page.locator(".xlib-kernelless").nth(1)
    second.locator(".head .caption").wait_for()
    assert second.locator(".head .caption").inner_text() == "thing 5"
    assert second.evaluate("(place) => Math.abs(place.getBoundingClientRect().top) < 200")
    slider = second.get_by_role("slider")
    until(lambda: slider.press("End") or slider.input_value() == "2", "it has started, and follows the key")
    becomes(opened, "#2.step=2&2.selected=5")
    opened.page.evaluate("() => (location.hash = '#1.step=2')")  # a link on the page
    first = opened.page.locator(".xlib-kernelless").first
    until(lambda: first.locator("[data-ui=slider]").input_value() == "2", "the first one follows")
    assert first.evaluate("(place) => Math.abs(place.getBoundingClientRect().top) < 200")
    assert second.locator(".head .caption").inner_text() == "thing 5"
    opened.page.go_back()
    becomes(opened, "#2.step=2&2.selected=5")


def test_anchors_of_sections_go_on_working(visit, two):
    opened = visit(two, "#some-heading")
    assert opened.page.evaluate("() => scrollY") > 400
    opened.page.evaluate("() => scrollTo(0, 0)")
    opened.page.evaluate("() => document.querySelector('[data-ui=play]').click()")  # a page that plays by itself
    box = opened.canvas.bounding_box()
    opened.page.mouse.move(box["x"] + 100, box["y"] + 100)
    opened.page.mouse.wheel(0, 30)
    opened.page.wait_for_timeout(1500)
    assert opened.root.first.get_by_role("slider").input_value() != "0"
    assert hash_of(opened) == "#some-heading"
    opened.root.first.get_by_role("slider").focus()
    opened.page.keyboard.press("Home")
    opened.page.keyboard.press("ArrowRight")
    becomes(opened, "#1.step=1")


def test_a_section_may_have_the_name_of_a_choice(visit, path):
    found = path.with_name("section.html")
    section = SPACE.replace("some-heading", "query")  # just below the explorer
    found.write_text(path.read_text("utf-8").replace("</main>", f"{section}</main>"), "utf-8")
    opened = visit(found, "#query")
    assert opened.page.locator("#query").evaluate("(h) => Math.abs(h.getBoundingClientRect().top) < 200")


def test_copy_link_copies_or_shows_it(visit, path):
    opened = visit(path, "#step=2", permissions=["clipboard-read", "clipboard-write"])
    button(opened, "Copy link").click()
    opened.root.get_by_text("Copied", exact=True).wait_for()
    link = path.as_uri() + "#step=2"
    assert opened.page.evaluate("() => navigator.clipboard.readText()") == link
    assert not opened.root.get_by_label("Link to this view").is_visible()
    opened.page.evaluate("() => Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    button(opened, "Copy link").focus()
    opened.page.keyboard.press("Enter")
    field = opened.root.get_by_label("Link to this view")
    assert field.evaluate("(f) => f.value.slice(f.selectionStart, f.selectionEnd)") == link
    assert violations(opened.page) == []
    opened.page.keyboard.press("Escape")
    assert not field.is_visible()
    assert button(opened, "Copy link").evaluate("(b) => b === document.activeElement")


# ---- the lists


def test_hubs_are_those_of_the_model(visit, path, explorer):
    model = explorer.model
    model.step, model.among, model.selected, model.listing = 2, "", [], "hubs"
    opened = visit(path, "#step=2")
    button(opened, "Hubs").focus()
    opened.page.keyboard.press("Enter")
    until(lambda: opened.rows.count() == len(model.hubs) > 1, "they are listed")
    assert captions(opened) == [model.captions[i] for i, _ in model.hubs]
    words = [f"{count} ({100 * count / 79:.1f}%)" for _, count in model.hubs]
    assert opened.rows.locator(".meta").all_inner_texts() == words
    assert (
        "among the nearest 4 of others at step 100; the mean is 4." in opened.root.locator(".head .meta").inner_text()
    )
    opened.page.keyboard.press("ArrowDown")
    opened.page.keyboard.press("Enter")
    model.selected = [model.hubs[1][0]]
    until(lambda: captions(opened) == [model.captions[j] for j, _ in model.neighbours], "whose neighbour it is")
    assert f"Among the nearest 4 of {len(model.neighbours)} items" in opened.root.locator("aside").inner_text()
    button(opened, "← Hubs").click()
    model.selected = []
    until(lambda: opened.rows.count() == len(model.hubs), "and back")
    button(opened, "Other modality").click()
    model.among = "other"
    until(lambda: captions(opened) == [model.captions[i] for i, _ in model.hubs], "as seen from the other modality")
    opened.root.get_by_role("slider").focus()
    opened.page.keyboard.press("Home")
    opened.root.get_by_text("This page knows neighbours at the last step only: step 100.").wait_for()
    assert opened.rows.count() == 0
    opened.page.keyboard.press("Escape")
    assert opened.root.locator("[data-ui=hint]").is_visible()
    model.listing, model.among = "", ""


@pytest.mark.parametrize("step", [0, 2])
def test_the_worst_pairs_by_touch(visit, path, explorer, step):
    cosines = explorer.model.pair_similarity[step][:40]
    worst = cosines.argsort()[:20]
    opened = visit(path, f"#step={step}" if step else "", has_touch=True)
    button(opened, "Worst pairs").tap()
    names = [f"thing {i}" if i < 20 else f"thing {i} ↔ word {i}" for i in worst]
    until(lambda: captions(opened) == names, f"{names}, not {captions(opened)}")
    found = [float(words) for words in opened.rows.locator(".meta").all_inner_texts()]
    assert found == pytest.approx(cosines[worst].tolist(), abs=0.0051)
    note = opened.root.locator(".head .meta").inner_text()
    assert note == f"The lowest cosines of 40 pairs at step {[0, 50, 100][step]}; the mean is {cosines.mean():.2f}."
    opened.rows.nth(2).tap()
    opened.root.get_by_text("2 items selected").wait_for()
    i = int(worst[2])
    assert captions(opened) == [f"thing {i}", f"thing {i}" if i < 20 else f"word {i}"]
    assert f"Their cosine: {cosines[i]:.2f}" in opened.root.locator("aside").inner_text()
    becomes(opened, f"#{'step=2&' if step else ''}listing=pairs&selected={i},{i + 40}")
    button(opened, "← Worst pairs").tap()
    until(lambda: captions(opened) == names, "back to the list")
    button(opened, "Clear selection").tap()
    assert opened.root.locator("[data-ui=hint]").is_visible()
    assert violations(opened.page) == []
