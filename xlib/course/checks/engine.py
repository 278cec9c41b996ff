"""What all checks do with an answer: run it on the cases, compare, name the mistake, and show what came out."""

import copy
import dis
import html
import inspect
import re
import traceback
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import normalize

from xlib.course import report
from xlib.course.checks import records

DATA = Tensor | np.ndarray | np.generic | bool | int | float | complex | str | bytes | list | tuple | dict | set
PASSED: set[str] = set()  # exercises, in this session

STYLE = """<style>
div.xlib-check { display: flex; gap: .8em; align-items: flex-start; line-height: 1.5; overflow-wrap: anywhere; }
div.xlib-check p { margin: 0; max-width: 60em; }
div.xlib-check b {
  flex: none; box-sizing: border-box; width: 1.7em; height: 1.7em;
  line-height: 1.7em; text-align: center; color: #fff;
}
div.xlib-check .passed { background: #007a59; border-radius: 50%; }
div.xlib-check .wrong { background: #b84e00; border-radius: 4px; }
div.xlib-check .open { border: 2px dashed #808080; border-radius: 50%; color: inherit; line-height: 1.4em; }
div.xlib-check :is(summary, .count) { font-size: .9em; color: color-mix(in srgb, currentColor 72%, transparent); }
div.xlib-check summary { cursor: pointer; }
</style>"""


class Result(NamedTuple):
    """What a check found. `unsolved`: still the stub, which is no mistake. `message`: the line that was printed."""

    passed: bool
    unsolved: bool
    message: str

    def _ipython_display_(self) -> None:
        """Shows nothing: a check ends its cell, and the notebook would repeat what was printed."""


def check(signature, answer, right, cases, mistakes, *, broken=None, number=False, by_hand=False) -> Result:
    """Print the verdict on `answer` and return it. cases: a title, what to say when no known mistake explains the
    answer (what is compared there, never how to get it), and the arguments. mistakes: what to say, and a function
    that makes the mistake; it is named where the answer does the same on two inputs or more. broken: what a stub that
    is not empty computes. number: a plain number is as good as a scalar tensor. by_hand: autograd is no answer."""
    name, *keys = signature.split()
    given = ""  # the input of the case that is looked at

    def fault(at):
        """What to say about the answer in case number `at`; nothing where it is right."""
        nonlocal given
        title, hint, *args = cases[at]
        want, before = _run(right, args), copy.deepcopy(args)
        given = ", ".join(f"{key} = {_show(value)}" for key, value in zip(keys, args, strict=True))
        hint = f"{hint} (input: {given})"
        try:
            got = _run(answer, args)
            if at == 0 and (got[0] is None or got[0] is ...):
                return f"not solved yet: {name} returned {got[0]}"
            for key, old, new in zip(keys, before, args, strict=True):
                if not (torch.equal(old, new) if isinstance(old, Tensor) else old == new):
                    return f"✗ {title}: {name} changed {key} in place. Work on a copy: the caller still needs it"
            if number and isinstance(got[0], (int, float)):
                got[0] = torch.tensor(float(got[0]))
            found, why = _difference(got, want, keys, number)
        except Exception as error:
            code = getattr(inspect.unwrap(answer), "__code__", None)
            if isinstance(error, NotImplementedError) and "NotImplementedError" in getattr(code, "co_names", ()):
                return f"not solved yet: {name} raised NotImplementedError"  # torch has reasons to raise it as well
            calls = [call for call in traceback.extract_tb(error.__traceback__) if call.line]
            lines = [f" at `{call.line}`" for call in calls if code and call.filename == code.co_filename]
            text = f"{type(error).__name__}: {' '.join(str(error).split())}{''.join(lines[:1])}"
            return f"✗ {title}: {name} raised {text}. {hint}"
        if found and broken and _close(_run(broken, args), got):
            return f"not solved yet: {name} still does what the broken version does ({title}: {found})"
        return found and f"✗ {title}: {found}. {_diagnosis(answer, right, cases, mistakes, at) or why or hint}"

    done = f"✓ {name}: {len(cases)} of {len(cases)} ({', '.join(title for title, *_ in cases)})"
    message = next(filter(None, map(fault, range(len(cases)))), done)
    if not callable(answer):
        message = f"✗ {name}: pass the function itself, checks.{name}({name}), and not what it returns"
        given = ""
    unsolved = message.startswith("not solved yet")
    if message is done and by_hand and _differentiated(answer, right, cases[0][2:]):
        message = f"✗ {name}: here autograd finds the gradient. The task asks for the formula, without autograd"
        given = ""
    if not unsolved and (read := _data_read(answer)):
        where = f"from the notebook, which is not one of its arguments ({', '.join(keys)})"
        message = f"✗ {name}: your function reads `{read}` {where}"
        given = ""
    if message is done:
        PASSED.add(name)
    result = "open" if unsolved else "passed" if message is done else "wrong"
    said = "" if unsolved or not callable(answer) else records.keep(name, solved=message is done)
    report.output(message, _as_html(message, given, result, _count(name)))
    if said:
        print(said)
    return Result(message is done, unsolved, message)


