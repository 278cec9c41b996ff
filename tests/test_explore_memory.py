"""What the explorer holds in memory: one picture at a time, and nothing of a widget that is closed or shown anew."""

import gc
import io
import subprocess
import sys
import tracemalloc
import weakref

import numpy as np
import pytest
import traitlets
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel
from PIL import Image

from xlib.explore import Explorer, ExplorerModel, explore, still
from xlib.explore.panel import panel

Z = np.random.default_rng(0).normal(size=(3, 40, 8)).astype(np.float32)


def line():
    return type("Line", (traitlets.HasTraits,), {"slope": traitlets.Float(1.0)})()


def panelled(model):
    def draw(model, scene):
        scene.axes().set(x=(0, 1), y=(-2, 2)).line([0, 1], [0, model.slope])
        return f"slope {model.slope}"

    return panel(model, draw, controls={"slope": (-2, 2, 0.5)})


def gone(reference):
    gc.collect()
    return reference() is None


# ---- pictures

PEAK = """
import sys, threading, time, numpy as np, psutil
from PIL import Image
from xlib.explore import pictures
here = psutil.Process()
class Lazy:
    def __len__(self): return 100
    def __getitem__(self, i): return Image.open(sys.argv[1])
opened = [Image.open(sys.argv[1]) for _ in range(100)]
pictures.thumbnails([np.zeros((4, 4))], 1)
for images in (opened, Lazy()):
    start = most = here.memory_info().rss
    done = []
    def watch():
        global most
        while not done:
            most = max(most, here.memory_info().rss)
            time.sleep(0.001)
    watcher = threading.Thread(target=watch)
    watcher.start()
    sprites, cells = pictures.thumbnails(images, 100)
    done.append(True)
    watcher.join()
    assert cells.shape == (100, 36, 48, 4)
    print((most - start - cells.nbytes) / 1e6)
"""


@pytest.mark.long
def test_a_hundred_lazy_pictures_take_less_than_20_mb(tmp_path):
    gradient = np.linspace(0, 255, 1200 * 900 * 3).astype(np.uint8).reshape(900, 1200, 3)
    Image.fromarray(gradient).save(tmp_path / "large.png", compress_level=1)
    command = [sys.executable, "-c", PEAK, str(tmp_path / "large.png")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert len(said) == 2
    assert max(map(float, said)) < 20


def test_pictures_that_were_opened_are_not_loaded(tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (1200, 900), "teal").save(out, "JPEG")
    lazy = [Image.open(io.BytesIO(out.getvalue())) for _ in range(20)]
    explored = ExplorerModel(Z[:, :20], images=lazy)
    assert explored.thumbnails.shape == (20, 36, 48, 4)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    ExplorerModel(Z[:, :20], images=lazy)
    after, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before, most - before) < (2e6, 5e6)
    assert all(picture.tile for picture in lazy)  # a picture that is loaded has nothing left to read


def test_a_large_float_picture_is_not_copied_whole(tmp_path):
    images = np.zeros((1, 900, 1200, 3), np.float32)  # 13 MB
    tracemalloc.start()
    ExplorerModel(Z[:, :2], images=[images[0], None])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 12e6


# ---- widgets that are closed


def test_close_frees_an_explorer_and_its_model():
    shown = explore(Z, labels=list("ab") * 20)
    shown.axis, shown.selected = ["0", "1"], [3]
    references = weakref.ref(shown), weakref.ref(shown.model)
    shown.close()
    del shown
    assert all(map(gone, references))


def test_a_model_that_lives_on_does_not_hold_a_closed_explorer():
    model = ExplorerModel(Z)
    shown, other = Explorer(model), Explorer(model)
    reference = weakref.ref(shown)
    shown.close()
    del shown
    assert gone(reference)
    model.selected = [4]
    assert other.selected == [4]


def test_close_frees_a_panel_and_leaves_its_model_alone():
    model = line()
    shown = panelled(model)
    reference = weakref.ref(shown)
    model.slope = 0.5
    assert shown.alt_text == "slope 0.5"
    shown.close()
    del shown
    assert gone(reference)
    model.slope = 2.0


def test_closing_twice_and_using_what_is_closed():
    shown = explore(Z)
    shown.close()
    shown.close()
    shown.selected = [3]
    assert shown.model.selected == [3]
    assert shown.neighbours == shown.model.neighbours
    shown.model.selected = [5]
    identity = shown._model_id
    shown.open()
    assert (shown.selected, shown.model_id) == ([5], identity)
    shown.model.selected = [6]
    assert shown.selected == [6]


