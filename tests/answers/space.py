"""What learners write for the checks of lesson 01: right answers in other ways, and mistakes in their own words."""

import torch
import torch.nn.functional as F

from xlib import space


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


RIGHT = [
    ("cosines_without_gap", without_gap),
    ("kept_neighbours", by_scikit_learn),
    ("uniformity_gradient", with_autograd),
    ("fixed_similarity", with_xlib),
]


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


WRONG = [
    ("cosines_without_gap", space.cosine_similarity_matrix, "three and three", "the gap is still there"),
    ("cosines_without_gap", one_mean, "three and three", "each has its own"),
    ("kept_neighbours", itself_too, "twelve points", "leave the diagonal out"),
    ("uniformity_gradient", descent, "three points", "The sign is wrong"),
    ("uniformity_gradient", by_row, "three points", "runs over all pairs"),
    ("uniformity_gradient", lambda z, t: with_autograd(z.float(), t), "float64", "float64"),
    ("fixed_similarity", inverse_turn, "twenty old pairs, three new", "wrong way round"),
    ("fixed_similarity", new_means, "twenty old pairs, three new", "belong to what was fitted"),
]
