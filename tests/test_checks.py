"""What the checks do with an answer, and what is special about some; a lesson's notebook can be read. That each check
tells right from wrong is in test_exercises.py."""

import itertools
import json
import math
import re

import pytest
import torch
import torch.nn.functional as F
from answers.clip import clip_loss, fixed_loss, one_bug_left, recall_at_k, zero_shot_classifier
from answers.scale import with_autograd_grad
from IPython.core.formatters import DisplayFormatter
from lessons import lesson, parts

from xlib import mmd
from xlib.course import checks
from xlib.course.checks import engine

EXERCISES = {answer.__name__: answer for answer in (clip_loss, fixed_loss, recall_at_k, zero_shot_classifier)}


def check(exercise, answer):
    return getattr(checks, exercise)(answer)


def test_not_implemented_error_of_torch_is_no_stub():
    result = checks.clip_loss(lambda za, zb, scale: (za @ zb.T).int().softmax(dim=1))
    assert not result.unsolved
    assert "NotImplementedError" in result.message
    assert "not implemented for 'Int'" in result.message


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


# -- when a mistake is named


def doubled(x):
    return 2 * x


def tried(answer, *, mistakes, inputs=(2.0, 3.0, 5.0), **options):
    """The message on an answer that should double its input."""
    cases = [(f"at {x:g}", f"the double of {x:g}", torch.tensor(x)) for x in inputs]
    return engine.check("double x", answer, doubled, cases, mistakes, **options).message


def test_a_mistake_is_named_where_two_inputs_show_it():
    assert tried(lambda x: x + 3, mistakes=[("Three more", lambda x: x + 3)]).endswith("got 5. Three more")


def test_one_equal_number_is_no_diagnosis():
    message = tried(lambda x: x * x, mistakes=[("Four", lambda x: torch.tensor(9.0))], inputs=(3.0, 5.0, 7.0))
    assert message == "✗ at 3: expected 6, got 9. the double of 3 (input: x = 3)"


def test_a_mistake_that_would_have_failed_before_is_none():
    broken_at_once = [("Always ten more", lambda x: 2 * x + 10)]
    message = tried(lambda x: 2 * x if x < 3 else 2 * x + 10, mistakes=broken_at_once)
    assert message == "✗ at 3: expected 6, got 16. the double of 3 (input: x = 3)"


def test_of_two_mistakes_the_one_that_explains_more_is_named():
    early = ("Wrong below five", lambda x: x + 7 if x < 5 else doubled(x))
    always = ("Seven more", lambda x: x + 7)
    for mistakes in ([early, always], [always, early]):
        assert tried(early[1], mistakes=mistakes).endswith(". Wrong below five")
        assert tried(always[1], mistakes=mistakes, inputs=(2.0, 3.0, 6.0)).endswith(". Seven more")


def test_a_plain_number_is_compared_with_the_mistakes_too():
    mistakes = [("Three more", lambda x: x + 3)]
    assert tried(lambda x: x.item() + 3, mistakes=mistakes, number=True).endswith("got 5. Three more")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            lambda x: (2 * x, x),
            "expected a scalar tensor, got tuple. Several things came back: make one tensor of them",
        ),
        (lambda x: 2 * x.item(), "expected a scalar tensor, got float. Leave out .item() and .numpy()"),
        (
            lambda x: 2 * x.double(),
            "expected torch.float32, got torch.float64. The result shall have the input's dtype",
        ),
        (lambda x: 2 * x[None], "expected shape (), got (1,)"),
    ],
)
def test_what_is_no_number_of_that_kind_is_told(answer, says):
    assert says in tried(answer, mistakes=[])


def test_a_transposed_table_is_told():
    cases = [("a table", "a table", torch.arange(6.0).view(2, 3))]
    message = engine.check("double x", lambda x: 2 * x.T, doubled, cases, []).message
    assert message == "✗ a table: expected shape (2, 3), got (3, 2). Rows and columns are exchanged"


def by_backward(x):
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        leaf.square().sum().backward()
    return leaf.grad


def by_func(x):
    return torch.func.grad(lambda y: y.square().sum())(x)


def by_backward_in_a_helper(x):
    return by_backward(x)


def by_func_in_a_helper(x):
    return by_func(x)


def by_vjp(x):
    _, back = torch.func.vjp(lambda y: y.square().sum(), x)
    return back(torch.ones(()))[0]


def by_jvp(x):
    return torch.func.jacfwd(lambda y: y.square().sum())(x)