def test_closed_explorers_do_not_pile_up():
    z = np.random.default_rng(0).normal(size=(5, 3000, 16)).astype(np.float32)
    explore(z).close()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        explore(z).close()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 0.3e6  # one of them holds 3 MB


# ---- cells that run again


class Notebook:
    """The cell and the message that run, as a front end tells the kernel."""

    def __init__(self, monkeypatch):
        self.cell, self.message = "", 0
        self.user_ns, self.user_ns_hidden, self.displayhook = {"_oh": {}}, {}, type("Hook", (), {})()
        monkeypatch.setattr(still, "get_ipython", lambda: self)
        monkeypatch.setattr(still, "RUNS", {})
        monkeypatch.setattr(still, "display", lambda *args, **options: None)

    def get_parent(self):
        return {"metadata": {"cellId": self.cell}, "header": {"msg_id": str(self.message)}}

    def run(self, cell):
        self.cell, self.message = cell, self.message + 1


@pytest.fixture
def notebook(monkeypatch):
    return Notebook(monkeypatch)


def opened(shown):
    return shown.comm is not None


@pytest.mark.parametrize("make", [lambda: explore(Z), lambda: panelled(line())])
def test_a_cell_that_runs_again_closes_what_it_showed(notebook, make):
    notebook.run("a")
    first = make()
    first._ipython_display_()
    notebook.user_ns["_oh"][1] = notebook.user_ns["_1"] = notebook.displayhook._ = first
    notebook.user_ns["mine"] = first
    notebook.run("a")
    second = make()
    second._ipython_display_()
    assert (opened(first), opened(second)) == (False, True)
    assert notebook.user_ns == {"_oh": {1: None}, "_1": None, "mine": first}
    first._ipython_display_()  # held in a variable, and shown once more
    assert (opened(first), opened(second)) == (True, True)
    reference = weakref.ref(first)
    notebook.user_ns.clear()
    del first
    notebook.user_ns["_oh"] = {}
    notebook.run("a")
    make()
    assert gone(reference)


def test_what_another_cell_shows_stays(notebook):
    notebook.run("a")
    shown = explore(Z)
    notebook.run("b")
    shown._ipython_display_()
    notebook.run("a")
    explore(Z)
    assert opened(shown)
    notebook.run("b")
    shown._ipython_display_()
    shown._ipython_display_()
    assert opened(shown)
    notebook.run("b")
    explore(Z)._ipython_display_()
    assert not opened(shown)


def test_what_stands_in_a_box_or_at_a_link_stays(notebook):
    import ipywidgets

    notebook.run("a")
    boxed, elsewhere, linked, free = (explore(Z) for _ in range(4))
    box = ipywidgets.VBox([boxed])
    other = type("Container", (ipywidgets.DOMWidget,), {"children": traitlets.List()})(children=[elsewhere])
    link = traitlets.link((linked, "step"), (ipywidgets.IntSlider(max=2), "value"))
    notebook.run("a")
    explore(Z)
    assert [*map(opened, (boxed, elsewhere, linked, free))] == [True, True, True, False]
    link.unlink()
    box.close()
    other.close()


def test_outside_a_notebook_nothing_is_closed(monkeypatch):
    for shell in (None, InteractiveShell.instance() if InteractiveShell.initialized() else None):
        monkeypatch.setattr(still, "get_ipython", lambda shell=shell: shell)
        shown = explore(Z)
        explore(Z)
        assert opened(shown)


@pytest.mark.long
def test_reruns_in_a_kernel_keep_one_explorer():
    manager, client = start_new_kernel(kernel_name="python3")

    def run(code, cell):
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        message = client.session.msg("execute_request", content, metadata={"cellId": cell})
        client.shell_channel.send(message)
        said = ""
        while True:
            answer = client.get_iopub_msg(timeout=60)
            if answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                said += answer["content"].get("text", "") + "\n".join(answer["content"].get("traceback", []))
                if answer["content"].get("execution_state") == "idle":
                    return said.strip()

    try:
        set_up = "import gc, weakref; import numpy as np; from xlib.explore import explore; made = []\n"
        assert run(set_up + "z = np.random.default_rng(0).normal(size=(3, 40, 8))", "one") == ""
        count = "gc.collect(); print(sum(one() is not None for one in made))"
        for _ in range(3):
            assert "Error" not in run("x = explore(z)\nmade.append(weakref.ref(x))\nx", "two")
            assert run(count, "three") == "1"
        for _ in range(2):
            assert "Error" not in run("made.append(weakref.ref(explore(z)))\nmade[-1]()", "four")
        assert run(count, "three") == "2"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
