"""What the tests of the panels that the browser computes (closed.js and more) share."""

import math

from xlib.explore.panel import HERE


def program(name):
    """The sources that compute and draw one of them."""
    return "".join((HERE / f"{part}.js").read_text("utf-8") for part in ("common", "scene", "closed", name))


def differences(found, wanted, where=""):
    """Where two trees of dictionaries, lists, words and numbers are not the same to 1e-6, one line each."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), where
        return [line for key in wanted for line in differences(found[key], wanted[key], f"{where}.{key}")]
    if isinstance(wanted, list):
        assert len(found) == len(wanted), where
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{where}[{i}]")]
    if isinstance(wanted, float):
        return [] if math.isclose(found, wanted, abs_tol=1e-6) else [f"{where}: {found} in place of {wanted}"]
    return [] if found == wanted else [f"{where}: {found!r} in place of {wanted!r}"]
