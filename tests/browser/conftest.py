"""Fixtures of the browser tests: one Chromium and one JupyterLab for all of them."""

import os
import re

import pytest
from harness import FLAGS, ROOT, Lab, chromium, missing


@pytest.fixture(scope="session")
def browser():
    if why := missing():
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"REQUIRE_BROWSER=1, but {why}", pytrace=False)
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield chrome
        chrome.close()


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):  # the browser first: without one no server is started
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test leaves a picture of every open page in screenshots/."""
    report = (yield).get_result()
    chrome = item.funcargs.get("browser") if report.failed and hasattr(item, "funcargs") else None
    pages = [page for context in chrome.contexts for page in context.pages] if chrome else []
    for i, page in enumerate(pages):
        path = ROOT / "screenshots" / f"{re.sub(r'[^A-Za-z0-9]+', '-', item.name)}-{i}.png"
        page.screenshot(path=path)
        report.sections.append(("screenshot", str(path)))
