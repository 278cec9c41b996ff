"""The exercise checks: `checks.clip_loss(clip_loss)` says that your function is right, or what went wrong.

Each is named like its exercise, prints one line, returns it as a `Result`, and raises nothing. Behind it stand three
things (read them once you have solved it): an oracle, the right answer in float64 and computed in another way than in
the lesson; the cases to compare on; and known mistakes, as functions. Whoever makes one of these mistakes gets the
mistake's numbers, and so the check can name it.
"""

import copy
import itertools
import math
import traceback
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize


class Result(NamedTuple):
    """What a check found. `unsolved`: still the stub, which is no mistake. `message`: the line that was printed."""

    passed: bool
    unsolved: bool
    message: str

    def _ipython_display_(self) -> None:
        """Shows nothing: a check ends its cell, and the notebook would repeat what was printed."""


def _check(signature, answer, right, cases, mistakes, *, broken=None, number=False) -> Result:
    """Print the verdict on `answer` and return it. cases: a title, what to say when no known mistake explains the
    answer, and the arguments. mistakes: what to say, and a function that makes the mistake. broken: what a stub that
    is not empty computes. number: a plain number is as good as a scalar tensor."""
    name, *keys = signature.split()

    def fault(at):
        """What to say about the answer in case number `at`; nothing where it is right."""
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
            code = getattr(answer, "__code__", None)
            if isinstance(error, NotImplementedError) and "NotImplementedError" in getattr(code, "co_names", ()):
                return f"not solved yet: {name} raised NotImplementedError"  # torch has reasons to raise it as well
            calls = [call for call in traceback.extract_tb(error.__traceback__) if call.line]
            lines = [f" at `{call.line}`" for call in calls if code and call.filename == code.co_filename]
            text = f"{type(error).__name__}: {' '.join(str(error).split())}{''.join(lines[:1])}"
            return f"✗ {title}: {name} raised {text}. {hint}"
        if found and broken and _close(_run(broken, args), got):
            return f"not solved yet: {name} still does what the broken version does ({title}: {found})"
        suspects = [(says, mistake) for says, mistake in mistakes if found and _close(_run(mistake, args), got)]
        for _, _, *passed in cases[:at]:  # what would have failed before is no suspect
            suspects = [who for who in suspects if _close(_run(who[1], passed), _run(right, passed))]
        return found and f"✗ {title}: {found}. {suspects[0][0] if suspects else why or hint}"

    done = f"✓ {name}: {len(cases)} of {len(cases)} ({', '.join(title for title, *_ in cases)})"
    message = next(filter(None, map(fault, range(len(cases)))), done)
    if not callable(answer):
        message = f"✗ {name}: pass the function itself, checks.{name}({name}), and not what it returns"
    print(message)
    return Result(message is done, message.startswith("not solved yet"), message)


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
        kind = "scalar tensor" if true.ndim == 0 else "tensor"
        return f"expected a {kind}, got {type(mine).__name__}", "Return the result alone, without .item() or .numpy()"
    if mine.shape != true.shape or not (number or mine.dtype == true.dtype):
        return "expected {}, got {}".format(*(f"shape {tuple(x.shape)}, {x.dtype}" for x in (true, mine))), ""
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


# Lesson 03