def by_jacobian(x):
    return torch.autograd.functional.jacobian(lambda y: y.square().sum(), x)


@pytest.mark.parametrize(
    "answer", [by_backward, by_func, by_backward_in_a_helper, by_func_in_a_helper, by_vjp, by_jvp, by_jacobian]
)
def test_autograd_is_no_answer_where_a_formula_is_asked_for(answer):
    assert tried(answer, mistakes=[]).startswith("✓")
    assert "without autograd" in tried(answer, mistakes=[], by_hand=True)
    assert tried(doubled, mistakes=[], by_hand=True).startswith("✓")


# -- what the answer reads beside its arguments

bias = torch.tensor(3.0)
offsets = [0.0]
N = 3
EPS = 1e-9


def half(x):
    return x / 2


def reads_bias(za, zb, scale):
    return clip_loss(za, zb, scale) + 0 * bias


def reads_a_list_within(za, zb, scale):
    return sum((clip_loss(za, zb, scale) for _ in offsets), 0.0)


def reads_n(za, zb, scale):
    return F.cross_entropy(scale * za @ zb.T, torch.arange(N))


@torch.enable_grad()
def reads_behind_a_decorator(za, zb, scale):
    return clip_loss(za, zb, scale) + 0 * bias


@pytest.mark.parametrize(
    ("answer", "name"),
    [(reads_bias, "bias"), (reads_a_list_within, "offsets"), (reads_n, "N"), (reads_behind_a_decorator, "bias")],
)
def test_an_answer_that_reads_data_of_the_notebook_is_told_so(answer, name, capsys):
    result = checks.clip_loss(answer)
    assert (result.passed, result.unsolved) == (False, False)
    says = f"✗ clip_loss: your function reads `{name}` from the notebook, which is not one of its arguments"
    assert result.message == f"{says} (za, zb, logit_scale)"
    assert capsys.readouterr().out == result.message + "\n"


def test_modules_functions_and_constants_may_be_read_and_own_names_are_no_globals():
    def fine(za, zb, scale):
        bias = torch.zeros(())  # noqa: F841  its own
        return 2 * half(clip_loss(za, zb, scale)) + EPS - EPS

    assert checks.clip_loss(fine).passed


def test_a_stub_that_reads_data_is_still_unsolved():
    def stub(za, zb, scale):
        bias  # noqa: B018

    assert checks.clip_loss(stub).unsolved


def test_an_answer_that_a_check_wraps_is_looked_into():
    def largest_batch(memory, d, tables):
        return memory // N

    assert "reads `N` from the notebook" in checks.largest_batch(largest_batch).message


# -- what a notebook shows


@pytest.fixture
def page(monkeypatch):
    """Pages that checks display, in a session in which nothing has been solved."""
    pages = []
    monkeypatch.setattr(engine, "PASSED", set())
    monkeypatch.setattr(engine.report, "output", lambda text, page: pages.append(page.partition("</style>")[2]))
    return pages


def test_a_verdict_has_sign_shape_and_words_and_counts_what_is_solved(page):
    checks.clip_loss(lambda za, zb, scale: None)
    checks.clip_loss(lambda za, zb, scale: 2 * clip_loss(za, zb, scale))
    checks.clip_loss(clip_loss)
    checks.recall_at_k(recall_at_k)
    checks.clip_loss(clip_loss)
    checks.mmd_unbiased(lambda x, y, sigma: None)  # of another lesson
    marks = [("open", "not solved yet", "·"), ("wrong", "wrong", "✗"), *[("passed", "passed", "✓")] * 3]
    for found, (shape, words, sign) in zip(page, marks, strict=False):
        assert f'<b class="{shape}" role="img" aria-label="{words}">{sign}</b>' in found
    solved = [re.search(r"(\d) of (\d) solved in this lesson", found).groups() for found in page]
    assert solved == [("0", "4"), ("0", "4"), ("1", "4"), ("2", "4"), ("2", "4"), ("0", "4")]


def test_the_input_is_folded_away_and_said_once(page):
    checks.clip_loss(explode)
    message, _, folded = page[0].partition("<details>")
    assert "za = " not in message
    assert "(input:" not in page[0]
    assert "<summary>the input that showed it</summary><code>za = [[1, 0]" in folded
    checks.clip_loss(clip_loss)
    checks.clip_loss(clip_loss(*[torch.eye(2)] * 2, 1))
    checks.clip_loss(reads_bias)
    assert not any("<details>" in found for found in page[1:])


