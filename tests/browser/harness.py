"""Drive a notebook in a real JupyterLab with a real browser. The fixtures that go with it are in conftest.py."""

import ast
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
WIDGET = "application/vnd.jupyter.widget-view+json"
# What the status dot shows comes too early: ask the session itself.
READY = """() => {
  const context = window.jupyterapp?.shell.currentWidget?.sessionContext, kernel = context?.session?.kernel;
  return !!kernel && context.isReady && kernel.connectionStatus === "connected" && kernel.status === "idle";
}"""
EXECUTE = """async ([code, expression]) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const user_expressions = expression ? { value: expression } : {};
  const request = { code, silent: true, store_history: false, user_expressions };
  const { content } = await kernel.requestExecute(request).done;
  if (content.status !== "ok") throw Error(content.evalue);
  if (!expression) return null;
  if (content.user_expressions.value.status !== "ok") throw Error(content.user_expressions.value.evalue);
  return content.user_expressions.value.data["text/plain"];
}"""
PIXELS = "(canvas) => canvas.toDataURL()"
DEAD = ("Error displaying widget", "Loading widget", "model not found", "Error creating widget")
# What is asked before a result is answered, so that the result is seen.
SKIP = """() => {
  for (const button of document.querySelectorAll(".xlib-predict.open button"))
    if (button.textContent === "Skip") button.click();
}"""
# Of each still picture: which of its two is seen, that one's size and words, and the words beneath. Of each output:
# its height. And every word that is seen.
LOOK = """() => {
  const notebook = document.querySelector(".jp-Notebook"), seen = (node) => node.checkVisibility();
  return {
    stills: [...notebook.querySelectorAll(".xlib-still")].filter(seen).map((still) => ({
      seen: [...still.querySelectorAll("img")].map(seen),
      pictures: [...still.querySelectorAll("img")].filter(seen).map((i) => [i.naturalWidth, i.width, i.alt]),
      words: still.innerText.trim(),
    })),
    heights: [...notebook.querySelectorAll(".jp-OutputArea-child")].map((n) => n.getBoundingClientRect().height),
    words: notebook.innerText,
  };
}"""


def missing():
    """Why no browser test can run here, or an empty string."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "Playwright is not installed: pip install playwright (or pip install -e '.[browser]')"
    return "" if chromium() else "no Chromium found: apt-get install chromium, or set CHROMIUM=/path/to/it"


def chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def until(condition, what, *, seconds=10.0):
    """Wait for a condition that is expected to come true soon; AssertionError saying what did not happen."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
        time.sleep(0.03)
    return value