def _unit(n: int, d: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random unit rows, stored column by column, so not contiguous."""
    return normalize(torch.randn(d, n, generator=torch.Generator().manual_seed(seed), dtype=dtype).T, dim=1)


def _pairs(of_scale: Callable, *, gradients: bool) -> list[tuple]:
    """Cases for a loss of za, zb and of_scale(scale). gradients: compare them in all cases, not just in the last."""
    table, wide = torch.tensor, torch.float64
    a, b = table([[1, 0], [0.6, 0.8], [0, 1]]), table([[0.8, 0.6], [1, 0], [-0.6, 0.8]])
    overflow = "exp(100) is inf in float32, and the log of a tiny softmax -inf: use log_softmax or cross_entropy"
    rows = [
        ("three pairs", "Row i and column i of scale * za @ zb.T shall pick entry i: average 2 N losses", a, b, 2),
        ("one pair", "One pair has no negatives: the loss is log 1 = 0", a[1:2].clone(), b[:1].clone(), 5),
        ("scale 100", overflow, table([[1, 0], [0.6, 0.8]]), table([[1, 0], [-0.6, -0.8]]), 100),
        ("float64", "A step leaves float64", _unit(7, 5, 0, wide).contiguous(), _unit(7, 5, 1, wide).contiguous(), 7),
        ("not contiguous", "The numbers of a row may lie apart in memory", _unit(7, 5, 2), _unit(7, 5, 3), 7),
        ("gradients", "Nothing may cut the path from the loss to its inputs", _unit(7, 5, 4), _unit(7, 5, 5), 7),
    ]
    cases = [(*row[:4], of_scale(table(float(row[4])))) for row in rows]
    for tensor in itertools.chain(*(case[2:] for case in cases if gradients or case is cases[-1])):
        tensor.requires_grad_()
    return cases


def _costs(za: Tensor, zb: Tensor, scale: Any) -> Tensor:
    """(2, N): what each row of za pays for guessing its row of zb, and each row of zb for guessing its row of za."""
    logits = za.double() @ zb.double().T * scale
    return (torch.stack([logits.logsumexp(dim=1), logits.logsumexp(dim=0)]) - logits.diagonal()).to(za.dtype)


def clip_loss(answer: Callable) -> Result:
    """Check `clip_loss(za, zb, logit_scale)`: InfoNCE of unit rows za and zb (N, d), the mean of both directions."""
    alone = "That is the loss in one direction only, {}: take the mean of both"
    empty = "It has no negatives: a model with one and the same vector for everything would be perfect"
    mistakes = [
        (alone.format("za to zb"), lambda a, b, s: _costs(a, b, s)[0].mean()),
        (alone.format("zb to za"), lambda a, b, s: _costs(a, b, s)[1].mean()),
        ("logit_scale is not used: it multiplies the cosines", lambda a, b, s: _costs(a, b, 1).mean()),
        ("logit_scale is 1 / temperature: multiply, do not divide", lambda a, b, s: _costs(a, b, 1 / s).mean()),
        ("logit_scale is the scale itself, not its logarithm: no exp", lambda a, b, s: _costs(a, b, s.exp()).mean()),
        ("That is the sum of the two directions: take their mean", lambda a, b, s: 2 * _costs(a, b, s).mean()),
        ("That is the sum over the batch: take the mean", lambda a, b, s: _costs(a, b, s).sum() / 2),
        (empty, lambda a, b, s: -(a * b).sum(dim=1).mean()),
        (empty, lambda a, b, s: -s * (a * b).sum(dim=1).mean()),
    ]
    cases = _pairs(lambda scale: scale, gradients=False)
    return _check("clip_loss za zb logit_scale", answer, lambda *given: _costs(*given).mean(), cases, mistakes)


def fixed_loss(answer: Callable) -> Result:
    """Check `fixed_loss(za, zb, log_scale)`: the same loss from the logarithm of the scale, and its gradients. The
    broken version has three mistakes; the first that is left is named, and whether there is another."""

    def loss(za, zb, log_scale, raw=False, twice=False, cut=False):
        costs = _costs(za, zb.detach() if cut else zb, log_scale if raw else log_scale.exp())
        return costs[0].mean() if twice else costs.mean()

    bugs = {
        "raw": "log_scale is a logarithm: the logits want its exp",
        "twice": "Both terms read the rows, image to text: text to image reads the columns, logits.T",
        "cut": "zb is detached: the text encoder never learns",
    }
    mistakes = [("That is the sum of the two directions: take their mean", lambda *given: 2 * loss(*given))]
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]] + " (and there is one more)" * (len(left) - 1)
        mistakes.append((says, partial(loss, **dict.fromkeys(left, True))))
    cases, broken = _pairs(torch.log, gradients=True), partial(loss, raw=True, twice=True, cut=True)
    return _check("fixed_loss za zb log_scale", answer, loss, cases, mistakes, broken=broken)


def recall_at_k(answer: Callable) -> Result:
    """Check `recall_at_k(similarity, targets, k)`: for which share of the rows of similarity (N, M) is the column
    named in targets (N,) among the k most similar, when equally similar columns stand in random order?"""

    def right(similarity, targets, k):
        share = 0.0
        for row, target in zip(similarity.tolist(), targets.tolist(), strict=True):
            ahead, level = sum(other > row[target] for other in row), row.count(row[target])
            share += sum(place < k for place in range(ahead, ahead + level)) / level / len(targets)
        return torch.tensor(share)

    def hits(s, t, k):
        own = s.gather(1, t[:, None])
        return ((k - (s > own).sum(dim=1)) / (s == own).sum(dim=1)).clamp(0, 1)

    mistakes = [
        ("That is recall at 1: k is ignored", lambda s, t, k: hits(s, t, 1).mean()),
        ("The order is ascending: these are the k least similar", lambda s, t, k: hits(-s, t, k).mean()),
        ("targets is ignored", lambda s, t, k: hits(s, torch.arange(len(s)) % s.shape[1], k).mean()),
        ("Divide by the number of rows, not of columns", lambda s, t, k: hits(s, t, k).sum() / s.shape[1]),
        ("Divided by k it is a precision: divide by the rows only", lambda s, t, k: hits(s, t, k).mean() / k),
        ("That is a count: divide by the number of rows", lambda s, t, k: hits(s, t, k).sum()),
        ("Ties count as hits: a collapsed model would look perfect", lambda s, t, k: hits(s, t, k).ceil().mean()),
        ("Ties count as misses: k of M equals are worth k / M", lambda s, t, k: hits(s, t, k).floor().mean()),
    ]
    table, wide = torch.tensor, torch.float64
    five = [[2, 6, 5, 4, 3, 1.0], [3, 2, 5, 4, 6, 1], [6, 2, 4, 3, 1, 5], [6, 3, 2, 4, 5, 1], [5, 2, 3, 1, 4, 6]]
    random = "Equally similar columns stand in random order: what is the share on average over the orders?"
    cases = [
        ("five rows", "Is targets[i] among the k largest of row i?", table(five), table([3, 4, 1, 4, 5]), 2),
        ("all equal", random, torch.zeros(4, 4), table([1, 1, 0, 3]), 2),
        ("one row", random, table([[0.9, 0.5, 0.5, 0.5, 0.1]]), table([1]), 3),
        ("float64", "1 + 1e-9 is more than 1: stay in float64", table([[1, 1 + 1e-9, 0]], dtype=wide), table([0]), 1),
        ("not contiguous", random, (_unit(40, 9, 0) * 5).round(), torch.arange(40) % 9, 3),
        ("large numbers", "Only the order in a row counts", _unit(40, 50, 1) * 1e6, torch.arange(40), 5),
    ]
    return _check("recall_at_k similarity targets k", answer, right, cases, mistakes, number=True)


def zero_shot_classifier(answer: Callable) -> Result:
    """Check `zero_shot_classifier(encode_text, classnames, templates)`: (C, d), for each class the direction of the
    mean of its sentences' unit vectors. encode_text takes a list of B strings and returns (B, d)."""
    unit = partial(normalize, dim=-1)

    def encode_text(texts):  # with an exclamation mark, a vector 99 times as long
        if isinstance(texts, str):
            raise TypeError(f"encode_text takes a list of strings, got the string {texts!r}")
        codes = [(99 if "!" in text else 1, zlib.crc32(text.encode())) for text in texts]
        return torch.tensor([[size * math.sin(n * code) for n in (1, 2, 3, 4)] for size, code in codes])

    def each(encode, names, templates):  # (C, T, d)
        return torch.stack([encode([text.replace("{}", name) for text in templates]) for name in names])

    def right(*given):
        rows = [[row.double() / row.double().square().sum().sqrt() for row in of_class] for of_class in each(*given)]
        return torch.stack([sum(row) / sum(row).square().sum().sqrt() for row in rows]).to(each(*given).dtype)

    mixed = "Classes and templates are mixed up: `for name ... for template ...` gives (C, T, d), in this order"
    mistakes = [
        ("The rows are no unit vectors: normalise the mean as well", lambda *x: unit(each(*x)).mean(1)),
        ("Long vectors outvote short ones: normalise before the mean", lambda *x: unit(each(*x).mean(1))),
        ("Nothing is normalised: neither the sentences nor their mean", lambda *x: each(*x).mean(1)),
        (mixed, lambda e, c, t: unit(unit(each(e, c, t)).reshape(len(t), len(c), -1).mean(0))),
        (mixed, lambda e, c, t: unit(unit(each(e, c, t).transpose(0, 1).reshape(len(c), len(t), -1)).mean(1))),
        ("Only the first template is used", lambda *x: unit(each(*x)[:, 0])),
        ("The templates are not used", lambda e, c, t: unit(e(c))),
        ("Normalised along the wrong dimension: dim=-1", lambda *x: unit(normalize(each(*x), dim=1).mean(1))),
    ]
    two, three = ["cat", "dog"], ["a photo of a {}.", "a drawing of a {}.", "{}"]
    cases = [
        ("two classes", "Unit sentences, their mean by class, unit again", encode_text, two, three),
        ("one template", "One template is a mean of one", encode_text, ["cat", "dog", "owl"], ["a {}"]),
        ("one class", "One class gives shape (1, d)", encode_text, ["cat"], three),
        ("one long vector", "A sentence counts by its direction alone", encode_text, two, ["a {}!", "the {}"]),
        ("float64", "A step leaves float64", lambda texts: encode_text(texts).double(), two, three),
        ("twelve classes", "Each row is of one class", encode_text, [str(n) for n in range(12)], three),
    ]
    return _check("zero_shot_classifier encode_text classnames templates", answer, right, cases, mistakes)