def test_what_an_answer_says_is_text(page):
    def hostile(za, zb, scale):
        raise ValueError("<script>alert(1)</script>")

    checks.clip_loss(hostile)
    assert "<script" not in page[0]
    assert "&lt;script&gt;alert(1)" in page[0]
    assert "<code>raise ValueError(&quot;&lt;script&gt;" in page[0]


@pytest.mark.parametrize(
    ("name", "exercise", "secrets"),
    [
        ("01_shared_space", "fixed_similarity", ("transpose", "means", "dim=")),
        ("03_clip", "fixed_loss", ("exp ", "exp(", "logarithm", "logits.T", "detach")),
    ],
)
def test_untouched_broken_version_counts_as_unsolved_and_gives_nothing_away(name, exercise, secrets):
    result = check(exercise, lesson(name).stub(exercise))
    assert result.unsolved
    assert not result.passed
    assert result.message.startswith(f"not solved yet: {exercise} still does what the broken version does")
    assert not any(word in result.message for word in secrets)


LINES = {
    "along the batch": ("dim=0), F.normalize(zb, dim=0)", "dim=1), F.normalize(zb, dim=1)"),
    "exp(0) = 1": ("twins, 0.0)", "twins, -math.inf)"),
    "Both questions": ("log_softmax(dim=1).T", "log_softmax(dim=0)"),
}


@pytest.mark.parametrize("mended", [*itertools.combinations(LINES, 1), *itertools.combinations(LINES, 2)])
def test_a_half_mended_loss_is_told_what_is_left(mended):
    source = lesson("02_infonce").source("mended_loss")
    for bug in mended:
        assert LINES[bug][0] in source
        source = source.replace(*LINES[bug])
    scope = {"torch": torch, "F": F, "math": math}
    exec(source, scope)
    result = check("mended_loss", scope["mended_loss"])
    first, *others = [bug for bug in LINES if bug not in mended]
    assert first in result.message
    assert ("there is one more" in result.message) == bool(others)
    assert not result.passed
    assert not result.unsolved


def test_what_an_answer_leaves_in_w_grad_is_taken_off_again():
    seen = []

    def leaves_something(encode, w, *given):
        seen.append((w, None if w.grad is None else w.grad.clone()))
        if w.grad is None:
            w.grad = torch.zeros_like(w)
        w.grad += 7
        return with_autograd_grad(encode, w, *given)

    assert check("cached_gradient", leaves_something).passed
    assert sum(before is not None for _, before in seen) == 2
    for w, before in seen:
        assert (w.grad is None) if before is None else torch.equal(w.grad, before)


# Cases and oracles: they hold what they say, and agree with slower ones.


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


@pytest.mark.parametrize("exercise", ["without_bonus", "kept_neighbours", "uniformity_gradient", "fixed_similarity"])
def test_cases_hold_the_adversarial_inputs(exercise):
    _, cases, _ = parts(exercise)
    titles = " ".join(title for title, *_ in cases)
    assert "float64" in titles
    tensors = [value for case in cases for value in case[2:] if isinstance(value, torch.Tensor)]
    assert any(not tensor.is_contiguous() for tensor in tensors)


@pytest.mark.long
def test_expected_biased_is_what_a_simulation_finds():
    right, cases, _ = parts("expected_biased")
    generator = torch.Generator().manual_seed(0)
    for _, _, n, m, d, sigma in cases:
        x, y = (torch.randn(size, d, generator=generator) for size in (400 * n, 400 * m))
        values = torch.stack(
            [
                mmd.mmd2(a, b, bandwidths=sigma, estimator="biased")
                for a, b in zip(x.split(n), y.split(m), strict=True)
            ]
        )
        assert abs(values.mean() - right(n, m, d, sigma)) < 4 * values.std() / math.sqrt(400) + 1e-6


def test_largest_batches_are_the_last_that_fit():
    right, cases, _ = parts("largest_batch")
    for _, _, memory, d, tables in cases:
        n = int(right(memory, d, tables))
        assert 4 * (tables * n**2 + 2 * n * d) <= memory < 4 * (tables * (n + 1) ** 2 + 2 * (n + 1) * d)


def test_row_log_sums_are_torchs():
    right, cases, _ = parts("row_log_sums")
    for *_, a, b, tile in cases:
        torch.testing.assert_close(right(a, b, tile), torch.logsumexp(a @ b.T, dim=1))


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
