"""Write constraints.txt: the version of everything installed beside this script's Python. See `make constraints`.

Left out: xlib itself; the pieces of CUDA, which only torch's Linux build has; and local versions such as +cpu.
And write what Binder installs, from requirements.txt and the same versions: all but torch and torchvision, which come
from conda there.
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
FROM_CONDA = re.compile(r"(torch|torchvision)[=>]")
BINDER_HEADER = (
    "# Written by `make constraints`. torch and torchvision are left out: environment.yml takes them from conda.\n"
)


def lines(found) -> list[str]:
    """`name==version` for every distribution, by name."""
    pins = {re.sub(r"[-_.]+", "-", dist.name).lower(): dist.version.partition("+")[0] for dist in found}
    return [f"{name}=={version}" for name, version in sorted(pins.items()) if not LEFT_OUT.match(name)]


def binder_files(requirements: str, constraints: str) -> dict[str, str]:
    """The texts of Binder's two files, by name, from those of requirements.txt and constraints.txt."""

    def rest(text):
        kept = (
            line for line in text.splitlines() if line and not line.startswith("#") and not FROM_CONDA.match(line)
        )
        return "\n".join(kept) + "\n"

    return {
        "requirements.txt": f"{BINDER_HEADER}-c constraints.txt\n{rest(requirements)}",
        "constraints.txt": BINDER_HEADER + rest(constraints),
    }


if __name__ == "__main__":
    text = HEADER.format(python=platform.python_version()) + "\n".join(lines(distributions())) + "\n"
    (ROOT / "constraints.txt").write_text(text, "utf-8")
    for name, content in binder_files((ROOT / "requirements.txt").read_text("utf-8"), text).items():
        (ROOT / "binder" / name).write_text(content, "utf-8")
    print(f"constraints.txt: {len(lines(distributions()))} versions")
