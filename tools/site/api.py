"""The API reference as Markdown for Sphinx, read from the docstrings; nothing is imported for it.

A module's public names are those in its `__all__`, or where it has none, those without a leading underscore. Of a
package with an `__all__` the other modules are internal, but for what OPEN names.
"""

import ast
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# A room's title and its folder, as docs/architecture.md has them from the methods to what serves them.
ROOMS = {
    "The methods": "",
    "Data": "data",
    "The classroom": "course",
    "Exercise checks": "course/checks",
    "Trainings of the lessons": "experiments",
    "What needs a network": "online",
    "The explorer and the panels": "explore",
}
OPEN = {"xlib.explore.panel": ["panel"], "xlib.explore.pad": ["pad"]}
LABEL = re.compile(r"(Args|Attributes|Returns|Raises|Relations|Source)\b(:?)\s*")
BEHIND = re.compile(r"(?<=[.)] )(?=(?:Args|Returns|Raises|Relations|Source)\b(?::| [A-Z]))")  # another one in a line
LONG = 120  # letters of a constant's value


@dataclass(frozen=True)
class Name:
    """A public name: where it is imported from, what defines it, and the lines of that file."""

    module: str
    node: ast.AST
    lines: list[str]

    @property
    def name(self) -> str:
        return self.node.name if hasattr(self.node, "name") else _targets(self.node)[0]

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"


@functools.cache
def modules(root: Path = ROOT) -> dict[str, list[str]]:
    """The public modules of each room; the methods in the order in which docs/architecture.md explains them."""
    explained = re.findall(r"`xlib/(\w+)\.py`", (root / "docs" / "architecture.md").read_text("utf-8"))
    found = {}
    for room, folder in ROOMS.items():
        package = ".".join(["xlib", *folder.split("/")]).rstrip(".")
        stems = {path.stem for path in (root / "xlib" / folder).glob("[!_]*.py")}
        if _all(file_of(package, root)) is not None:
            found[room] = [package, *(name for name in OPEN if name.removeprefix(f"{package}.") in stems)]
        else:
            order = [*dict.fromkeys(stem for stem in explained if stem in stems and not folder)]
            found[room] = [f"{package}.{stem}" for stem in [*order, *sorted(stems - {*order})]]
    return found


def names(module: str, root: Path = ROOT) -> list[Name]:
    """The public names of a module, in the order of the file, or of its `__all__`."""
    path = file_of(module, root)
    wanted = OPEN.get(module) or _all(path)
    here = {name.name: name for name in _defined(module, path)}
    if wanted is None:
        return [name for name in here.values() if not name.name.startswith("_")]
    homes = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in _parsed(path).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    found = []
    for name in wanted:
        if name in here:
            found.append(here[name])
        else:
            home, original = homes[name]
            found += [one for one in _defined(module, file_of(home, root)) if one.name == original]
    return found


def file_of(module: str, root: Path = ROOT) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def docstring(module: str, root: Path = ROOT) -> str:
    return ast.get_docstring(_parsed(file_of(module, root))) or ""


@functools.cache
def _parsed(path):
    return ast.parse(path.read_text("utf-8"))


def _all(path):
    """The `__all__` of a module, None where it has none."""
    for node in _parsed(path).body:
        if isinstance(node, ast.Assign) and _targets(node) == ["__all__"]:
            return ast.literal_eval(node.value)
    return None


def _targets(node):
    """The plain names that an assignment gives a value to."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    elements = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [one.id for one in elements if isinstance(one, ast.Name)]


def _defined(module, path):
    """What a file defines at its top level: functions, classes, and each name that gets a value."""
    found = []
    for node in _parsed(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):  # A, B = 0, 1
            alone = isinstance(node.value, ast.Tuple)
            for at, target in enumerate(node.targets[0].elts):
                value = node.value.elts[at] if alone else node.value
                found.append(ast.copy_location(ast.Assign([target], value), node))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            found.append(node)
    lines = path.read_text("utf-8").splitlines()
    return [Name(module, node, lines) for node in found if hasattr(node, "name") or _targets(node)]


# ---- from a docstring to Markdown --------------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Words that are no Markdown, whatever they hold, and no directive of Sphinx."""
    return re.sub(r"([\\`*_\[\]<>{}$|~^#&!])", r"\\\1", text)


