"""The explorer's lists, search, table and matrix in a real JupyterLab: what stands in them, by mouse and by keys."""

import pytest
from harness import Notebook, explorer, until

pytestmark = pytest.mark.browser

# 60 pictures and 60 captions of five classes and of none. `slow` are the seconds that UMAP, which is PCA here, takes.
DATA = """
import time
import numpy as np
from xlib.explore import Explorer, ExplorerModel, explore, projections
rng = np.random.default_rng(0)
n, classes = 60, ["animals", "food", "tools", "plants", "signs", None]
words = ["grinning cat", "identification card", "bobcat", "cat face", "a picture of something with a long, long name"]
captions = [*words, *[f"thing {i}" for i in range(5, n)]]
captions[20] = "cat"
ends = rng.normal(size=(2, n, 24)) * .5 + np.repeat(rng.normal(size=(6, 24)), 10, 0)
z = np.stack([rng.normal(size=(2 * n, 24)), ends.reshape(2 * n, 24)])
pictures = np.full((n, 16, 16, 3), 200, np.uint8)
pictures[:, 4:12, 4:12] = rng.integers(0, 255, (n, 1, 1, 3))
slow = 0
def umap(z):
    time.sleep(slow)
    return projections.pca(z)
projections.umap = umap
def encode(texts):
    time.sleep(slow)
    return z[-1, [3] * len(texts)] + .01
"""
MODEL = """
model = ExplorerModel(z, captions=captions * 2, images=[*pictures, *[None] * n],
                      labels=[classes[i // 10] for i in range(n)] * 2, pairs=[*range(n, 2 * n), *range(n)],
                      steps=[0, 1200], encode=encode, title="Sixty things")
shown = Explorer(model)
shown
"""
# Everything nearly in one point, without pairs, modalities or classes; and steps that are names.
COLLAPSED = """
point = rng.normal(size=8) + rng.normal(size=(3, 30, 8)) * np.array([1, .2, .2])[:, None, None]
collapsed = explore(point, captions=[f"item {i}" for i in range(30)], steps=["start", "your cell", "all together"])
collapsed
"""


class Lists:
    """One explorer on the page, and its name in the kernel."""

    def __init__(self, notebook, name="shown"):
        self.notebook, self.name, self.page = notebook, name, notebook.page
        self.root = explorer(notebook, ["shown", "collapsed"].index(name))
        self.aside = self.root.locator("aside")
        self.rows = self.aside.locator("ol .row")
        self.search = self.root.get_by_role("searchbox")
        self.table = self.root.locator("tbody tr")

    def get(self, attribute):
        return self.notebook.kernel(f"{self.name}.{attribute}")

    def set(self, **values):
        self.notebook.execute("\n".join(f"{self.name}.{key} = {value!r}" for key, value in values.items()))

    def expect(self, attribute, value):
        until(lambda: self.get(attribute) == value, f"{attribute} becomes {value!r}")

    def captions(self):
        return self.rows.locator(".caption").all_inner_texts()

    def lists(self, captions):
        until(lambda: self.captions() == captions, f"the list holds {captions}, not {self.captions()}")

    def says(self, text):
        until(lambda: text in self.aside.inner_text(), f"the side says {text!r}")

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def focused(self):
        return self.page.evaluate("() => document.activeElement.querySelector('.caption')?.textContent")


@pytest.fixture(scope="module")
def opened(browser, lab):
    path = lab.add("lists.ipynb", [DATA, MODEL, COLLAPSED])
    notebook = Notebook(browser, lab, path, viewport={"width": 1400, "height": 900}).run_all()
    yield notebook
    notebook.clean()
    notebook.close()


@pytest.fixture
def view(opened):
    view = Lists(opened)
    view.button("Map").click()
    view.set(compare="", projection="pca", typed="", selected=[], query="", hover=-1, step=1, among="")
    opened.execute("slow = 0")
    yield view
    opened.execute("slow = 0")


def test_what_takes_long_is_said_before_it_is_there(view):
    view.notebook.execute("slow = 4; model.layouts.pop('umap', None)")
    view.root.get_by_label("Projection").select_option("umap")
    view.root.get_by_text("computing UMAP…").first.wait_for(timeout=3500)
    until(lambda: view.get("computing") == "", "the work ends")
    assert view.get("projection") == "umap"
    view.root.get_by_text("computing UMAP…").first.wait_for(state="hidden")


