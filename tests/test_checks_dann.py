"""The checks of lesson 05 tell right from wrong and name the mistake; what the lesson prints passes them."""

import pytest
import torch
import torch.nn.functional as F
from lessons import lesson, parts

from xlib import checks, dann

EXERCISES = ["a_distance", "feature_gradient", "fixed_domain_loss", "least_error"]
LESSON = lesson("05_dann")


def check(exercise, answer):
    return getattr(checks, exercise)(answer)


def test_lesson_has_these_exercises():
    assert sorted(LESSON.functions()) == EXERCISES


@pytest.mark.parametrize("exercise", EXERCISES)
def test_printed_solution_passes(exercise, capsys):
    result = check(exercise, LESSON.solution(exercise))
    assert result.passed
    assert capsys.readouterr().out == result.message + "\n"


@pytest.mark.parametrize("exercise", EXERCISES)
def test_stub_is_reported_not_raised(exercise):
    result = check(exercise, LESSON.stub(exercise))
    assert result.unsolved
    assert not result.passed
    assert "softmax" not in result.message


def by_grad_reverse(features, weight, domain, coeff):
    leaf = features.clone().requires_grad_()
    logits = dann.grad_reverse(leaf, coeff) @ weight
    loss = F.binary_cross_entropy_with_logits(logits, domain.to(logits.dtype))
    return torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize(
    ("exercise", "answer"), [("feature_gradient", by_grad_reverse), ("fixed_domain_loss", dann.domain_loss)]
)
def test_xlibs_own_functions_pass(exercise, answer):
    assert check(exercise, answer).passed


@pytest.mark.parametrize("exercise", EXERCISES)
def test_cases_are_adversarial_and_mistakes_are_known(exercise):
    _, cases, mistakes = parts(exercise)
    titles = {title for title, *_ in cases}
    assert len(cases) >= 4
    assert len({says for says, _ in mistakes}) >= 3
    assert "not contiguous" in titles


def every_mistake():
    for exercise in EXERCISES:
        for number, (says, mistake) in enumerate(parts(exercise)[2]):
            if "one more" not in says:  # that one is what the broken version does
                yield pytest.param(exercise, says, mistake, id=f"{exercise}-{number}")


@pytest.mark.parametrize(("exercise", "says", "mistake"), list(every_mistake()))
def test_every_known_mistake_is_named(exercise, says, mistake):
    result = check(exercise, mistake)
    assert not result.passed
    assert not result.unsolved
    assert result.message.endswith(says)


# The same mistakes as a learner writes them.
def together(features, weight, domain, coeff):
    return coeff * ((torch.sigmoid(features @ weight) - domain) / len(features))[:, None] * weight


def coefficient_twice(features, weight, domain, coeff):
    return coeff * by_grad_reverse(features, weight, domain, coeff)


def naive_sigmoid(features, weight, domain, coeff):
    z = features @ weight
    return -coeff * ((z.exp() / (1 + z.exp()) - domain) / len(features))[:, None] * weight


def with_softmax(source, target):
    return dann.domain_loss(source.softmax(1), target.softmax(1))


def over_all_rows(source, target):
    domain = torch.tensor([0] * len(source) + [1] * len(target))
    return F.cross_entropy(torch.cat([source, target]), domain)


def of_all_rows(guess, domain):
    return (2 - 4 * (guess != domain).float().mean()).clamp(0, 2)


def unclamped(guess, domain):
    wrong = (guess != domain).float()
    return 2 - 2 * (wrong[domain == 0].mean() + wrong[domain == 1].mean())


def twice_too_much(source, target):
    return (source - target).abs().sum()


def largest(source, target):
    return (source - target).abs().max()


WRONG = [
    ("feature_gradient", together, "two rows", "minus sign"),
    ("feature_gradient", coefficient_twice, "two rows", "twice"),
    ("feature_gradient", naive_sigmoid, "large logits", "torch.sigmoid"),
    ("fixed_domain_loss", with_softmax, "three and one", "softmax before cross-entropy"),
    ("fixed_domain_loss", over_all_rows, "three and one", "one half"),
    ("a_distance", of_all_rows, "four to one", "whatever its size"),
    ("a_distance", unclamped, "worse than chance", "counts as 0"),
    ("least_error", twice_too_much, "four classes", "Half of that"),
    ("least_error", largest, "four classes", "largest difference"),
]


@pytest.mark.parametrize(("exercise", "answer", "where", "says"), WRONG, ids=[row[1].__name__ for row in WRONG])
def test_a_learners_mistake_is_named(exercise, answer, where, says):
    result = check(exercise, answer)
    assert not result.passed
    assert result.message.startswith(f"✗ {where}: ")
    assert says in result.message