def inline(text: str, link=lambda code: None) -> str:
    """A line of a docstring as Markdown: code stays code, and becomes a link where link(code) names what it is; a
    paper of arXiv is linked."""
    parts = re.split(r"`([^`]+)`", text)
    for at, part in enumerate(parts):
        if at % 2:
            target = link(part)
            parts[at] = f"{{py:obj}}`{part} <{target}>`" if target and not set("<>\\") & {*part} else f"`{part}`"
        else:
            part = re.sub(r"arXiv:? (\d{4}\.\d{4,5})", "\0\\1\0", part)
            part = re.sub(r"(https?://[^\s),]+[^\s),.;])", "\1\\1\1", part)
            part = escaped(part)
            part = re.sub("\0(.*?)\0", r"[arXiv \1](https://arxiv.org/abs/\1)", part)
            parts[at] = re.sub("\1(.*?)\1", lambda m: "<" + m[1].replace("\\", "") + ">", part)
    line = "".join(parts)
    return re.sub(r"^([-+=]|\d+[.)])", r"\\\1", line)  # what would begin a list


def body(docstring: str, parameters=(), link=lambda code: None) -> str:
    """A docstring as Markdown: paragraphs, a list of the arguments, formulas as they are set, and its example.

    parameters: the names of the arguments, so that "x: (N, d) ..." is known as one of them.
    """
    text, heading, example = f"\n{docstring}".rpartition("\nExample:\n")
    if not heading:
        text, example = example, ""
    text = re.sub(r"^\S.*", lambda line: BEHIND.sub("\n", line[0]), text, flags=re.M)
    named = "|".join(map(re.escape, sorted(parameters, key=len, reverse=True))) or r"(?!)"
    several = rf"(?:{named})(?:(?:,| and) (?:{named}))*: "
    starts = re.compile(rf"(?:^|(?<=[.;] ))(?={several})", re.M)
    blocks = []
    for block in _blocks(text):
        if block[0].startswith("    "):
            blocks.append(_as_set(block, link))
            continue
        label = LABEL.match(block[0])
        first = block[0][label.end() :] if label else block[0]
        if (
            label and label[1] in ("Args", "Attributes") and not first
        ):  # an item a line, continued where it is indented
            inner = re.sub(r"\n        +", " ", "\n".join(block[1:]))
            items = [re.sub(r"^(\S[^:]*?): ", r"`\1`: ", line.strip()) for line in inner.splitlines()]
            blocks.append("\n".join([f"**{label[1]}**", "", *(f"* {inline(item, link)}" for item in items)]))
            continue
        before, *items = starts.split("\n".join(map(str.strip, [first, *block[1:]])))
        items = [re.sub(rf"^({several[:-2]}): ", r"`\1`: ", " ".join(item.split()).rstrip(";")) for item in items]
        words = inline(" ".join(before.split()), link)
        words = f"**{label[1]}**{label[2]} {words}" if label else words
        blocks.append("\n\n".join([words, "\n".join(f"* {inline(item, link)}" for item in items)]).strip())
    if example.strip():
        lines = re.sub(r" *# doctest: .*", "", example).strip("\n").splitlines()
        width = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        blocks.append("**Example**\n\n```pycon\n" + "\n".join(line[width:] for line in lines).rstrip() + "\n```")
    return "\n\n".join(blocks)


def _as_set(block, link):
    """An indented block: a list where it is names with what each of them is, else as it stands."""
    width = min(len(line) - len(line.lstrip()) for line in block if line.strip())
    text = "\n".join(line[width:] for line in block).rstrip()
    rows = re.sub(r"\n +", " ", text).splitlines()
    cells = [re.fullmatch(r"(\w+):? {2,}(\S.*)", row) for row in rows]
    if len(rows) < 2 or not all(cells):
        return f"```text\n{text}\n```"
    return "\n".join(f"* `{cell[1]}`: {inline(re.sub(' {2,}', '; ', cell[2]), link)}" for cell in cells)