def test_a_list_waits_for_the_kernel_and_says_so(view):
    view.set(selected=[3])
    view.says("8 nearest of all 119 items")
    view.notebook.execute("slow = 3")
    view.root.get_by_label("Your own caption").fill("a cat face")
    view.press("Enter")
    view.aside.get_by_text("Waiting for Python…").wait_for(timeout=2500)
    assert view.aside.locator("ol").evaluate("(node) => getComputedStyle(node).opacity") == "0"  # of another item
    assert not view.aside.get_by_text("Only").is_visible()
    view.says("8 nearest of 60 with a picture")
    assert view.captions()[0] == "cat face"
    assert not view.aside.get_by_text("Waiting for Python…").is_visible()


def test_a_typed_caption_finds_pictures_unless_all_are_asked_for(view):
    view.set(typed="anything")
    view.says("8 nearest of 60 with a picture")
    assert view.button("With a picture").get_attribute("aria-pressed") == "true"
    assert max(j for j, _ in view.get("neighbours")) < 60
    view.button("All items").click()
    view.says("8 nearest of all 120 items")
    view.set(typed="", among="", selected=[3])
    view.says("8 nearest of all 119 items")
    view.button("Other modality").click()
    view.says("8 nearest of 60 texts")


def test_the_search_lists_its_hits_the_best_first(view):
    view.set(selected=[40])
    view.search.fill("cat")
    both = ["cat"] * 2 + ["grinning cat", "cat face"] * 2 + ["identification card", "bobcat"] * 2
    view.lists(both)
    view.says("10 captions hold it")
    view.expect("matches", [20, 80, 0, 3, 60, 63, 1, 2, 61, 62])
    assert view.rows.first.locator("canvas").is_visible()
    assert "thing 40" not in view.aside.inner_text()
    view.press("ArrowDown", "ArrowDown", "ArrowDown")
    assert view.focused() == "grinning cat"
    view.expect("hover", 0)
    view.press("ArrowUp", "ArrowUp", "ArrowUp")
    assert view.page.evaluate("() => document.activeElement.type") == "search"
    view.press("Enter")
    view.expect("selected", [20])
    view.says("8 nearest of all 119 items")
    assert view.aside.locator(".head .caption").inner_text() == "cat"
    view.button("← All 10 hits for “cat”").click()
    view.lists(both)
    view.rows.nth(3).click()
    view.expect("selected", [3])
    view.says("8 nearest of all 119 items")


def test_a_search_without_hits_offers_to_place_the_caption(view):
    view.search.fill("zebra")
    view.says("No caption holds it.")
    assert view.rows.count() == 0
    view.button("Place “zebra” as a caption of your own").click()
    view.expect("typed", "zebra")
    view.says("8 nearest of 60 with a picture")
    assert view.search.input_value() == ""


def test_all_that_is_selected_can_be_reached(view):
    view.set(selected=list(range(100)))
    view.says("100 items selected")
    expected = "20 animals, 20 food, 20 tools, 20 plants, 10 signs, 10 without a class"
    assert view.aside.locator(".head .meta").inner_text() == expected
    assert 8 < view.rows.count() < 100  # a long list is made as it is looked at
    assert view.rows.locator(".bar:visible").count() == 0
    assert not view.aside.get_by_text("nearest").is_visible()
    view.rows.first.focus()
    view.press(*["ArrowDown"] * 99)
    until(lambda: view.focused() == "thing 39", "arrows reach the last one")
    assert view.rows.count() == 100
    view.set(selected=list(range(60, 119)))
    until(lambda: view.rows.count() == 40, "another list begins anew")
    box = view.rows.first.bounding_box()
    view.page.mouse.move(box["x"] + 20, box["y"] + 10)
    until(lambda: view.page.mouse.wheel(0, 2000) or view.rows.count() == 59, "scrolling reaches the last one")


def test_what_is_selected_can_be_looked_at_in_the_table(view):
    view.set(selected=[5, 20, 41, 99])
    view.button("Show them in the table").click()
    cells = view.table.locator("th")
    until(
        lambda: sorted(cells.all_inner_texts()) == ["cat", "thing 39", "thing 41", "thing 5"],
        "they alone are in the table, sorted as it was",
    )
    view.table.filter(has_text="cat").locator("th").click()
    view.expect("selected", [20])
    assert view.table.count() == 4  # they stay when one of them is chosen
    view.button("All 120 items again").click()
    until(lambda: view.table.count() == 20, "all are back")
    view.button("Only the 1 selected").click()
    until(lambda: cells.all_inner_texts() == ["cat"], "the one that is selected")
    view.button("All 120 items again").click()


