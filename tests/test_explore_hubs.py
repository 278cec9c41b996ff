"""Hubs of an explorer's space, and whose neighbours they are, against independent counts."""

import numpy as np
import pytest
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st
from test_explore import N, T, cosines, data, model, unit, widget

from xlib.explore import ExplorerModel


def counted(z, k, allowed):
    """(N,) how often each item is among the k nearest of those that may choose it, one by one."""
    similarity, times = cosines(z), np.zeros(len(z), int)
    for i in range(len(z)):
        order = sorted((j for j in range(len(z)) if allowed(i, j)), key=lambda j: -similarity[i, j])
        times[order[:k]] += 1
    return times


@given(seed=st.integers(0, 1000), step=st.integers(0, T - 1), k=st.integers(1, 9))
@settings(max_examples=20)
def test_occurrences_are_counted_in_the_full_space(seed, step, k):
    m = model(seed=seed, k=k)
    z = data(seed=seed)[0][step]
    assert m.occurrences(step).tolist() == counted(z, k, lambda i, j: i != j).tolist()
    assert m.occurrences(step, "other").tolist() == counted(z, k, lambda i, j: (i < 15) != (j < 15)).tolist()
    assert m.occurrences(step).mean() == m.occurrences(step, "other").mean() == k


def around(n=40, hub=7):
    """n items in as many directions, and one in the middle of all, which all have as their nearest."""
    z = np.eye(n) + 0.001 * np.random.default_rng(0).normal(size=(n, n))
    z[hub] = 1
    return z


def test_a_hub_is_listed_with_its_count_and_with_those_whose_neighbour_it_is():
    m = ExplorerModel(np.stack([np.eye(40) + 0.3 * np.roll(np.eye(40), 1, 1), around()]), k=2)
    m.listing = "hubs"
    assert m.hubs == []  # at the first step, a ring, each item is the neighbour of two
    m.step = 1
    assert m.hubs[0] == [7, 39]
    assert all(count > 2 * m.k for _, count in m.hubs)
    assert [count for _, count in m.hubs] == sorted((count for _, count in m.hubs), reverse=True)
    m.selected = [7]
    assert sorted(j for j, _ in m.neighbours) == [j for j in range(40) if j != 7]
    similarity = unit(around()) @ unit(around())[7]
    assert [cosine for _, cosine in m.neighbours] == pytest.approx(sorted(np.delete(similarity, 7))[::-1], abs=1e-4)
    assert (m.asked, m.note, m.warning) == ([7, "", "", "hubs"], "", "")
    m.listing = ""
    assert len(m.neighbours) == 2
    assert m.hubs == []


def test_among_the_other_modality_each_is_measured_by_its_own():
    # 4 pictures and 26 texts: each picture is the neighbour of many, which says nothing.
    z = np.random.default_rng(0).normal(size=(30, 5))
    m = ExplorerModel(z, images=[np.ones((2, 2))] * 4 + [None] * 26, k=2)
    m.among, m.listing = "other", "hubs"
    times = m.occurrences(0, "other")
    assert times[:4].sum() == 52  # 13 each on average, of texts 8/26
    assert set(times[:4]) != {13}
    assert m.hubs == [
        [i, times[i]]
        for i in np.argsort(-times, kind="stable")[:20].tolist()
        if times[i] > 2 * (13 if i < 4 else 8 / 26)
    ]
    m.selected = [int(times.argmax())]
    assert len(m.neighbours) == times.max()


def test_nothing_is_counted_before_somebody_asks_and_once_for_a_step(monkeypatch):
    m, asked = model(), []
    monkeypatch.setattr(m, "retrieve", lambda *a, f=m.retrieve: asked.append(len(a[0])) or f(*a))
    m.step = 1
    assert asked == []
    m.listing = "hubs"
    assert asked == [N]
    m.axis = ["thing 1", "thing 2"]
    assert asked == [N]
    m.step = 2
    assert asked == [N, N]
    m.listing = "pairs"
    m.step = 3
    assert asked == [N, N]


def test_counting_in_blocks_is_the_same(monkeypatch):
    whole = model().nearest(2)
    monkeypatch.setattr("xlib.explore.model.BLOCK", 100)
    assert model().nearest(2).tolist() == whole.tolist()


def test_while_a_model_is_trained_no_hubs_are_counted():
    m = model(steps=[0, 10, 20, 40])
    m.listing = "hubs"
    m.append(50, data()[0][0])
    assert (m.listing, m.hubs) == ("", [])
    m.listing, m.selected = "hubs", [3]
    assert m.hubs == []
    assert len(m.neighbours) == m.k
    m.finish()
    assert m.occurrences(4).sum() == N * m.k


def test_the_widget_carries_the_list_both_ways():
    w = widget()
    w.set_state({"listing": "hubs"})
    assert (w.model.listing, w.hubs) == ("hubs", w.model.hubs)
    w.model.selected = [3]
    assert w.neighbours == w.model.neighbours
    assert w.words
    with pytest.raises(traitlets.TraitError, match="listing"):
        w.set_state({"listing": "best"})
    assert (w.listing, w.refused != "") == ("hubs", True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((4,), ValueError, "step must be .*3.*got 4"),
        ((0.5,), TypeError, "step must be a whole number, got 0.5"),
        ((0, "near"), ValueError, "among must be one of 'all', 'other', got 'near'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        model().occurrences(*arguments)