class Lab:
    """A JupyterLab server of its own on 127.0.0.1 over a copy of the course's notebooks."""

    module, app, where = "jupyterlab", "LabApp", "lab/tree"

    def __init__(self, folder: Path):
        self.notebooks = folder / "notebooks"
        ignored = shutil.ignore_patterns(".ipynb_checkpoints", "solved_exercises*", "hand_in_*")
        if (ROOT / "notebooks").exists():
            shutil.copytree(ROOT / "notebooks", self.notebooks, ignore=ignored)
        self.notebooks.mkdir(exist_ok=True)
        settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        popup = {"fetchNews": "false", "checkForUpdates": False}
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(popup))
        own = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {name: str(folder / own[name]) for name in own} | {"PYTHONPATH": path}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.token = secrets.token_hex(16)
        self.log = folder / "lab.log"
        with self.log.open("w") as log:
            options = {
                "--port": self.port,
                "--ServerApp.port_retries": 0,
                "--IdentityProvider.token": self.token,
                "--ServerApp.root_dir": self.notebooks,
                f"--{self.app}.expose_app_in_browser": True,
            }
            command = [sys.executable, "-m", self.module, "--no-browser", "--allow-root", "--ip=127.0.0.1"]
            command += [f"{name}={value}" for name, value in options.items()]
            self.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            until(self._answers, "JupyterLab answers", seconds=60)
        except AssertionError:
            self.close()  # nobody else will: there is no Lab yet
            raise

    def _answers(self):
        assert self.process.poll() is None, f"JupyterLab ended:\n{self.log.read_text()}"
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            connection.request("GET", "/api", headers={"Authorization": f"token {self.token}"})
            return connection.getresponse().status == 200
        except OSError:
            return False

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/{self.where}/{path}?token={self.token}&reset"

    def add(self, name, cells):
        """Write a notebook of code cells next to the lessons; returns its path, as `Notebook` takes it."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.notebooks / name)
        return name

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Notebook:
    """One notebook open in a page of its own. `page` is Playwright's; `errors` gathers what the console reports, and
    `traffic` the bytes of every message to and from the kernel."""

    def __init__(self, browser, lab, path, **page_options):
        self.browser, self.lab, self.path = browser, lab, path
        self.errors, self.traffic = [], []
        self.page = browser.new_page(**{"viewport": {"width": 1300, "height": 1000}, **page_options})
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("websocket", self._listen)
        self.page.goto(lab.url(path))
        self.page.wait_for_function(READY, timeout=90_000)

    def _listen(self, socket):
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda payload: self.traffic.append(len(payload)))

    def run_all(self, *, seconds=180, budget="", memory=""):
        """Run every cell; returns when all have run, and fails on the first error in an output. memory: the bytes
        that a hub would say there are."""
        for name, value in (("XLIB_BUDGET", budget), ("MEM_LIMIT", memory)):
            if value:
                self.execute(f"__import__('os').environ[{name!r}] = {value!r}")
        self.page.set_default_timeout(seconds * 1000)
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(READY)
        self.page.set_default_timeout(15_000)
        self.clean()
        return self

    def kernel(self, expression):
        """The value of a Python expression in the notebook's kernel (whatever JSON can carry)."""
        text = self.page.evaluate(EXECUTE, ["", f"__import__('json').dumps({expression})"])
        return json.loads(ast.literal_eval(text))

    def execute(self, code):
        """Run Python statements in the notebook's kernel, without a cell."""
        self.page.evaluate(EXECUTE, [code, ""])

    def command(self, name, **arguments):
        """Run one of JupyterLab's own commands."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)", [name, arguments]
        )

    def clean(self):
        """Fail on errors in outputs, widgets that could not be shown, and anything the console reports."""
        errors = self.page.locator("[data-mime-type='application/vnd.jupyter.error']")
        assert errors.count() == 0, errors.first.inner_text()
        stderr = self.page.locator("[data-mime-type='application/vnd.jupyter.stderr']", has_text="Traceback")
        assert stderr.count() == 0, stderr.first.inner_text()
        assert self.page.get_by_text("Error displaying widget").count() == 0
        assert self.errors == []

    def shut_down(self):
        """End the kernel: that of a lesson holds a gigabyte, which the page leaves behind."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")

    def close(self):
        self.page.close()


def first_screen(notebook):
    """What a learner sees first, at 1400 x 900: a picture with words, the set-up folded to one line, and the first
    thing that moves in sight."""
    page = notebook.page
    page.set_viewport_size({"width": 1400, "height": 900})
    page.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(0)")
    widget = page.locator(".xlib-panel, .xlib-explorer").first
    until(lambda: (box := widget.bounding_box()) and 0 < box["y"] < 800, "the first widget is in sight")
    image = page.locator(".jp-MarkdownCell img").first
    assert image.evaluate("(img) => img.complete && img.naturalWidth > 300")
    assert len(image.get_attribute("alt").split()) > 8
    assert page.locator(".jp-MarkdownCell details").first.get_attribute("open") is None
    folded = page.locator(".jp-CodeCell").first.locator(".jp-InputPlaceholder")
    assert folded.inner_text().startswith("# Set-up: press Shift+Enter")
    page.set_viewport_size({"width": 1300, "height": 1000})


def skip_questions(notebook):
    """Show the results that wait for a guess."""
    notebook.page.evaluate(SKIP)


