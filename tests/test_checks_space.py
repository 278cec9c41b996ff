"""The exercise checks of lesson 01: right answers pass in any form, known mistakes are named, stubs stop nothing."""

import pytest
import torch
import torch.nn.functional as F
from lessons import lesson, parts

from xlib import space
from xlib.course import checks

EXERCISES = ("cosines_without_gap", "kept_neighbours", "uniformity_gradient", "fixed_similarity")
LESSON = lesson("01_shared_space")


def with_autograd(z, t):
    z = z.clone().requires_grad_()
    if (z == z[:1]).all():  # where torch's pdist has no gradient of its own
        return torch.zeros_like(z)
    return torch.autograd.grad(space.uniformity(z, t=t), z)[0]


def with_xlib(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0))
    return space.cosine_similarity_matrix((new_a - a.mean(0)) @ turn, new_b - b.mean(0))


def without_gap(a, b):
    a, b = (z / z.norm(dim=1, keepdim=True) for z in (a, b))
    return space.cosine_similarity_matrix(a - a.mean(0), b - b.mean(0))


def by_scikit_learn(z, xy, k):
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(z.double()).kneighbors()[1]
    shown = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(xy.double()).kneighbors()[1]
    return sum(len({*a} & {*b}) for a, b in zip(near, shown, strict=True)) / len(z) / k


OTHERS = {
    "cosines_without_gap": without_gap,
    "kept_neighbours": by_scikit_learn,
    "uniformity_gradient": with_autograd,
    "fixed_similarity": with_xlib,
}


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_printed_solution_passes_and_so_does_an_independent_one(exercise):
    for answer in (LESSON.solution(exercise), OTHERS[exercise]):
        result = getattr(checks, exercise)(answer)
        assert result.passed, result.message


def test_the_untouched_bugs_are_not_given_away():
    message = checks.fixed_similarity(LESSON.stub("fixed_similarity")).message
    assert "still does what the broken version does" in message
    assert not any(word in message for word in ("transpose", "means", "dim="))


@pytest.mark.parametrize("exercise", EXERCISES)
def test_cases_hold_the_adversarial_inputs(exercise):
    _, cases, mistakes = parts(exercise)
    titles = " ".join(title for title, *_ in cases)
    assert len(cases) >= 4
    assert len({says for says, _ in mistakes}) >= 3
    assert "float64" in titles
    tensors = [value for case in cases for value in case[2:] if isinstance(value, torch.Tensor)]
    assert any(not tensor.is_contiguous() for tensor in tensors)


# What a learner may well write, beside the mistakes that the check knows by name.
def one_mean(a, b):
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    mean = (a.mean(dim=0) + b.mean(dim=0)) / 2
    return F.normalize(a - mean, dim=1) @ F.normalize(b - mean, dim=1).T


def itself_too(z, xy, k):
    z = F.normalize(z, dim=1)
    near, shown = (z @ z.T).topk(k, dim=1).indices, torch.cdist(xy, xy).topk(k, dim=1, largest=False).indices
    return (near[:, :, None] == shown[:, None]).any(dim=2).float().mean()


def descent(z, t):
    return -with_autograd(z, t)


def by_row(z, t):
    difference = z[:, None] - z[None]
    logits = (-t * difference.square().sum(dim=2)).fill_diagonal_(-torch.inf)
    return (-2 * t * logits.softmax(dim=1)[:, :, None] * difference).sum(dim=1)


def inverse_turn(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0)).T
    return F.normalize((new_a - a.mean(0)) @ turn, dim=1) @ F.normalize(new_b - b.mean(0), dim=1).T


def new_means(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0))
    return F.normalize((new_a - new_a.mean(0)) @ turn, dim=1) @ F.normalize(new_b - new_b.mean(0), dim=1).T


@pytest.mark.parametrize(
    ("exercise", "answer", "says"),
    [
        ("cosines_without_gap", space.cosine_similarity_matrix, "the gap is still there"),
        ("cosines_without_gap", one_mean, "each has its own"),
        ("kept_neighbours", itself_too, "leave the diagonal out"),
        ("uniformity_gradient", descent, "The sign is wrong"),
        ("uniformity_gradient", by_row, "runs over all pairs"),
        ("uniformity_gradient", lambda z, t: with_autograd(z.float(), t), "float64"),
        ("fixed_similarity", inverse_turn, "wrong way round"),
        ("fixed_similarity", new_means, "belong to what was fitted"),
    ],
)
def test_mistakes_written_in_another_way_are_named_too(exercise, answer, says):
    result = getattr(checks, exercise)(answer)
    assert not result.passed
    assert says in result.message
