"""Explorers outside a notebook's own widget: the page in one file, and jupyter-scatter beyond 50,000 items."""

import base64
import gzip
import json
import os
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from test_explore import N, T, encode, model, widget

from xlib.data import emoji as E
from xlib.explore import Explorer, explore, many, page

HOSTILE = [
    '</script><img src="x" onerror="alert(1)">',
    "<!--<script>",
    "<!-- </script> -->",
    "]]></noscript><svg onload=alert(1)>",
    "</title></style><script>alert(1)</script>",
    "\" onload='alert(1)' `${alert(1)}`",
    "line\u2028separator\u2029paragraph\nline\ttab",
    "&lt;b&gt; &amp; \\u003c \\",
    "猫 🐈 קטן {}",
    "$x$ __proto__ constructor",
]


class Reader(HTMLParser):
    """What a parser finds in a page: its tags with their attributes, and the texts right behind each kind of tag."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.inside = [], {}, None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.texts.setdefault(tag, []).append("")
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, text):
        if self.inside:
            self.texts[self.inside][-1] += text

    @property
    def data(self):
        return json.loads(self.texts["script"][0])


def written(w, path):
    w.to_html(path)
    return path.read_text("utf-8")


def unpacked(text, kind):
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), kind)


# ---- the page


@pytest.mark.filterwarnings("error")
def test_whatever_a_caption_holds_stays_text(tmp_path):
    w = widget(
        captions=HOSTILE * 3,
        labels=[HOSTILE[i % 7] for i in range(N)],
        domains=[HOSTILE[i % 3] for i in range(N)],
        modality=[HOSTILE[i // 15] for i in range(N)],
        title=HOSTILE[0],
        encode=encode,
    )
    w.axis, w.query = [HOSTILE[0], HOSTILE[1]], HOSTILE[1]
    for typed, selected in (("", [0]), (HOSTILE[0], [])):
        w.selected, w.typed = selected, typed
        found = Reader(written(w, tmp_path / "page.html"))
        wanted = ["html", "head", "meta", "meta", "meta", "title", "style", "body", "main", "h1", "div", "script"]
        assert [tag for tag, _ in found.tags] == [*wanted, "img", "script"]
        assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
        assert found.texts["title"] == found.texts["h1"] == [HOSTILE[0]]
        assert dict(found.tags)["img"]["alt"] == w.alt_text
        assert HOSTILE[0] in w.alt_text
        text = found.texts["script"][0]
        assert "<" not in text  # browsers have rules of their own for "<!--<script>"
        assert text.isascii()
        state = found.data["state"]
        for name in ("captions", "classes", "modalities", "domains", "groups", "title"):
            assert state["setup"][name] == w.setup[name]
        assert state["snapshots"] == w.snapshots
        assert state["setup"]["captions"] == HOSTILE * 3
        assert (state["typed"], state["landed"], state["refused"]) == ("", {}, "")  # nothing can encode it there
        for name in ("selected", "axis", "query", "alt_text", "projection", "note", "warning"):
            assert state[name] == getattr(w, name)


def test_the_page_holds_all_that_the_widget_would_send(tmp_path):
    w = widget()
    w.axis = ["thing 1", "thing 2"]
    w.step, w.selected = 3, [4]
    data = Reader(written(w, tmp_path / "page.html")).data
    assert [key for key in data["state"] if key.startswith("_")] == []
    for name in ("columns", "pair_similarity", "matrix", "atlas"):
        assert unpacked(data["bytes"][name], np.uint8).tobytes() == getattr(w, name)
        assert data["state"][name] is None
    for name, sent in w.maps.items():
        assert unpacked(data["bytes"][f"maps/{name}/frames"], np.uint8).tobytes() == sent["frames"]
        assert data["state"]["maps"][name] == sent | {"frames": None}
    offline = page.offline(w.model)
    for name in ("rows", "cosines", "ranks"):
        assert unpacked(data["bytes"][f"offline/{name}"], np.uint8).tobytes() == offline[name]
    assert data["state"]["offline"]["texts"] == offline["texts"]
    assert (data["state"]["step"], data["state"]["selected"]) == (3, [4])


@pytest.mark.parametrize("shape", ["pairs", "few others", "no other"])
def test_offline_answers_are_those_of_the_model_at_the_last_step(shape):
    images = {"pairs": 15, "few others": 3, "no other": 0}[shape]
    m = model(images=[np.ones((3, 4, 4))] * images + [None] * (N - images), pairs=[*range(15, 30), *[-1] * 15])
    m.axis = ["thing 1", "thing 2"]
    m.step = 1  # whichever is shown
    found = page.offline(m)
    texts, trust = found["texts"], found["trust"]
    rows = np.frombuffer(found["rows"], "<i4").reshape(2, N, m.k)
    cosines = np.frombuffer(found["cosines"], "<i2").reshape(2, N, m.k) / 10_000
    ranks = np.frombuffer(found["ranks"], "<i4").reshape(N, 2)
    assert {name: len(of) for name, of in texts.items()} == dict.fromkeys(m.layouts, T)
    for step in range(T):
        m.selected, m.step = [], step
        assert texts[m.projection][step] == m.alt_text
    for name in ("pca", "axis"):
        m.projection = name
        agree = np.frombuffer(found["agree"][name], "<i4").reshape(2, N)
        for a, among in enumerate(("all", "other")):
            m.among = among
            for i in range(N):
                m.selected = [i]
                known = [j for j in rows[a, i].tolist() if j >= 0]
                assert known == [j for j, _ in m.neighbours]
                assert cosines[a, i, : len(known)].tolist() == pytest.approx([s for _, s in m.neighbours])
                assert ranks[i].tolist() == m.ranks
                if not known:
                    continue
                agreement = f"{agree[a, i]} of these {len(known)} are also among the nearest {len(known)} on the map."
                assert (f"; {agreement}" in m.note) != (f"Only {agreement}" == m.warning)
                assert f"trustworthiness: {trust[name]:.2f} " in m.note
    assert (rows[1] < 0).any() == (shape != "pairs")


def test_offline_answers_come_in_blocks_and_may_list_hundreds(monkeypatch):
    z = np.random.default_rng(0).normal(size=(300, 3))
    z[[7, 40, 299]] = z[5]  # which are equally near to all others
    m = explore(z, k=299).model
    whole = page.offline(m)
    monkeypatch.setattr(page, "BLOCK", 300 * 7)
    assert page.offline(m) == whole
    rows = np.frombuffer(whole["rows"], "<i4").reshape(2, 300, 299)
    assert rows[0, 5, :3].tolist() == [7, 40, 299]
    assert (np.sort(rows[0]) == [[j for j in range(300) if j != i] for i in range(300)]).all()
    assert np.frombuffer(whole["agree"]["pca"], "<i4").tolist() == [299] * 300 + [0] * 300


def test_nothing_in_the_page_comes_from_elsewhere(tmp_path):
    text = written(widget(), tmp_path / "page.html")
    assert re.findall(r"(?i)\b(?:https?|wss?|ftp)://\S*", text) == []
    found = Reader(text)
    for _, attributes in found.tags:
        assert "href" not in attributes
        assert attributes.get("src", "data:image/").startswith("data:image/")
    names = [tag for tag, _ in found.tags]
    policy = [content for _, content in found.tags if content.get("http-equiv") == "Content-Security-Policy"]
    assert names.index("style") > found.tags.index(("meta", policy[0]))  # it holds from there on
    rules = dict(rule.strip().split(" ", 1) for rule in policy[0]["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert not [source for source in " ".join(rules.values()).split() if source.startswith(("http", "*", "'self'"))]
    assert "unsafe-eval" not in text
    assert dict(found.tags[:2])["html"]["lang"] == "en"


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    w = widget(captions=["x"] * 30)
    w.to_html(str(path))
    before = path.read_text("utf-8")
    assert before.startswith("<!doctype html>")
    assert path.stat().st_mode & 0o777 == 0o644
    w.selected = [0]
    with monkeypatch.context() as broken:
        broken.setattr(page.html, "escape", lambda text: "\ud800")  # half a character: no file can hold it
        with pytest.raises(UnicodeEncodeError):
            w.to_html(path)
    assert os.listdir(tmp_path) == ["page.html"]
    assert path.read_text("utf-8") == before
    w.selected = [1]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        w.to_html(tmp_path / "folder")
    assert sorted(os.listdir(tmp_path)) == ["folder", "page.html"]
    with path.open(encoding="utf-8") as reader:  # who reads the old page meanwhile reads all of it
        w.to_html(path)
        assert reader.read() == before
    assert "Selected: x (image)" in Reader(path.read_text("utf-8")).data["state"]["alt_text"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        w.to_html(tmp_path / "nowhere" / "page.html")


def test_a_page_goes_to_a_path_below_home_and_half_a_character_is_a_question_mark(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    widget(captions=["\ud800"] * 30, title="half \ud800").to_html("~/page.html")
    assert os.listdir(tmp_path) == ["page.html"]
    assert Reader((tmp_path / "page.html").read_text("utf-8")).texts["title"] == ["half ?"]


@pytest.mark.long
def test_1400_emoji_with_pictures_and_20_frames_take_less_than_2_mb(tmp_path):
    emoji = E.load(("openmoji", "twemoji"))
    pictures = [*emoji.images["openmoji"], *emoji.images["twemoji"]][:1400]
    names = (emoji.names["en"] * 2)[:1400]
    groups = [emoji.group_names[g] for g in emoji.groups.tolist() * 2][:1400]
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(20, 2800, 32)), 0) * 0.2 + rng.normal(size=(2800, 32))
    w = explore(
        walk,
        captions=names * 2,
        images=pictures + [None] * 1400,
        labels=groups * 2,
        pairs=[*range(1400, 2800), *range(1400)],
        steps=[50 * t for t in range(20)],
    )
    text = written(w, tmp_path / "page.html")
    assert len(text.encode()) < 2_000_000
    data = Reader(text).data
    assert unpacked(data["bytes"]["maps/pca/frames"], "<u2").shape == (20 * 2800 * 2,)
    assert w.setup["cell"] == [48, 48]


# ---- beyond 50,000 items


LARGE = np.random.default_rng(0).normal(size=(2, 50_001, 3)).astype("f4") * [3, 2, 1]


def large(**options):
    return explore(LARGE, captions=[f"item {i}" for i in range(50_001)], **options)


@pytest.mark.parametrize("labels", [None, [i % 3 for i in range(50_001)], [*"abcdefghij", *[None] * 49_991]])
def test_beyond_50_000_items_jupyter_scatter_takes_over(labels, capsys):
    jscatter = pytest.importorskip("jscatter")
    found = large(labels=labels)
    assert isinstance(found, jscatter.Scatter)
    assert capsys.readouterr().out == (
        "50,001 items, more than the 50,000 that explore() draws itself: the last snapshot in jupyter-scatter, "
        "captions on hover, no pictures.\n"
    )
    assert found._data["caption"].tolist() == [f"item {i}" for i in range(50_001)]
    centred = LARGE[1] - LARGE[1].mean(0)
    components = np.linalg.svd(centred, full_matrices=False)[2][:2]
    xy = found._data[["x", "y"]].to_numpy()
    np.testing.assert_allclose(np.abs(xy), np.abs(centred @ components.T), atol=1e-3)  # of the last snapshot
    assert found.tooltip()["properties"] == ["caption"]
    if labels is not None:
        assert found.color()["by"] == "class"
        assert found._data["class"].notna().sum() == 50_001 - labels.count(None)
        assert len(set(map(tuple, found.color()["map"]))) >= 3


def test_beyond_50_000_items_values_and_given_places_are_shown_too():
    jscatter = pytest.importorskip("jscatter")
    values = np.linspace(0, 1, 50_001)
    values[7] = np.nan
    found = large(values=values, coordinates=LARGE[:, :, :2], labels=["a"] * 50_001)
    assert isinstance(found, jscatter.Scatter)
    np.testing.assert_array_equal(found._data[["x", "y"]].to_numpy(), LARGE[1, :, :2])
    tones = found._data["tone"].to_numpy()
    assert (tones[7], tones[0], tones[-1], found.color()["by"]) == (0, 1, 64, "tone")
    assert len(found.color()["map"]) == 65


def test_up_to_50_000_items_the_explorer_draws_itself(monkeypatch):
    monkeypatch.setitem(sys.modules, "jscatter", None)
    assert many.MOST == 50_000
    monkeypatch.setattr(many, "MOST", 30)
    assert isinstance(widget(), Explorer)
    monkeypatch.setattr(many, "MOST", 29)
    with pytest.raises(ImportError):
        widget()


def test_without_jupyter_scatter_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jscatter", None)
    with pytest.raises(ImportError, match=r"50,000 items.* not installed: pip install jupyter-scatter pandas"):
        large()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"captions": ["x"] * 29}, ValueError, "captions must have 30 entries, got 29"),
        ({"labels": [0.5] * 30}, TypeError, r"labels\[0\] has the wrong type float"),
        ({"projection": "axis"}, ValueError, "projection must be one of 'pca', 'umap', got 'axis'"),
    ],
)
def test_bad_arguments_are_named_there_too(change, error, message, monkeypatch):
    pytest.importorskip("jscatter")
    monkeypatch.setattr(many, "MOST", 29)
    with pytest.raises(error, match=message):
        widget(**change)
