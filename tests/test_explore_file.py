"""`python -m xlib.explore`: a table of embeddings as one page, by what its columns are called and hold."""

import base64
import gzip
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xlib.explore import __main__ as command
from xlib.explore import table_file

N = 6
Z = np.random.default_rng(0).normal(size=(N, 4)).round(3)
TEXTS = ["</script><script>alert(1)</script>", "NA", '=cmd|"x"', "café, Größe", "null", "007"]
BASE = {"text": TEXTS, "label": ["a", "b"] * 3, "image": [f"img/{i}.png" for i in range(N)]}
COLOURS = [(40 * i, 100, 200) for i in range(N)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "img").mkdir()
    for i, colour in enumerate(COLOURS):
        Image.new("RGB", (30, 20), colour).save(tmp_path / "img" / f"{i}.png")
    monkeypatch.setattr(command.webbrowser, "open", lambda address: opened.append(address))
    opened = []
    tmp_path.opened = opened if False else None  # noqa: B010 - a Path has no room for more
    return tmp_path


def page(path):
    """What stands in the state of a page."""
    text = Path(path).read_text("utf-8")
    held = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.S)[1])
    state = held["state"]
    unpacked = {name: gzip.decompress(base64.b64decode(packed)) for name, packed in held["bytes"].items()}
    return text, state, unpacked
