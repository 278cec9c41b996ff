"""The exercise checks tell right from wrong, name the mistake, and never raise; a lesson's notebook can be read."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from IPython.core.formatters import DisplayFormatter
from lessons import lesson, parts

from xlib import clip, contrastive
from xlib.course import checks
from xlib.course.checks import engine
from xlib.retrieval import retrieval


def cosine_table(za, zb, scale):
    return scale * za @ zb.T


def clip_loss(za, zb, logit_scale):
    logits, labels = cosine_table(za, zb, logit_scale), torch.arange(len(za))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def fixed_loss(za, zb, log_scale):
    return clip_loss(za, zb, log_scale.exp())


def broken_loss(za, zb, log_scale):
    """As the lesson prints it, with three mistakes planted."""
    logits = log_scale * za @ zb.detach().T
    labels = torch.arange(len(za))
    image_to_text = F.cross_entropy(logits, labels)
    text_to_image = F.cross_entropy(logits, labels)
    return (image_to_text + text_to_image) / 2


def recall_at_k(similarity, targets, k):
    own = similarity.gather(1, targets[:, None])
    ahead, level = (similarity > own).sum(dim=1), (similarity == own).sum(dim=1)
    return ((k - ahead) / level).clamp(0, 1).mean()


def zero_shot_classifier(encode_text, classnames, templates):
    rows = []
    for name in classnames:
        sentences = F.normalize(encode_text([template.format(name) for template in templates]), dim=-1)
        rows.append(F.normalize(sentences.mean(dim=0), dim=0))
    return torch.stack(rows)


def recall_with_xlib(similarity, targets, k):
    gallery = torch.eye(similarity.shape[1], dtype=similarity.dtype)
    return retrieval(similarity, gallery, k=[k], targets=targets, resamples=1)[k].value


EXERCISES = {answer.__name__: answer for answer in (clip_loss, fixed_loss, recall_at_k, zero_shot_classifier)}
RIGHT = [
    *EXERCISES.items(),
    ("clip_loss", lambda za, zb, logit_scale: contrastive.info_nce(za, zb, logit_scale=logit_scale)),
    ("fixed_loss", lambda za, zb, log_scale: contrastive.info_nce(za, zb, logit_scale=log_scale.exp())),
    ("recall_at_k", recall_with_xlib),
    ("recall_at_k", lambda *given: recall_at_k(*given).item()),
    ("recall_at_k", lambda *given: recall_at_k(*given).double()),
    ("zero_shot_classifier", clip.zero_shot_weights),
]


def check(exercise, answer):
    return getattr(checks, exercise)(answer)


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
def test_right_answer_passes_and_the_line_is_printed_once(exercise, answer, capsys):
    result = check(exercise, answer)
    assert result.passed
    assert not result.unsolved
    assert result.message.startswith(f"✓ {exercise}: ")
    assert capsys.readouterr().out == result.message + "\n"


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("empty", [None, ...])
def test_stub_is_reported_not_raised(exercise, empty, capsys):
    result = check(exercise, lambda *given: empty)
    assert not result.passed
    assert result.unsolved
    assert result.message == f"not solved yet: {exercise} returned {empty}"
    assert capsys.readouterr().out == result.message + "\n"


def unwritten(*given):
    raise NotImplementedError("your code here")


@pytest.mark.parametrize("exercise", EXERCISES)
def test_stub_that_raises_is_reported(exercise):
    result = check(exercise, unwritten)
    assert result == (False, True, f"not solved yet: {exercise} raised NotImplementedError")


def test_not_implemented_error_of_torch_is_no_stub():
    result = checks.clip_loss(lambda za, zb, scale: (za @ zb.T).int().softmax(dim=1))
    assert not result.unsolved
    assert "NotImplementedError" in result.message
    assert "not implemented for 'Int'" in result.message


def test_untouched_broken_version_counts_as_unsolved_and_gives_nothing_away():
    result = checks.fixed_loss(broken_loss)
    assert result.unsolved
    assert not result.passed
    assert result.message.startswith("not solved yet: fixed_loss still does what the broken version does")
    assert not any(word in result.message for word in ("exp ", "exp(", "logarithm", "logits.T", "detach"))


def naive(za, zb, scale):
    table = cosine_table(za, zb, scale).exp()
    right = table.diagonal()
    return -((right / table.sum(dim=1)).log() + (right / table.sum(dim=0)).log()).mean() / 2


def softmax_then_log(za, zb, scale):
    table = cosine_table(za, zb, scale)
    return -(table.softmax(dim=1).log() + table.softmax(dim=0).log()).diagonal().mean() / 2


def mean_then_guess(za, zb, scale):
    labels = torch.arange(len(za))
    return F.cross_entropy(cosine_table(za, zb, scale), labels, reduction="sum") / len(za)


def one_bug_left(raw=False, twice=False, cut=False):
    def loss(za, zb, log_scale):
        logits = (log_scale if raw else log_scale.exp()) * za @ (zb.detach() if cut else zb).T
        labels = torch.arange(len(za))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits if twice else logits.T, labels)) / 2

    return loss


def topk_recall(similarity, targets, k):
    return (similarity.topk(k, dim=1).indices == targets[:, None]).any(dim=1).float().mean()


def counted(similarity, targets, k):
    return ((similarity > similarity.gather(1, targets[:, None])).sum(dim=1) < k).float().mean()


def all_sentences(encode_text, classnames, templates, order="classes first"):
    if order == "classes first":
        return encode_text([template.format(name) for name in classnames for template in templates])
    return encode_text([template.format(name) for template in templates for name in classnames])


def unit(x):
    return F.normalize(x, dim=-1)


def by_class(encode_text, classnames, templates):
    return all_sentences(encode_text, classnames, templates).reshape(len(classnames), len(templates), -1)


# (exercise, what a learner might write, what the message must say)
WRONG = {
    "one direction": ("clip_loss", mean_then_guess, "one direction only, za to zb"),
    "the other direction": ("clip_loss", lambda a, b, s: mean_then_guess(b, a, s), "one direction only, zb to za"),
    "no scale": ("clip_loss", lambda a, b, s: clip_loss(a, b, 1), "logit_scale is not used"),
    "divided by the scale": ("clip_loss", lambda a, b, s: clip_loss(a, b, 1 / s), "do not divide"),
    "exp of the scale": ("clip_loss", lambda a, b, s: clip_loss(a, b, s.exp()), "no exp"),
    "sum of directions": ("clip_loss", lambda a, b, s: 2 * clip_loss(a, b, s), "sum of the two directions"),
    "sum over the batch": ("clip_loss", lambda a, b, s: len(a) * clip_loss(a, b, s), "sum over the batch"),
    "no negatives": ("clip_loss", lambda a, b, s: -(a * b).sum(1).mean(), "no negatives"),
    "scaled, no negatives": ("clip_loss", lambda a, b, s: -(a @ b.T).diagonal().mean() * s, "no negatives"),
    "naive exp and log": ("clip_loss", naive, "exp(100) is inf in float32"),
    "log of a softmax": ("clip_loss", softmax_then_log, "log of a tiny softmax"),
    "row losses": ("clip_loss", lambda a, b, s: -cosine_table(a, b, s).log_softmax(1).diagonal(), "shape (3,)"),
    "float": (
        "clip_loss",
        lambda *given: clip_loss(*given).item(),
        "got float. Return the result alone, without .item()",
    ),
    "numpy": ("clip_loss", lambda *given: clip_loss(*given).detach().numpy(), "got ndarray. Return the result alone"),
    "tuple": ("clip_loss", lambda *given: (clip_loss(*given), 0), "expected a scalar tensor, got tuple"),
    "list": ("clip_loss", lambda *given: [clip_loss(*given)], "expected a scalar tensor, got list"),
    "to float32": (
        "clip_loss",
        lambda a, b, s: clip_loss(a.float(), b.float(), s),
        "torch.float64, got shape (), torch.float32",
    ),
    "by way of float32": (
        "clip_loss",
        lambda a, b, s: clip_loss(a.float(), b.float(), s).to(a.dtype),
        "A step leaves float64",
    ),
    "view": ("clip_loss", lambda a, b, s: clip_loss(a.view(-1).view(a.shape), b, s), "may lie apart in memory"),
    "detached": ("clip_loss", lambda *given: clip_loss(*given).detach(), "no gradient reaches za"),
    "squeezed": ("clip_loss", lambda a, b, s: clip_loss(a.squeeze(0), b, s), "One pair has no negatives"),
    "None for one pair": ("clip_loss", lambda a, b, s: clip_loss(a, b, s) if len(a) > 1 else None, "got NoneType"),
    "raw log_scale left": ("fixed_loss", one_bug_left(raw=True), "log_scale is a logarithm"),
    "rows twice left": ("fixed_loss", one_bug_left(twice=True), "Both terms read the rows"),
    "detach left": ("fixed_loss", one_bug_left(cut=True), "no gradient reaches zb. zb is detached"),
    "first two left": (
        "fixed_loss",
        one_bug_left(raw=True, twice=True),
        "logarithm: the logits want its exp (and there",
    ),
    "last two left": ("fixed_loss", one_bug_left(twice=True, cut=True), "rows, image to text"),
    "first and last left": (
        "fixed_loss",
        one_bug_left(raw=True, cut=True),
        "logarithm: the logits want its exp (and there",
    ),
    "directions summed": ("fixed_loss", lambda *given: 2 * fixed_loss(*given), "sum of the two directions"),
    "scale detached": ("fixed_loss", lambda a, b, s: fixed_loss(a, b, s.detach()), "no gradient reaches log_scale"),
    "no grad": ("fixed_loss", torch.no_grad()(fixed_loss), "no gradient reaches za"),
    "a gradient doubled": (
        "fixed_loss",
        lambda a, b, s: fixed_loss(2 * a - a.detach(), b, s),
        "not the right gradient reaches za",
    ),
    "k ignored": ("recall_at_k", lambda s, t, k: (s.argmax(1) == t).float().mean(), "k is ignored"),
    "ascending": ("recall_at_k", lambda s, t, k: topk_recall(-s, t, k), "ascending"),
    "ties as hits": ("recall_at_k", counted, "a collapsed model would look perfect"),
    "ties as misses": (
        "recall_at_k",
        lambda s, t, k: recall_at_k(s, t, k).floor() if len(s) == 4 else recall_at_k(s, t, k),
        "Ties count as misses",
    ),
    "ties as topk has them": ("recall_at_k", topk_recall, "random order"),
    "targets ignored": (
        "recall_at_k",
        lambda s, t, k: recall_at_k(s, torch.arange(len(s)), k),
        "targets is ignored",
    ),
    "divided by columns": (
        "recall_at_k",
        lambda s, t, k: recall_at_k(s, t, k) * len(s) / s.shape[1],
        "not of columns",
    ),
    "precision": ("recall_at_k", lambda s, t, k: recall_at_k(s, t, k) / k, "precision"),
    "count": ("recall_at_k", lambda s, t, k: recall_at_k(s, t, k) * len(s), "That is a count"),
    "rounded to float32": (
        "recall_at_k",
        lambda s, t, k: recall_at_k(s.float(), t, k),
        "1 + 1e-9 is more than 1",
    ),
    "viewed": (
        "recall_at_k",
        lambda s, t, k: recall_at_k(s.view(-1).view(s.shape), t, k),
        "not contiguous: recall_at_k raised",
    ),
    "capped at 1": (
        "recall_at_k",
        lambda s, t, k: recall_at_k(s.clamp(-1e3, 1e3), t, k),
        "Only the order in a row counts",
    ),
    "hits not averaged": ("recall_at_k", lambda s, t, k: s.gather(1, t[:, None]), "got shape (5, 1)"),
    "array": ("recall_at_k", lambda *given: np.array(0.6), "got ndarray. Return the result alone"),
    "string": ("recall_at_k", lambda *given: "60%", "expected a scalar tensor, got str"),
    "no final unit": (
        "zero_shot_classifier",
        lambda *given: unit(by_class(*given)).mean(1),
        "normalise the mean as well",
    ),
    "no unit before": (
        "zero_shot_classifier",
        lambda *given: unit(by_class(*given).mean(1)),
        "normalise before the mean",
    ),
    "no unit at all": ("zero_shot_classifier", lambda *given: by_class(*given).mean(1), "Nothing is normalised"),
    "mixed up": (
        "zero_shot_classifier",
        lambda e, c, t: unit(unit(all_sentences(e, c, t)).reshape(len(t), len(c), -1).mean(0)),
        "Classes and templates are mixed up",
    ),
    "mixed up the other way": (
        "zero_shot_classifier",
        lambda e, c, t: unit(unit(all_sentences(e, c, t, "templates first")).reshape(len(c), len(t), -1).mean(1)),
        "Classes and templates are mixed up",
    ),
    "a row a template": (
        "zero_shot_classifier",
        lambda e, c, t: zero_shot_classifier(e, t, c),
        "expected shape (2, 4), torch.float32, got shape (3, 4)",
    ),
    "first template": ("zero_shot_classifier", lambda e, c, t: zero_shot_classifier(e, c, t[:1]), "first template"),
    "bare names": ("zero_shot_classifier", lambda e, c, t: unit(e(c)), "The templates are not used"),
    "default dim": (
        "zero_shot_classifier",
        lambda *given: unit(F.normalize(by_class(*given)).mean(1)),
        "wrong dimension",
    ),
    "one string": ("zero_shot_classifier", lambda e, c, t: e(t[0].format(c[0])), "takes a list of strings"),
    "float32": (
        "zero_shot_classifier",
        lambda *given: zero_shot_classifier(*given).float(),
        "torch.float64, got shape (2, 4)",
    ),
    "one class squeezed": (
        "zero_shot_classifier",
        lambda *given: zero_shot_classifier(*given).squeeze(0),
        "got shape (4,)",
    ),
    "two classes only": (
        "zero_shot_classifier",
        lambda e, c, t: zero_shot_classifier(e, c[:3] + ["9"] * (len(c) - 3), t),
        "in row 3",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_named(name, capsys):
    exercise, answer, says = WRONG[name]
    result = check(exercise, answer)
    assert not result.passed
    assert not result.unsolved
    assert result.message.startswith("✗ ")
    assert says in result.message
    assert "\n" not in result.message
    assert capsys.readouterr().out == result.message + "\n"


def explode(*given):
    raise ValueError("two\nlines")


@pytest.mark.parametrize("exercise", EXERCISES)
def test_exceptions_are_reported_with_type_message_place_and_input(exercise):
    result = check(exercise, explode)
    assert not result.passed
    assert not result.unsolved
    assert 'raised ValueError: two lines at `raise ValueError("two\\nlines")`. ' in result.message
    first = {
        "recall_at_k": "similarity = [[2, 6, 5, 4, 3, 1], ",
        "zero_shot_classifier": "encode_text = encode_text, ",
    }
    assert "(input: " + first.get(exercise, "za = [[1, 0], [0.6, 0.8], [0, 1]], ") in result.message


def test_exception_late_describes_a_big_input_by_shape_and_dtype():
    def late(za, zb, scale):
        return clip_loss(za, zb, scale) if len(za) < 6 else explode()

    message = checks.clip_loss(late).message
    assert message.startswith("✗ float64: clip_loss raised ValueError")
    assert "za = (7, 5) torch.float64" in message

    def later(similarity, targets, k):
        return recall_at_k(similarity, targets, k) if len(similarity) < 6 else explode()

    assert "similarity = (40, 9) torch.float32" in checks.recall_at_k(later).message


def test_wrong_number_of_arguments_is_reported():
    assert "raised TypeError" in checks.clip_loss(lambda za: za).message


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass_through(stop):
    def interrupted(*given):
        raise stop

    with pytest.raises(stop):
        checks.clip_loss(interrupted)


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("value", [None, torch.tensor(1.0)])
def test_the_result_in_place_of_the_function_is_explained(exercise, value, capsys):
    result = check(exercise, value)
    assert result == (False, False, capsys.readouterr().out.strip())
    assert f"pass the function itself, checks.{exercise}({exercise})" in result.message


def shift(za, zb, scale):
    zb += 1
    return clip_loss(za, zb - 1, scale)


def sort_rows(similarity, targets, k):
    answer = recall_at_k(similarity, targets, k)
    similarity.copy_(similarity.sort(dim=1).values)
    return answer


def append(encode_text, classnames, templates):
    answer = zero_shot_classifier(encode_text, classnames, templates)
    templates.append("{}")
    return answer


def through_data(za, zb, log_scale):
    answer = fixed_loss(za, zb, log_scale)
    za.data.mul_(2)
    return answer


@pytest.mark.parametrize(
    ("exercise", "answer", "what"),
    [
        ("clip_loss", shift, "zb"),
        ("recall_at_k", sort_rows, "similarity"),
        ("zero_shot_classifier", append, "templates"),
        ("fixed_loss", through_data, "za"),
    ],
)
def test_changes_in_place_are_reported_and_spoil_nothing(exercise, answer, what):
    assert f"{exercise} changed {what} in place" in check(exercise, answer).message
    assert check(exercise, EXERCISES[exercise]).passed


def test_works_without_gradients_around_it_and_leaves_random_numbers_alone():
    state = torch.random.get_rng_state()
    with torch.no_grad():
        assert checks.fixed_loss(fixed_loss).passed
        assert "no gradient reaches zb" in checks.fixed_loss(one_bug_left(cut=True)).message
    assert checks.recall_at_k(recall_at_k).passed
    assert torch.equal(state, torch.random.get_rng_state())


def test_notebook_does_not_show_the_message_twice():
    assert DisplayFormatter().format(checks.clip_loss(clip_loss)) == ({}, {})


# The machinery itself: oracles against slower ones, and every known mistake caught and named.


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_known_mistake_is_caught_and_named_by_its_own_words(exercise):
    _, _, mistakes = parts(exercise)
    for says, mistake in mistakes:
        result = check(exercise, mistake)
        assert not result.passed
        assert result.message.endswith(". " + says)


def test_cases_hold_what_they_say():
    for exercise in EXERCISES:
        _, cases, _ = parts(exercise)
        by_title = {title: args for title, _, *args in cases}
        if exercise == "zero_shot_classifier":
            assert by_title["float64"][0](["a"]).dtype == torch.float64
            assert len(by_title["one class"][1]) == len(by_title["one template"][2]) == 1
            lengths = by_title["one long vector"][0](["a cat!", "the cat"]).norm(dim=1)
            assert lengths[0] > 30 * lengths[1]
            continue
        assert not by_title["not contiguous"][0].is_contiguous()
        assert by_title["float64"][0].dtype == torch.float64
        assert len(by_title["one row" if exercise == "recall_at_k" else "one pair"][0]) == 1
        if exercise == "recall_at_k":
            assert by_title["all equal"][0].unique().numel() == 1
            assert by_title["large numbers"][0].abs().max() > 1e5
        else:
            learning = [title for title, args in by_title.items() if all(value.requires_grad for value in args)]
            assert learning == (["gradients"] if exercise == "clip_loss" else list(by_title))
            for za, zb, _ in by_title.values():
                for rows in (za, zb):
                    torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows), dtype=rows.dtype))


def loss_in_loops(za, zb, scale):
    """InfoNCE with Python's own numbers, and its gradients from p - [i = j]."""
    za, zb, n = za.tolist(), zb.tolist(), len(za)
    cosines = [[sum(map(lambda x, y: x * y, a, b)) for b in zb] for a in za]
    share = [[0.0] * n for _ in za]
    loss = 0.0
    for i, j in itertools.product(range(n), repeat=2):
        row = [scale * x for x in cosines[i]]
        column = [scale * line[j] for line in cosines]
        for others in (row, column):
            top = max(others)
            p = math.exp(scale * cosines[i][j] - top) / sum(math.exp(x - top) for x in others)
            share[i][j] += (p - (i == j)) / (2 * n)
            if i == j:
                loss += (top + math.log(sum(math.exp(x - top) for x in others)) - scale * cosines[i][i]) / (2 * n)
    for_scale = sum(share[i][j] * cosines[i][j] for i in range(n) for j in range(n))
    for_za = [[scale * sum(share[i][j] * zb[j][d] for j in range(n)) for d in range(len(zb[0]))] for i in range(n)]
    for_zb = [[scale * sum(share[i][j] * za[i][d] for i in range(n)) for d in range(len(za[0]))] for j in range(n)]
    return [loss, for_za, for_zb, for_scale]