def test_the_table_sorts_and_its_rows_select(view):
    view.button("Table").click()
    assert view.table.first.locator("canvas").is_visible()
    header = view.root.locator("thead th", has_text="cosine with its pair")
    sort = header.get_by_role("button")
    cosines = dict(enumerate(view.notebook.kernel("model.pair_similarity[1].tolist()")))
    ranked = sorted(cosines, key=lambda i: (round(cosines[i], 4), i))
    first = lambda: [int(box.get_attribute("data-row")) for box in view.table.locator("input").all()]  # noqa: E731
    assert header.get_attribute("aria-sort") == "none"
    sort.click()
    until(lambda: first() == ranked[:20], "the lowest cosine first")
    assert header.get_attribute("aria-sort") == "ascending"
    sort.focus()
    view.press("Enter")
    until(
        lambda: [cosines[i] for i in first()] == pytest.approx([cosines[i] for i in ranked[::-1][:20]], abs=1e-4),
        "the highest first",
    )
    assert header.get_attribute("aria-sort") == "descending"
    view.press("Enter")
    until(lambda: first() == list(range(20)), "as they came")
    view.root.locator("thead").get_by_role("button", name="caption").click()
    until(lambda: view.table.locator("th").nth(3).inner_text() == "bobcat", "by caption")
    view.root.locator("thead").get_by_role("button", name="class").click()
    view.button("Next").click(), view.button("Next").click(), view.button("Next").click()
    until(lambda: {row.locator("td").nth(3).inner_text() for row in view.table.all()} == {"signs"}, "by class")
    view.button("Next").click(), view.button("Next").click()
    until(lambda: view.table.locator("td:nth-child(5)").all_inner_texts() == [""] * 20, "no class stands last")

    chosen = first()[2]
    view.table.nth(2).locator("td").nth(2).click()
    view.expect("selected", [chosen])
    view.says("8 nearest of all 119 items")
    assert view.table.nth(2).evaluate("(row) => getComputedStyle(row).backgroundColor") != (
        view.table.nth(9).evaluate("(row) => getComputedStyle(row).backgroundColor")
    )
    view.press("ArrowDown", "Enter")  # from the row that was clicked
    view.expect("selected", [first()[3]])
    view.press("ArrowUp", " ")
    view.expect("selected", [first()[3], chosen])
    view.table.nth(5).locator("th").click(modifiers=["Control"])
    view.expect("selected", [first()[3], chosen, first()[5]])


def test_the_cosine_is_seen_in_a_narrow_table(view):
    view.page.set_viewport_size({"width": 900, "height": 700})
    try:
        view.button("Table").click()
        until(lambda: view.table.count() == 20, "the table is there")
        names = view.root.locator("thead :is(td, th)").all_inner_texts()
        cosine = next(c for c, name in enumerate(names) if "cosine" in name)
        shown = view.table.nth(4).locator("td, th").nth(cosine)
        sheet, cell = view.root.locator(".sheet").bounding_box(), shown.bounding_box()
        assert shown.inner_text().startswith("0.")
        assert cell["x"] + cell["width"] <= sheet["x"] + sheet["width"]
    finally:
        view.page.set_viewport_size({"width": 1400, "height": 900})


def test_the_matrix_says_what_its_sides_are_and_shows_what_is_pointed_at(view):
    view.set(selected=[3])
    view.button("Matrix").click()
    matrix, said = view.root.locator(".matrix > canvas"), view.root.locator("[data-ui=cell]")
    sides = view.root.locator(".side b")
    until(lambda: sides.all_inner_texts() == ["columns: texts", "rows: pictures"], "the sides are named")
    for side, length in (("columns", "width"), ("rows", "height")):
        names = view.root.locator(f".side.{side} i")
        assert names.all_inner_texts() == ["", *sorted(["animals", "food", "tools", "plants", "signs"])]
        whole = matrix.bounding_box()
        start = {"width": "x", "height": "y"}[length]
        for k, name in enumerate(names.all()):
            box = name.bounding_box()
            assert box[start] - whole[start] == pytest.approx(whole[length] * k / 6, abs=2)
            assert box[length] == pytest.approx(whole[length] / 6, abs=3)
    assert view.root.get_by_label("Compare").is_disabled()
    assert view.root.get_by_label("Projection").is_disabled()
    view.root.evaluate("(root) => root.scrollIntoView()")
    box = matrix.bounding_box()
    matrix.hover(position={"x": box["width"] / 2, "y": box["height"] / 3})
    until(lambda: "cosine" in said.inner_text(), "what is pointed at is named")
    about = said.bounding_box()
    assert about["x"] >= box["x"] + box["width"]  # beside the matrix
    assert about["y"] + about["height"] <= min(box["y"] + box["height"], 900)
    assert said.locator("canvas").count() == 2


