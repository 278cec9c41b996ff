"""What the exported explorer shows of many classes and domains, values, far items, and captions in any script."""

import numpy as np
import pytest
from harness import until
from matplotlib.colors import to_rgb
from test_explorer import COUNT
from test_explorer_elsewhere import Page

from xlib.explore import explore, looks

pytestmark = pytest.mark.browser

N = 96
Z = np.random.default_rng(0).normal(size=(N, 6))
SOUGHT = [  # a caption, and what finds it
    ("cafe\u0301", "caf\u00e9"), ("Stra\u00dfe", "STRASSE"), ("İzmir", "izmir"), ("ＷＩＤＥ", "wide"),
    ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"), ("각", "\u1100\u1161\u11a8"),
]  # fmt: skip
LONG = ["👩‍👩‍👧‍👦" * 130, "שלום עולם " * 20, "مرحبا " * 40]


@pytest.fixture
def opened(browser, tmp_path):
    pages = []

    def opened(z, **options):
        explorer = explore(z, **options)
        explorer.to_html(tmp_path / "explorer.html")
        pages.append(Page(browser, tmp_path / "explorer.html"))
        return pages[-1], explorer

    yield opened
    for found in pages:
        assert found.errors == []
        found.context.close()


def pixels(found, colour):
    """How many pixels of the map have this colour, and where their centre lies."""
    return found.canvas.evaluate(COUNT, [(np.array(to_rgb(colour)) * 255).round().tolist(), None])


def within(found):
    """Whether the card lies within the map, and is not too high."""
    card, box = found.root.locator(".card").bounding_box(), found.canvas.bounding_box()
    inside = box["x"] - 1 <= card["x"] and card["x"] + card["width"] <= box["x"] + box["width"] + 1
    return inside and card["height"] < 200


def test_twelve_classes_have_twelve_colours_and_a_far_item_is_in_view(opened):
    z = Z.copy()
    z[95] *= 1e6  # the only one of its class
    labels = [*(i % 11 for i in range(95)), 11]
    found, explorer = opened(z, labels=labels, domains=[f"d{i % 7}" for i in range(N)])
    palette = explorer.setup["palette"]
    assert len(set(palette)) == 12
    assert all(pixels(found, colour)[0] > 10 for colour in palette)
    _, x, y = pixels(found, palette[11])
    box = found.canvas.bounding_box()
    assert 0 < x < box["width"]
    assert 0 < y < box["height"]
    buttons = found.root.locator(".zoom").bounding_box()
    assert y > buttons["y"] + buttons["height"] - box["y"]  # nor do they hide it
    spans = [pixels(found, colour)[1:] for colour in palette[:11]]
    assert np.ptp(spans, 0).max() > 20  # the others are not in one point
    assert found.root.get_by_text("1 item lies beyond the edge of the map, where the arrow points.").is_visible()
    assert (
        found.root.locator(".legend button").all_inner_texts() == explorer.setup["groups"] + explorer.setup["tones"]
    )
    found.root.get_by_role("button", name="11", exact=True).click()
    until(lambda: pixels(found, palette[11])[0] == 0, "its class is faded")


def test_values_have_a_scale_in_the_legend_and_a_column_in_the_table(opened):
    values = [*np.linspace(-2, 12.3, 93), None, None, 1e9]
    found, _ = opened(Z, values=values, coordinates=Z[:, :2] * 100, labels=["a"] * N)
    assert found.root.locator(".values .ends span").all_inner_texts() == ["−2", "5.2", "≥ 12.3"]
    assert "no value (2)" in found.root.locator(".legend button").all_inner_texts()
    for colour in (looks.SCALE[0], looks.SCALE[-1], looks.MISSING[False]):
        assert pixels(found, colour)[0] > 10
    assert found.root.locator("[data-ui=projection] option:not([disabled])").all_inner_texts() == ["As given", "PCA"]
    assert found.root.locator(".axis.x").inner_text() == "x"
    found.root.get_by_role("button", name="Table").click()
    header = found.root.locator("thead button", has_text="value")
    header.click()
    header.click()
    cells = found.root.locator("tbody tr").first.locator("th, td").all_inner_texts()
    assert cells[2:] == ["95", "a", "1,000,000,000"]


def test_captions_in_any_script_are_found_and_stay_in_their_card(opened):
    captions = [*(caption for caption, _ in SOUGHT), *LONG, *["x"] * (N - len(SOUGHT) - len(LONG))]
    found, _ = opened(Z, captions=captions)
    for _, query in SOUGHT:
        found.root.get_by_role("searchbox").fill(query)
        until(lambda: found.root.locator("output").inner_text() == f"1 of {N} match", f"{query} is found")
    found.root.get_by_role("searchbox").fill("")
    for caption in LONG:
        row = captions.index(caption)
        found.root.get_by_role("button", name="Table").click()
        found.root.locator(f'[data-row="{row}"]').hover()
        found.root.get_by_role("button", name="Map").click()
    found.canvas.focus()
    for _ in range(12):
        found.page.keyboard.press("ArrowRight")
        until(lambda: within(found), "the card stands on the map")  # it is placed with the next frame
    words = found.root.locator(".card b").inner_text()
    assert "\ufffd" not in words