def _diagnosis(answer: Callable, right: Callable, cases: list[tuple], mistakes: list[tuple], at: int) -> str:
    """What to say of the known mistake that explains best what the answer does; nothing where none does. A mistake is
    a suspect if the answer equals it in case `at`, the first that failed, and in every case before, and at least on
    one more input on which the mistake shows: one equal number may be chance."""
    got, want = ([_outcome(function, args) for _, _, *args in cases] for function in (answer, right))
    suspects = []
    for says, mistake in mistakes:
        made = [_outcome(mistake, args) for _, _, *args in cases]
        same = [_close(a, b) for a, b in zip(made, got, strict=True)]
        shown = [alike and not _close(a, b) for alike, a, b in zip(same, made, want, strict=True)]
        if all(same[: at + 1]) and sum(shown) >= 2:
            suspects.append((sum(same), says))
    return max(suspects, key=lambda suspect: suspect[0])[1] if suspects else ""


def _differentiated(answer: Callable, right: Callable, args: list) -> bool:
    """Whether a right answer lets torch differentiate. Backwards it then fails: autograd finds no graph in inference
    mode, and torch.func raises where tensors to be saved are hooked. Forwards it would not, and is known by name."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if {"jacfwd", "jvp"}.intersection(getattr(code, "co_names", ())):
        return True
    with torch.inference_mode(), saved_tensors_hooks(lambda saved: saved, lambda saved: saved):
        return not _close(_outcome(answer, args), _outcome(right, args))


def _data_read(answer: Any) -> str | None:
    """The first variable of the notebook with data in it that an answer's code reads. Modules, functions and classes
    are what a notebook is for; so are constants, which have long names in capitals."""
    function = inspect.unwrap(answer) if callable(answer) else None
    there = getattr(function, "__globals__", {})
    for name in _globals_of(getattr(function, "__code__", None)):
        constant = name.isupper() and len(name) > 1
        if isinstance(there.get(name), DATA) and not constant:
            return name
    return None


def _globals_of(code: CodeType | None) -> list[str]:
    """The names of globals that a function reads, or a function within it."""
    if code is None:
        return []
    own = [step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"]
    return own + [name for part in code.co_consts if isinstance(part, CodeType) for name in _globals_of(part)]


def _count(name: str) -> str:
    """How many of a lesson's exercises are solved, now or on an earlier day; nothing for what is no exercise."""
    lesson = next((exercises for exercises in records.LESSONS.values() if name in exercises), {})
    done = (PASSED | records.solved()).intersection(lesson)
    return f"{len(done)} of {len(lesson)} solved in this lesson" if lesson else ""


def _as_html(message: str, given: str, result: str, count: str) -> str:
    """The verdict by sign, shape, colour and words; then the message, and the input folded away.

    result: "passed", "wrong" or "open"."""
    sign, words = {"passed": ("✓", "passed"), "wrong": ("✗", "wrong"), "open": ("·", "not solved yet")}[result]
    text = html.escape(message.removeprefix(f"{sign} ").replace(f" (input: {given})", ""))
    text = re.sub("`(.+?)`", r"<code>\1</code>", text)
    folded = f"<details><summary>the input that showed it</summary><code>{html.escape(given)}</code></details>"
    return (
        f'{STYLE}<div class="xlib-check"><b class="{result}" role="img" aria-label="{words}">{sign}</b>'
        f"<div><p>{text}</p>{folded if result == 'wrong' and given else ''}"
        f'<p class="count">{count}</p></div></div>'
    )


