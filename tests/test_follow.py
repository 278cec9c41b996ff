"""An explorer that follows a training: what is shown, to whom, and that it costs next to nothing."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from xlib.explore import explore, view

N, D = 30, 8
Z = np.random.default_rng(0).normal(size=(4, N, D)).astype("float32")


@pytest.fixture
def shown():
    return explore(Z[0], captions=[f"thing {i}" for i in range(N)], steps=[0], pairs=[*range(15, 30), *range(15)])


@pytest.fixture
def sent(shown, monkeypatch):
    """The names of the traits in each message to the browser."""
    messages = []
    monkeypatch.setattr(
        type(shown), "send_state", lambda self, key=None: messages.append({key} if isinstance(key, str) else set(key))
    )
    return messages


class Training(SimpleNamespace):
    def __init__(self):
        super().__init__(snapshots=[])

    def curve(self):
        return [0.5] * (10 * len(self.snapshots) - 10)

    def go(self, shown, *, steps=range(4)):
        for t in steps:
            self.snapshots.append((10 * t, Z[t]))
            shown.follow(self)
        return self


def frames(shown, name="pca"):
    return np.frombuffer(shown.maps[name]["frames"], "<u2").reshape(-1, N, 2)


def test_where_nobody_looks_nothing_is_made_before_the_end(shown, sent):
    Training().go(shown)
    assert (sent, shown.model.steps) == ([], [0])
    shown.finish()
    assert (shown.model.steps, shown.step, shown.snapshots["training"]) == ([0, 10, 20, 30], 3, False)
    assert frames(shown).shape == (4, N, 2)


def test_each_snapshot_is_one_message_with_the_last_two_and_at_the_end_come_all(shown, sent, monkeypatch):
    monkeypatch.setattr(view, "SHARE", 1e9)  # however fast these steps are
    shown.alive, shown.selected = True, [3]
    sent.clear()
    run = Training()
    for t in range(4):
        run.go(shown, steps=[t])
        assert len(sent) == t + 1
        new = {"snapshots", "maps"} | ({"pair_similarity", "loss"} if t else set())  # the first was there before
        assert sent[-1] >= new
        assert "setup" not in sent[-1]  # captions and pictures are there already
        assert shown.snapshots["steps"] == [10 * s for s in range(max(0, t - 1), t + 1)]
        assert (len(frames(shown)), shown.snapshots["training"]) == (min(t + 1, 2), True)
        cosine = Z[t] @ Z[t][3] / np.linalg.norm(Z[t], axis=1) / np.linalg.norm(Z[t][3])
        assert shown.neighbours[0][0] == np.argsort(-cosine)[1]  # what is selected is answered for now
    assert np.frombuffer(shown.loss, "<f4").tolist() == [0.5] * 30
    shown.finish()
    assert (shown.snapshots["steps"], len(frames(shown))) == ([0, 10, 20, 30], 4)


def test_the_same_cell_run_again_starts_anew(shown):
    shown.alive = True
    for _ in range(2):
        Training().go(shown)
        shown.finish()
        assert shown.model.steps == [0, 10, 20, 30]


def test_drawing_takes_a_small_share_of_the_time(shown, sent, monkeypatch):
    """With a clock of its own: a step takes 100 ms, to draw one 20."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    append = shown.model.append

    def slow(*snapshot, drawn):
        clock.now += 0.02 * drawn
        append(*snapshot, drawn=drawn)

    monkeypatch.setattr(shown.model, "append", slow)
    shown.alive = True
    sent.clear()
    run, spent = Training(), 0.0
    for t in range(100):
        clock.now += 0.1
        run.snapshots.append((10 * t, Z[t % 4]))
        before = clock.now
        shown.follow(run)
        spent += clock.now - before
    drawn = len(sent)
    assert 0.03 * clock.now < spent < 0.05 * clock.now
    assert drawn > 5
    shown.finish()
    assert shown.model.steps == list(range(0, 1000, 10))  # and none is missing in the end
