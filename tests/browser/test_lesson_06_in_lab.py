"""Lesson 06 in a real JupyterLab: a cell of the map chosen and retrained, the explorer moved."""

import pytest
from harness import Panel, first_screen, move_the_explorer, opens, second_day, skip_questions, until

pytestmark = pytest.mark.browser


opened = opens("06_combined", seconds=900, budget="smoke")


def test_the_first_screen(opened):
    first_screen(opened)
    panel = Panel(opened)
    strength = panel.root.get_by_role("slider", name="strength of the photograph")
    panel.press(strength, "Home")
    until(lambda: "at strength 0.0" in panel.words(), "no photograph")
    panel.press(strength, "End")
    until(lambda: "at strength 1.0" in panel.words(), "all of it")
    opened.clean()


def test_a_cell_is_chosen_by_click_and_by_keys_and_retrained(opened):
    skip_questions(opened)
    panel = Panel(opened, 1)
    assert opened.kernel("list(retrained)") == [["DANN 0.3", 0.6]]  # section 4's
    cells = panel.picture.locator("rect[fill^=rgb]")  # from below, row by row
    assert cells.count() == 16
    panel.changes(cells.nth(12).click, "[chosen_cell.method, chosen_cell.strength]", ["MMD 20", 0.2])
    assert "MMD 20 at strength 0.2" in panel.words()
    slider = panel.root.get_by_role("slider", name="strength of the photograph")
    panel.changes(lambda: panel.press(slider, "End"), "chosen_cell.strength", 1.0, "MMD 20 at strength 1.0")
    before = panel.drawn()
    panel.button("retrain this cell").click()
    until(lambda: opened.kernel("['MMD 20', 1.0] in [list(cell) for cell in retrained]"), "it is trained", seconds=60)
    until(lambda: panel.drawn() != before, "its diamond appears")
    until(lambda: panel.root.locator(".progress").inner_text() == "", "the button is free again")
    opened.clean()


def test_three_models_in_one_explorer(opened):
    move_the_explorer(opened, "across_explorer", "twelve")
    assert opened.kernel("across_explorer.model.groups")[0] == "clean"
    assert opened.kernel("across_explorer.model.steps") == ["clean CLIP", "your cell", "grey levels + everything"]
    opened.clean()


def test_the_second_day(opened):
    second_day(opened)