def second_day(notebook):
    """Save the notebook as it is now, and look at a copy of it where nothing runs: before there is a kernel, and with
    a new one that knows no widget; in the light theme and in the dark one."""
    notebook.command("docmanager:save")
    notebooks, name = notebook.lab.notebooks, f"second-day-{Path(notebook.path).name}"
    shutil.copy(notebooks / notebook.path, notebooks / name)
    cells = nbformat.read(notebooks / name, as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    page, waiting = notebook.browser.new_page(viewport={"width": 1300, "height": 1000}), []
    page.route(
        "**/api/sessions*",
        lambda route: waiting.append(route) if route.request.method == "POST" else route.continue_(),
    )
    try:
        page.goto(notebook.lab.url(name))
        page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.content?.notebookConfig")
        # Looked at each time: JupyterLab's own settings may come later, and leave out what is off the screen again.
        every = """() => {
          const content = window.jupyterapp.shell.currentWidget.content, config = content.notebookConfig;
          if (config.windowingMode !== "none") content.notebookConfig = { ...config, windowingMode: "none" };
          window.turn = ((window.turn ?? 0) + 3) % content.widgets.length;
          content.scrollToItem(window.turn); // a busy machine may leave a cell for when it comes into view
          const pictures = [...document.querySelectorAll(".xlib-still img")];
          if (!pictures.every((image) => image.complete)) return -1;
          return document.querySelectorAll(".jp-Notebook .jp-OutputArea-child").length;
        }"""
        until(lambda: page.evaluate(every) == len(outputs), "all outputs are drawn", seconds=60)
        page.evaluate(SKIP)
        until(lambda: waiting or page.wait_for_timeout(50), "a kernel is asked for", seconds=30)
        _look(page, outputs)
        for route in waiting:
            route.continue_()
        page.wait_for_function(READY, timeout=60_000)
        if any(WIDGET in output.get("data", {}) for output in outputs):
            page.get_by_text("model not found").first.wait_for(state="attached")
        _look(page, outputs)
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    finally:
        page.close()


def _look(page, outputs):
    live = [i for i, output in enumerate(outputs) if WIDGET in output.get("data", {})]
    gone = [i for i, output in enumerate(outputs) if output.get("data") == {"text/plain": ""}]
    for light in (True, False):
        page.evaluate("(light) => (document.body.dataset.jpThemeLight = light)", str(light).lower())
        found = page.evaluate(LOOK)
        assert not [word for word in DEAD if word in found["words"]]
        assert len(found["stills"]) == len(live), "a still picture for each widget"
        for still in found["stills"]:
            assert still["seen"] == [light, not light], "the picture of this theme, and no other"
            ((width, shown, alt),) = still["pictures"]
            assert width > 300
            assert shown > 300
            assert len(alt) > 20
            assert still["words"] == "Run this cell to bring it alive."
        assert [found["heights"][i] for i in [*live, *gone]] == [0] * len([*live, *gone]), "no gaps"
        assert page.locator(".jp-Notebook progress").count() == 0


def opens(name, *, seconds, budget="", memory=""):
    """A fixture of a module's tests: one lesson, open in JupyterLab, with all its cells run. nbmake trains each in
    full; with the budget "smoke" it trains for a few steps here, where no test looks at what it has learnt."""
    import pytest

    @pytest.fixture(scope="module")
    def opened(browser, lab):
        notebook = Notebook(browser, lab, f"{name}.ipynb")
        notebook.run_all(seconds=seconds, budget=budget, memory=memory)
        yield notebook
        notebook.shut_down()
        notebook.close()

    return opened


def centre(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


class Panel:
    """One panel on the page. What is to be moved (`on`) is a slider's name, or a locator such as a ring."""

    def __init__(self, notebook, index=0):
        self.notebook, self.root = notebook, notebook.page.locator(".xlib-panel").nth(index)
        self.root.wait_for()
        self.root.scroll_into_view_if_needed()
        self.picture = self.root.locator(".stage > svg")
        self.rings = self.root.get_by_role("application").get_by_role("button")

    def words(self):
        return self.picture.get_attribute("aria-label")

    def drawn(self):
        """All elements of the picture, as one text."""
        return self.picture.inner_html()

    def handle(self, on):
        return self.root.get_by_role("slider", name=on) if isinstance(on, str) else on

    def number(self, name):
        """The field where a slider's number is typed."""
        return self.root.get_by_role("textbox", name=f"{name}, as a number")

    def button(self, name):
        return self.root.get_by_role("button", name=name)

    def press(self, on, key):
        self.handle(on).focus()
        self.notebook.page.keyboard.press(key)

    def drag(self, on, across, up):
        """By mouse, by that many pixels."""
        handle, mouse = self.handle(on), self.notebook.page.mouse
        handle.hover()  # which waits until it is in sight and at rest
        x, y = centre(handle)
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + across, y - up, steps=5)
        mouse.up()

    def slide(self, on, share):
        """By mouse, a slider to that share of its length."""
        handle = self.handle(on)
        handle.scroll_into_view_if_needed()
        width = handle.bounding_box()["width"]
        handle.click(position={"x": 8 + (width - 16) * share, "y": 12})  # its thumb is 16 pixels wide

    def changes(self, act, expression, value=None, says="", *, seconds=10.0):
        """Act; then, within some seconds, the kernel's answer to an expression is a new one (`value`, where it is
        given), and so are the picture and its words. Returns the answer."""
        before, words, knew = self.drawn(), self.words(), self.notebook.kernel(expression)
        new = lambda now: now != knew if value is None else now == value  # noqa: E731
        act()
        until(lambda: new(self.notebook.kernel(expression)), f"{expression} changes, to {value}", seconds=seconds)
        until(lambda: self.drawn() != before, f"the picture follows {expression}")
        until(
            lambda: self.words() != words and says in self.words(), f"the words follow {expression}, and say {says!r}"
        )
        return self.notebook.kernel(expression)


def explorer(notebook, index=0):
    """One explorer on the page."""
    root = notebook.page.locator(".xlib-explorer").nth(index)
    root.wait_for()
    root.scroll_into_view_if_needed()
    return root


def pin_by_keys(notebook, root, name):
    """From the middle of the map, the arrow keys lead to items; Enter pins the one that is reached."""
    root.locator(".stage > canvas").first.focus()
    notebook.page.keyboard.press("ArrowRight")
    until(lambda: notebook.kernel(f"{name}.hover") >= 0, "an arrow key reaches an item")
    notebook.page.keyboard.press("Enter")
    until(lambda: notebook.kernel(f"len({name}.selected)") == 1, "Enter pins it")


def move_the_explorer(notebook, name, word, index=0):
    """Slider, search and click: each changes what is drawn and what the kernel knows."""
    root = explorer(notebook, index)
    canvas, slider = root.locator(".stage > canvas").first, root.get_by_role("slider")

    def changes(act, expression, value):
        before = canvas.evaluate(PIXELS)
        act()
        until(lambda: notebook.kernel(expression) == value, f"{expression} becomes {value!r}")
        until(lambda: canvas.evaluate(PIXELS) != before, f"the picture follows {expression}")

    last = notebook.kernel(f"len({name}.model.frames)") - 1
    slider.focus()
    notebook.page.keyboard.press("Home")
    until(lambda: notebook.kernel(f"{name}.step") == 0, "Home goes to the first step")
    changes(lambda: notebook.page.keyboard.press("End"), f"{name}.step", last)
    changes(lambda: root.get_by_role("searchbox").fill(word), f"{name}.query", word)
    assert 0 < notebook.kernel(f"len({name}.matches)") < notebook.kernel(f"len({name}.model.captions)") / 3
    root.get_by_role("searchbox").fill("")
    notebook.execute(f"{name}.selected = []")

    box = canvas.bounding_box()
    pin_by_keys(notebook, root, name)
    rows = root.locator("ol .row")  # the kernel works them out in a thread of its own
    until(lambda: notebook.kernel(f"len({name}.neighbours)") == rows.count() > 0, "the neighbours are known")
    notebook.page.keyboard.press("Escape")
    until(lambda: notebook.kernel(f"{name}.selected") == [], "Escape lets it go")
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})  # by mouse: no error, item or not
