"""Predict, then look: a question that keeps the result of its cell folded until it has been answered or skipped.

All of it happens in the browser, so it works in a reopened notebook without a kernel and on the course's site.
What was said is kept there as well (localStorage, under the question's name). Where scripts do not
run, question and result are plain text, and nothing is folded.
"""

import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import torch

from xlib.course import _table, report

HERE = Path(__file__).parent
STYLE, SCRIPT = (HERE.joinpath(f"predict.{kind}").read_text("utf-8") for kind in ("css", "js"))


@dataclass(frozen=True)
class Question:
    """A question that stands in the notebook, as `predict` returns it; `answer` says what is true.

    Example:
        >>> question = predict("02/push", "Does the push rise?", choices=["it rises", "it falls"])
        Predict: Does the push rise? (it rises / it falls)
        >>> question.answer("it falls", words="The hardest negative takes all.")
        Answer: it falls. The hardest negative takes all.
    """

    name: str
    choices: tuple[str, ...] = ()
    decimals: int | None = None
    unit: str = ""

    def answer(self, truth: str | float | torch.Tensor, *, words: str = "") -> None:
        """Say what the run shows, at the end of the cell: the right choice, or the number. words: a sentence more.

        Raises ValueError where truth is none of the choices or not finite, TypeError where it is no number.
        """
        if self.choices:
            if truth not in self.choices:
                raise ValueError(f"truth must be one of {self.choices}, got {truth!r}")
            value = text = truth
        else:
            if isinstance(truth, bool | str) or not hasattr(truth, "__float__"):
                raise TypeError(f"truth must be a number, got {type(truth).__name__}")
            value = float(truth)
            if not math.isfinite(value):
                raise ValueError(f"truth must be finite, got {value}")
            text = f"{_written(value, self.decimals)} {self.unit}".strip()
        found = {"name": self.name, "truth": {"text": text, "value": value}, "words": words}
        plain = f"Answer: {text}. {words}".strip()
        _show(plain, "xlib-truth", {"truth": found})


def predict(
    name: str,
    question: str,
    *,
    slider: tuple[float, float, float] | None = None,
    choices: Sequence[str] | None = None,
    number: str | None = None,
) -> Question:
    """Ask before the result is shown: what the same cell displays afterwards stays folded until an answer is given.

    It stands on the first line of the cell, and `question.answer(truth)` on the last. The cell runs in any case.
    Args:
        name: lesson and question, such as "02/push"; the guess is kept in the browser under it.
        question: plain text.
        slider, choices, number: one of the three. slider: (lowest, highest, step), without a first position. choices:
            two or more texts. number: a field to type into, with this unit behind it ("" for none).
    Raises ValueError for another kind of name, an empty question, none or two ways to answer, an empty slider, or
    fewer than two different choices.

    Example:
        >>> question = predict("00/blind", "Which share finds its caption untrained?", slider=(0, 1, 0.01))
        Predict: Which share finds its caption untrained? (from 0 to 1)
        >>> question.answer(1 / 30)
        Answer: 0.03.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"name must be lesson and question, such as '02/push', got {name!r}")
    if not question.strip():
        raise ValueError("question must say what is asked, got an empty text")
    if sum(way is not None for way in (slider, choices, number)) != 1:
        raise ValueError("predict needs one of slider=, choices= and number=")
    ask, decimals = {"name": name, "question": question}, None
    if slider is not None:
        low, high, step = slider
        if not (low < high and 0 < step <= high - low):
            raise ValueError(f"slider must be (lowest, highest, step), lowest first, got {slider}")
        decimals = max(0, -Decimal(str(step)).as_tuple().exponent)
        ask |= {"slider": [low, high, step], "scale": high - low, "decimals": decimals}
        ways = f"from {low:g} to {high:g}"
    elif choices is not None:
        if isinstance(choices, str) or len(set(choices)) < max(2, len(choices)) or not all(map(str.strip, choices)):
            raise ValueError(f"choices must be two or more different texts, got {choices!r}")
        ask["choices"] = list(choices)
        ways = " / ".join(choices)
    else:
        ask["unit"] = number
        ways = f"a number of {number}" if number else "a number"
    plain = f"Predict: {question} ({ways})"
    _show(plain, "xlib-predict", {"asked": ask})
    return Question(name, tuple(choices or ()), decimals, number or "")


def guesses(lesson: str) -> None:
    """Display how the guesses of a lesson went: how many, how many right, how far off, and each of them. It follows
    what is answered above it.

    lesson: what stands before the slash in the names of its questions, such as "02". ValueError for anything else.
    Example:
        >>> guesses("02")
        How your guesses went is shown in the browser, beside the questions.
        >>> guesses("02/push")
        Traceback (most recent call last):
        ValueError: lesson must be what stands before the slash, such as '02', got '02/push'
    """
    if not re.fullmatch(r"[\w.-]+", lesson):
        raise ValueError(f"lesson must be what stands before the slash, such as '02', got {lesson!r}")
    plain = "How your guesses went is shown in the browser, beside the questions."
    _show(plain, "xlib-predict", {"lesson": lesson})


def _show(plain: str, kind: str, told: dict) -> None:
    """One output: the text, in an element that tells the script what to put in its place."""
    data = html.escape(json.dumps(told))
    inside = f"<p>{html.escape(plain)}</p><script>{SCRIPT}</script>"
    report.output(plain, f'<style>{STYLE}</style><div class="{kind}" data-xlib="{data}">{inside}</div>')


def _written(value: float, decimals: int | None) -> str:
    """With so many decimals; three digits where nothing is said. Never -0."""
    if decimals is None:
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value + 0.0:.3g}"
    return _table.digits(value, decimals)