@pytest.mark.parametrize("exercise", ["clip_loss", "fixed_loss"])
def test_oracle_of_the_losses_agrees_with_loops_in_value_and_gradient(exercise):
    right, cases, _ = parts(exercise)
    compared = 0
    for _, _, za, zb, last in cases:
        scale = last.exp().item() if exercise == "fixed_loss" else last.item()
        expected = loss_in_loops(za, zb, scale)
        if exercise == "fixed_loss":
            expected[3] *= scale
        got = engine._run(right, [za, zb, last])
        compared += len(got)
        for mine, loops in zip(got, expected, strict=False):
            torch.testing.assert_close(mine.double(), torch.tensor(loops).double(), rtol=1e-4, atol=1e-4)
    assert compared == (4 * len(cases) if exercise == "fixed_loss" else len(cases) + 3)


def test_oracle_of_recall_agrees_with_an_average_over_all_orders():
    right, _, _ = parts("recall_at_k")
    generator = torch.Generator().manual_seed(0)
    for k in (1, 2, 3, 5):
        similarity = torch.randint(0, 3, (4, 5), generator=generator).double()
        targets = torch.randint(0, 5, (4,), generator=generator)
        orders = torch.tensor(list(itertools.permutations(range(5))))
        found = []
        for row, target in zip(similarity, targets, strict=True):
            places = row[orders].argsort(dim=1, descending=True, stable=True)[:, :k]
            found.append((orders.gather(1, places) == target).any(dim=1).double().mean())
        assert right(similarity, targets, k).item() == pytest.approx(torch.stack(found).mean().item(), abs=1e-6)