def _blocks(text):
    """The paragraphs of a docstring as lists of lines. A label such as "Raises" begins one; what is indented after an
    empty line is a block that is shown as it is."""
    blocks, current = [], []
    for line in text.splitlines():
        if not line.strip():
            if current and current[0].startswith("    "):
                current.append("")  # it may go on
            else:
                blocks, current = [*blocks, current], []
            continue
        literal = bool(current) and current[0].startswith("    ")
        if (literal and not line.startswith("    ")) or (LABEL.match(line) and current and not literal):
            blocks, current = [*blocks, current], []
        current.append(line)
    return [block for block in [*blocks, current] if any(map(str.strip, block))]


# ---- pages -------------------------------------------------------------------------------------------------------


def linker(module: str, known: set[str], parameters=()):
    """link(code) for a docstring: the full name of what a piece of code names, in its module or as module.name; None
    for anything else, and for the function's own arguments."""

    def link(code):
        path = re.fullmatch(r"([A-Za-z_][\w.]*)(?:\(.*\))?", code, re.S)
        if not path or path[1] in parameters:
            return None
        parts = path[1].removeprefix("xlib.")
        ends = [name for name in known if name.endswith(f".{parts}")]
        near = [name for name in ends if name == f"{module}.{parts}"] or ends * ("." in parts and len(ends) == 1)
        return near[0] if near else None

    return link


def entry(name: Name, known: set[str], used: str = "") -> str:
    """The directive of one public name, with all that its docstring says. used: the lessons that use it, a line."""
    node, link = name.node, linker(name.module, known)
    if not hasattr(node, "name"):
        value = ast.unparse(node.value)
        value = value if len(value) <= LONG else f"{value[:LONG]}…"
        comment = re.search(r"\s#\s(?!noqa|fmt)(.*)", name.lines[node.lineno - 1])
        words = f"{inline(comment[1][:1].upper() + comment[1][1:], link)}." if comment else ""
        return _directive("py:data", name.name, f"{words}\n\n{used}", 3, value=value)
    if isinstance(node, ast.FunctionDef):
        return _directive("py:function", name.name + _signature(node), f"{_words(name, node, known)}\n\n{used}", 4)
    inside = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
    start = inside.get("__init__")
    words = _words(name, node, known, start)
    fields = [name.lines[one.lineno - 1].strip() for one in node.body if isinstance(one, ast.AnnAssign)]
    if fields and "**Attributes**" not in words:
        words += "\n\n**Fields**\n\n```python\n" + "\n".join(fields) + "\n```"
    parts = [words, used]
    for method in inside.values():
        if ast.get_docstring(method) and (not method.name.startswith("_") or method.name == "__call__"):
            kind = "property" if "property" in map(ast.unparse, method.decorator_list) else "method"
            signature = method.name + _signature(method, own=True) * (kind == "method")
            parts.append(_directive(f"py:{kind}", signature, _words(name, method, known), 4))
    return _directive("py:class", name.name + (_signature(start, own=True) if start else ""), "\n\n".join(parts), 5)


def _words(name, node, known, start=None):
    """The docstring of a function, or of a class whose arguments are those of `start`."""
    start = node if isinstance(node, ast.FunctionDef) else start
    parameters = _parameters(start) if start else ()
    link = linker(name.module, known - {name.full}, parameters)  # nothing leads to itself
    return body(ast.get_docstring(node) or "", parameters, link)


def _directive(kind, signature, text, ticks, **options):
    fence = "`" * ticks
    lines = [f":{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in options.items()]  # read as YAML
    return "\n".join([f"{fence}{{{kind}}} {signature}", *lines, "", text.strip(), fence])


def _signature(node, own=False):
    """(arguments) -> what comes back. own: a method's, without self."""
    arguments = ast.unparse(node.args)
    if own:
        arguments = re.sub(r"^(self|cls)(, )?", "", arguments)
    return f"({arguments})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")


def _parameters(node):
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    return [one.arg for one in every if one and one.arg not in ("self", "cls")]


def uses(notebook) -> set[str]:
    """The names of xlib that a notebook's code uses, such as "xlib.mmd.mmd2"."""
    found, bound = set(), {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        try:
            tree = ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.M))
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "xlib":
                bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                bound |= {alias.asname: alias.name for alias in node.names if alias.asname}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute | ast.Name):
                root, *rest = ast.unparse(node).split(".")
                if root.isidentifier() and (root in bound or root == "xlib"):
                    found.add(".".join([bound.get(root, root), *rest]))
    return found