def test_ranks_and_the_map_are_told_in_words(view):
    warned = view.notebook.kernel(
        "next(i for i in range(60) if model.set_trait('selected', [i]) or model.warning and min(model.ranks) > 1)"
    )
    there, back = view.get("ranks")
    names = {1: "first", 2: "second", 3: "third", 21: "21st", 22: "22nd", 23: "23rd"}
    there, back = (names.get(rank, f"{rank}th") for rank in (there, back))
    view.says(f"Of 60 texts its own comes {there}; seen from there, it comes {back} of 60.")
    both = view.get("warning").split()[1]
    view.says(f"Only {both} of these 8 are also among the nearest 8 on the map.")
    assert view.aside.inner_text().count("on the map") == 1  # once is enough
    assert warned >= 0
    text = view.root.inner_text() + view.root.evaluate("(root) => root.outerHTML")
    assert "similarity" not in text.lower().replace("pair_similarity", "")


def test_a_long_caption_takes_two_lines(view):
    view.search.fill("long, long name")
    caption = view.rows.first.locator(".caption")
    until(lambda: caption.is_visible() and caption.bounding_box()["height"] > 25, "two lines")
    assert caption.evaluate("(node) => node.scrollHeight <= node.clientHeight + 1")


def test_decimals_tell_the_neighbours_of_a_collapse_apart(opened):
    view = Lists(opened, "collapsed")
    view.set(step=1, selected=[4])
    view.says("8 nearest of all 29 items")
    shown = view.rows.locator(".meta").all_inner_texts()
    cosines = [cosine for _, cosine in view.get("neighbours")]
    assert len({f"{cosine:.2f}" for cosine in cosines}) < 8
    assert len(set(shown)) == 8
    assert shown == [f"{cosine:.{len(shown[0]) - 2}f}" for cosine in cosines]
    assert "item ·" not in view.aside.inner_text()
    view.set(selected=[])


def test_a_step_may_have_a_name(opened):
    view = Lists(opened, "collapsed")
    view.set(step=1)
    until(lambda: view.root.locator(".step").inner_text() == "your cell", "the slider shows it")
    assert "Your cell (2 of 3 snapshots)" in view.root.locator(".stage > canvas").first.get_attribute("aria-label")
    assert view.root.get_by_role("slider").get_attribute("aria-valuetext").startswith("your cell")


def test_a_page_without_a_kernel_lists_and_sorts_too(view, browser, tmp_path):
    view.notebook.execute(f"shown.to_html({str(tmp_path / 'page.html')!r})")
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        page.goto((tmp_path / "page.html").as_uri())
        root = page.locator(".xlib-explorer")
        rows = root.locator("aside ol .row .caption")
        root.get_by_role("searchbox").fill("cat")
        until(lambda: rows.all_inner_texts()[:3] == ["cat", "cat", "grinning cat"], "the hits")
        page.keyboard.press("Enter")
        until(lambda: "8 nearest of all 119 items" in root.locator("aside").inner_text(), "the neighbours")
        assert not root.get_by_text("Waiting for Python…").is_visible()
        page.keyboard.press("Escape")
        root.get_by_role("searchbox").fill("zebra")
        until(lambda: "No caption holds it." in root.locator("aside").inner_text(), "no hits")
        assert not root.get_by_role("button", name="as a caption of your own").is_visible()  # nothing encodes here
        root.get_by_role("searchbox").fill("")
        root.get_by_role("button", name="Table", exact=True).click()
        root.get_by_role("button", name="cosine with its pair").click()
        shown = root.locator("tbody td:nth-child(4)").all_inner_texts()
        assert [float(cosine) for cosine in shown] == sorted(float(cosine) for cosine in shown)
        assert errors == []
    finally:
        page.close()


def test_hubs_are_counted_by_the_kernel_and_there_is_no_link_to_a_notebook(view):
    view.set(listing="")
    view.button("Hubs").focus()
    view.press("Enter")
    view.expect("listing", "hubs")
    hubs = view.get("hubs")
    view.lists([view.get("model.captions")[i] for i, _ in hubs])
    view.says(f"{hubs[0][1]} (")
    view.rows.first.click()
    view.expect("selected", [hubs[0][0]])
    view.says(f"Among the nearest 8 of {hubs[0][1]} items")
    view.lists([view.get("model.captions")[j] for j, _ in view.get("neighbours")][:40])
    view.button("← Hubs").click()
    view.says("the mean is 8")
    view.press("Escape")
    view.expect("listing", "")
    assert not view.button("Copy link").is_visible()