# Reading lessons

PROSE = """### Exercise 1

<details><summary>Hint 1</summary>
```python
def area(r): return "a hint"
```
</details>
<details><summary><b>Solution</b></summary>

```python
def half(x):
    return x / 2


def area(r):
    return half(math.tau) * r * r
```
</details>
"""
STUB = '''def area(r):
    """The area of a circle."""
    ...                              # your code

checks.area(area)
'''
SHOWN = """%matplotlib inline
import nowhere_to_be_found
!ls

@torch.no_grad()
def shown(x):
    return x + 1

print(shown(1))
"""


@pytest.fixture
def circle(tmp_path):
    cells = [("code", SHOWN), ("markdown", PROSE), ("code", STUB)]
    stored = [{"cell_type": kind, "source": text.splitlines(keepends=True)} for kind, text in cells]
    (tmp_path / "circle.ipynb").write_text(json.dumps({"cells": stored}), "utf-8")
    return lesson("circle", tmp_path)


def test_lesson_gives_solution_stub_and_source(circle):
    assert circle.functions() == {"area"}
    assert circle.solution("area")(2) == pytest.approx(4 * math.pi)
    assert circle.stub("area")(2) is None  # and the check, which does not exist, was not called
    assert circle.source("area") == STUB.split("\n\n")[0]
    assert circle.source("shown") == "@torch.no_grad()\ndef shown(x):\n    return x + 1"


@pytest.mark.parametrize(("what", "function"), [("solution", "shown"), ("stub", "shown"), ("source", "half")])
def test_lesson_says_what_is_missing(circle, what, function):
    with pytest.raises(LookupError, match=f"circle has no .* of {function}"):
        getattr(circle, what)(function)
