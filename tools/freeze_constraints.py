"""Write constraints.txt: the version of everything installed beside this script's Python. See `make constraints`.

Left out: xlib itself; the pieces of CUDA, which only torch's Linux build has; and local versions such as +cpu.
"""

import platform
import re
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = re.compile(r"xlib-course$|pip$|wheel$|nvidia-|cuda-|triton$")
HEADER = """\
# The set that the course is tested with, all at once: used by CI and by Binder, and by hand with
#     make test CONSTRAINTS=constraints.txt
# Written by `make constraints` from a fresh .venv (Python {python}); it fits Python 3.11 and newer.
# The pieces of CUDA are left out: torch asks for the ones it needs, and its CPU build has none.
"""


def lines(found) -> list[str]:
    """`name==version` for every distribution, by name."""
    pins = {re.sub(r"[-_.]+", "-", dist.name).lower(): dist.version.partition("+")[0] for dist in found}
    return [f"{name}=={version}" for name, version in sorted(pins.items()) if not LEFT_OUT.match(name)]


if __name__ == "__main__":
    text = HEADER.format(python=platform.python_version()) + "\n".join(lines(distributions())) + "\n"
    (ROOT / "constraints.txt").write_text(text, "utf-8")
    print(f"constraints.txt: {len(lines(distributions()))} versions")