def _outcome(function: Callable, args: list) -> list:
    """What `_run` gives for a copy of the arguments, a plain number as a tensor. An object that equals nothing, where
    the function raises."""
    try:
        value, *gradients = _run(function, copy.deepcopy(args))
    except Exception:
        return [object()]
    return [torch.tensor(float(value)) if isinstance(value, (int, float)) else value, *gradients]


def _run(function: Callable, args: list) -> list:
    """What the function returns, and then the gradient (or None) for each argument that asks for one."""
    wanted = [value for value in args if getattr(value, "requires_grad", False)]
    gradients = [None] * len(wanted)
    with torch.enable_grad():
        value = function(*args)
        if wanted and getattr(value, "requires_grad", False) and value.ndim == 0:
            gradients = torch.autograd.grad(value, wanted, allow_unused=True)
    return [value.detach().cpu() if isinstance(value, Tensor) else value, *gradients]


def _difference(got: list, want: list, keys: list[str], number: bool) -> tuple[str, str]:
    """The first thing that is off, if any (type, shape, dtype, a row, a gradient), and advice, where there is any."""
    mine, true = got[0], want[0]
    if not isinstance(mine, Tensor):
        kind = "scalar tensor" if true.ndim == 0 else f"tensor of shape {tuple(true.shape)}"
        several = isinstance(mine, (tuple, list, dict, set))
        why = "Several things came back: make one tensor of them" if several else "Leave out .item() and .numpy()"
        return f"expected a {kind}, got {type(mine).__name__}", why
    if mine.ndim == 2 and mine.shape != true.shape and _close(mine.T, true):
        return f"expected shape {tuple(true.shape)}, got {tuple(mine.shape)}", "Rows and columns are exchanged"
    if mine.shape != true.shape:
        return f"expected shape {tuple(true.shape)}, got {tuple(mine.shape)}", ""
    if not (number or mine.dtype == true.dtype):
        why = f"The result shall have the input's dtype: some step makes a tensor of its own, in {mine.dtype}"
        return f"expected {true.dtype}, got {mine.dtype}", why
    for at in range(len(true)) if true.ndim else [()]:
        if not _close(mine[at], true[at]):
            texts = ([_show(side[at], digits) for side in (true, mine)] for digits in (4, 8, 17))
            where = f" in row {at}" if true.ndim else ""
            return "expected {}, got {}".format(*next(pair for pair in texts if pair[0] != pair[1])) + where, ""
    for key, mine, true in zip(keys, got[1:], want[1:], strict=False):
        if not _close(mine, true):
            found = f"the value is right, but {'no' if mine is None else 'not the right'} gradient reaches {key}"
            return found, "Something on the way from the loss to it cuts the path: detach, no_grad, a new tensor?"
    return "", ""


def _close(a: Any, b: Any) -> bool:
    """Whether two tensors, or two lists of them, hold the same numbers up to rounding."""
    if isinstance(a, list):
        return all(map(_close, a, b))
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.shape != b.shape:
        return a is b
    tolerance = 1e-9 if a.dtype == b.dtype == torch.float64 else 1e-4  # float32 keeps five digits of a logit of 100
    return torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True)


def _show(value: Any, digits: int = 4) -> str:
    """A small tensor by its values, a big one by shape and dtype, anything else as Python shows it."""
    if not isinstance(value, Tensor):
        return getattr(value, "__name__", repr(value))
    if value.numel() > 30:
        return f"{tuple(value.shape)} {value.dtype}"
    return f"[{', '.join(_show(part, digits) for part in value)}]" if value.ndim else f"{value.item():.{digits}g}"


def unit_rows(n: int, d: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random unit rows, stored column by column, so not contiguous."""
    return normalize(torch.randn(d, n, generator=torch.Generator().manual_seed(seed), dtype=dtype).T, dim=1)


def through(call: Callable, answer: Callable) -> Callable:
    """`call(answer, ...)`, with the answer behind it, where the engine knows a stub and finds the line at fault."""
    if not callable(answer):
        return answer
    wrapped = partial(call, answer)
    wrapped.__wrapped__ = answer
    return wrapped
