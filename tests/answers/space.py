"""What learners write for the checks of lesson 01: right answers in other ways, and mistakes in their own words."""

import torch
import torch.nn.functional as F

from xlib import space


def off_the_table(queries, candidates):
    table = queries @ candidates.T
    return table - table.mean(dim=0, keepdim=True)


def by_scikit_learn(z, xy, k):
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(z.double()).kneighbors()[1]
    shown = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(xy.double()).kneighbors()[1]
    return sum(len({*a} & {*b}) for a, b in zip(near, shown, strict=True)) / len(z) / k


def by_cdist(z, xy, k):  # as the lesson itself measures distances on a map
    near = space.cosine_similarity_matrix(z, z).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    shown = torch.cdist(xy, xy).fill_diagonal_(torch.inf).topk(k, dim=1, largest=False).indices
    return (near[:, :, None] == shown[:, None]).any(dim=2).float().mean()


def pair_by_pair(z, rate):
    i, j = torch.triu_indices(len(z), len(z), offset=1)
    apart = z[i] - z[j]
    weight = (-rate * apart.square().sum(dim=1)).softmax(dim=0)
    push = -2 * rate * weight[:, None] * apart
    return torch.zeros_like(z).index_add(0, i, push).index_add(0, j, -push)


def with_xlib(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0))
    return space.cosine_similarity_matrix((new_a - a.mean(0)) @ turn, new_b - b.mean(0))


RIGHT = [
    ("without_bonus", off_the_table),
    ("kept_neighbours", by_scikit_learn),
    ("kept_neighbours", by_cdist),
    ("uniformity_gradient", pair_by_pair),
    ("fixed_similarity", with_xlib),
]


# What a learner may well write, beside the mistakes that the check knows by name.
# Exercise 1: a bonus.
def mean_of_rows(queries, candidates):
    table = queries @ candidates.T
    return table - table.mean(dim=1, keepdim=True)


def centred_candidates(queries, candidates):
    return queries @ (candidates - candidates.mean(dim=0)).T


def both_centred(queries, candidates):
    return (queries - queries.mean(dim=0)) @ (candidates - candidates.mean(dim=0)).T


def one_mean(queries, candidates):
    scores = torch.einsum("nd,md->nm", queries, candidates)
    return scores - scores.mean()


def cosines_off_the_mean(queries, candidates):
    queries = queries - queries.mean(dim=0)
    return F.normalize(queries, dim=1) @ F.normalize(candidates, dim=1).T


def as_in_the_lesson(queries, candidates):
    queries, candidates = F.normalize(queries, dim=1), F.normalize(candidates, dim=1)
    return (queries - queries.mean(dim=0)) @ candidates.T


def off_the_sum(queries, candidates):
    table = queries @ candidates.T
    return table - table.sum(dim=0)


def added(queries, candidates):
    return (queries + queries.mean(dim=0)) @ candidates.T


def first_query_off(queries, candidates):
    return (queries - queries[0]) @ candidates.T


def transposed(queries, candidates):
    return candidates @ (queries - queries.mean(dim=0)).T


def along_the_numbers(queries, candidates):
    return (queries - queries.mean(dim=1, keepdim=True)) @ candidates.T


def standardised(queries, candidates):
    table = queries @ candidates.T
    return (table - table.mean(dim=0)) / table.std(dim=0, correction=0)


def in_single_precision(queries, candidates):
    return off_the_table(queries.float(), candidates.float())


# Exercise 3: neighbours.
def lists(z, xy, k):
    near = space.cosine_similarity_matrix(z, z).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    shown = torch.cdist(xy, xy).fill_diagonal_(torch.inf).topk(k, dim=1, largest=False).indices
    return [({*a}, {*b}) for a, b in zip(near.tolist(), shown.tolist(), strict=True)]


def itself_too(z, xy, k):
    z = F.normalize(z, dim=1)
    near, shown = (z @ z.T).topk(k, dim=1).indices, torch.cdist(xy, xy).topk(k, dim=1, largest=False).indices
    return (near[:, :, None] == shown[:, None]).any(dim=2).float().mean()


def dot_products(z, xy, k):
    near = (z @ z.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    shown = torch.cdist(xy, xy).fill_diagonal_(torch.inf).topk(k, dim=1, largest=False).indices
    return (near[:, :, None] == shown[:, None]).any(dim=2).float().mean()


def distances_on_both(z, xy, k):
    near, shown = (torch.cdist(x, x).fill_diagonal_(torch.inf).topk(k, dim=1, largest=False).indices for x in (z, xy))
    return (near[:, :, None] == shown[:, None]).any(dim=2).float().mean()


def cosines_on_both(z, xy, k):
    near, shown = (
        space.cosine_similarity_matrix(x, x).fill_diagonal_(-torch.inf).topk(k, dim=1).indices for x in (z, xy)
    )
    return (near[:, :, None] == shown[:, None]).any(dim=2).float().mean()


def farthest(z, xy, k):
    near = space.cosine_similarity_matrix(z, z).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    shown = torch.cdist(xy, xy).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    return (near[:, :, None] == shown[:, None]).any(dim=2).float().mean()


def place_by_place(z, xy, k):
    near = space.cosine_similarity_matrix(z, z).fill_diagonal_(-torch.inf).argsort(dim=1, descending=True)
    shown = torch.cdist(xy, xy).fill_diagonal_(torch.inf).argsort(dim=1)
    return (near[:, :k] == shown[:, :k]).float().mean()


def jaccard(z, xy, k):
    shares = [len(a & b) / len(a | b) for a, b in lists(z, xy, k)]
    return sum(shares) / len(shares)


def not_divided(z, xy, k):
    return float(sum(len(a & b) for a, b in lists(z, xy, k)))


def per_point(z, xy, k):
    return sum(len(a & b) for a, b in lists(z, xy, k)) / len(z)


def by_points_twice(z, xy, k):
    return sum(len(a & b) for a, b in lists(z, xy, k)) / len(z) / len(z)


def any_at_all(z, xy, k):
    return sum(bool(a & b) for a, b in lists(z, xy, k)) / len(z)


def lost(z, xy, k):
    return sum(len(a - b) for a, b in lists(z, xy, k)) / len(z) / k


def each_point(z, xy, k):
    return torch.tensor([len(a & b) / k for a, b in lists(z, xy, k)])


# Exercise 4: the gradient of uniformity.
def with_autograd(z, rate):
    z = z.clone().requires_grad_()
    if (z == z[:1]).all():  # where torch's pdist has no gradient of its own
        return torch.zeros_like(z)
    return torch.autograd.grad(space.uniformity(z, t=rate), z)[0]


def descent(z, rate):
    return -pair_by_pair(z, rate)


def by_row(z, rate):
    difference = z[:, None] - z[None]
    logits = (-rate * difference.square().sum(dim=2)).fill_diagonal_(-torch.inf)
    return (-2 * rate * logits.softmax(dim=1)[:, :, None] * difference).sum(dim=1)


def whole_table_once(z, rate):
    difference = z[:, None] - z[None]
    logits = (-rate * difference.square().sum(dim=2)).fill_diagonal_(-torch.inf)
    weight = logits.flatten().softmax(dim=0).view_as(logits)
    return (-2 * rate * weight[:, :, None] * difference).sum(dim=1)


def without_the_two(z, rate):
    return pair_by_pair(z, rate) / 2


def without_the_rate(z, rate):
    return pair_by_pair(z, rate) / rate


def always_two(z, rate):
    return pair_by_pair(z, 2.0)


def no_log(z, rate):
    i, j = torch.triu_indices(len(z), len(z), offset=1)
    apart = z[i] - z[j]
    push = -2 * rate * (-rate * apart.square().sum(dim=1)).exp()[:, None] * apart / len(i)
    return torch.zeros_like(z).index_add(0, i, push).index_add(0, j, -push)


def one_end_of_each_pair(z, rate):
    i, j = torch.triu_indices(len(z), len(z), offset=1)
    apart = z[i] - z[j]
    weight = (-rate * apart.square().sum(dim=1)).softmax(dim=0)
    return torch.zeros_like(z).index_add(0, i, -2 * rate * weight[:, None] * apart)


def itself_in_the_weights(z, rate):
    difference = z[:, None] - z[None]
    weight = (-rate * difference.square().sum(dim=2)).flatten().softmax(dim=0).view(len(z), len(z))
    return (-4 * rate * weight[:, :, None] * difference).sum(dim=1)


def overflowing(z, rate):
    difference = z[:, None] - z[None]
    weight = (-rate * difference.square().sum(dim=2)).exp().fill_diagonal_(0)
    return (-4 * rate * (weight / weight.sum())[:, :, None] * difference).sum(dim=1)


def on_the_sphere(z, rate):
    gradient, normal = pair_by_pair(z, rate), F.normalize(z, dim=1)
    return gradient - (gradient * normal).sum(dim=1, keepdim=True) * normal


def plain_distances(z, rate):
    i, j = torch.triu_indices(len(z), len(z), offset=1)
    apart = z[i] - z[j]
    push = -2 * rate * (-rate * apart.norm(dim=1)).softmax(dim=0)[:, None] * apart
    return torch.zeros_like(z).index_add(0, i, push).index_add(0, j, -push)


def mean_over_points(z, rate):
    return pair_by_pair(z, rate) / len(z)


# Exercise 2: three bugs.
def inverse_turn(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0)).T
    return F.normalize((new_a - a.mean(0)) @ turn, dim=1) @ F.normalize(new_b - b.mean(0), dim=1).T


def new_means(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0))
    return F.normalize((new_a - new_a.mean(0)) @ turn, dim=1) @ F.normalize(new_b - new_b.mean(0), dim=1).T


def columns_normalised(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0))
    return F.normalize((new_a - a.mean(0)) @ turn, dim=0) @ F.normalize(new_b - b.mean(0), dim=0).T


def mean_of_b_forgotten(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0))
    return F.normalize((new_a - a.mean(0)) @ turn, dim=1) @ F.normalize(new_b - new_b.mean(0), dim=1).T


def mean_of_a_forgotten(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0))
    return F.normalize((new_a - new_a.mean(0)) @ turn, dim=1) @ F.normalize(new_b - b.mean(0), dim=1).T


def only_the_rows(a, b, new_a, new_b):
    u, _, wt = torch.linalg.svd((a - a.mean(dim=0)).T @ (b - b.mean(dim=0)))
    turned = (new_a - new_a.mean(dim=0)) @ (wt.T @ u.T)
    return F.normalize(turned, dim=1) @ F.normalize(new_b - new_b.mean(dim=0), dim=1).T


def only_the_turn(a, b, new_a, new_b):
    u, _, wt = torch.linalg.svd((a - a.mean(dim=0)).T @ (b - b.mean(dim=0)))
    turned = (new_a - new_a.mean(dim=0)) @ (u @ wt)
    return F.normalize(turned, dim=0) @ F.normalize(new_b - new_b.mean(dim=0), dim=0).T


def one_side_normalised(a, b, new_a, new_b):
    turn = space.procrustes(a - a.mean(0), b - b.mean(0))
    return F.normalize((new_a - a.mean(0)) @ turn, dim=0) @ F.normalize(new_b - b.mean(0), dim=1).T


def not_normalised(a, b, new_a, new_b):
    return (new_a - a.mean(0)) @ space.procrustes(a - a.mean(0), b - b.mean(0)) @ (new_b - b.mean(0)).T


def no_means(a, b, new_a, new_b):
    return space.cosine_similarity_matrix(new_a @ space.procrustes(a, b), new_b)


def no_means_on_new_rows(a, b, new_a, new_b):
    return space.cosine_similarity_matrix(new_a @ space.procrustes(a - a.mean(0), b - b.mean(0)), new_b)


def raw_fit(a, b, new_a, new_b):
    return space.cosine_similarity_matrix((new_a - a.mean(0)) @ space.procrustes(a, b), new_b - b.mean(0))


def b_turned(a, b, new_a, new_b):
    turn = space.procrustes(b - b.mean(0), a - a.mean(0))
    return space.cosine_similarity_matrix((new_a - a.mean(0)) @ turn, new_b - b.mean(0))


WRONG = [
    ("without_bonus", lambda q, c: q @ c.T, "four and three", "plain dot products"),
    ("without_bonus", mean_of_rows, "four and three", "a bonus belongs to a candidate"),
    ("without_bonus", centred_candidates, "four and three", "a bonus belongs to a candidate"),
    ("without_bonus", both_centred, "four and three", "Two means are off"),
    ("without_bonus", one_mean, "four and three", "a bonus of its own"),
    ("without_bonus", cosines_off_the_mean, "four and three", "brought to length 1"),
    ("without_bonus", as_in_the_lesson, "one vector added", "brought to length 1"),
    ("without_bonus", off_the_sum, "four and three", "this is the total"),
    ("without_bonus", added, "four and three", "it has to come off"),
    ("without_bonus", first_query_off, "four and three", "the table of four queries"),
    ("without_bonus", transposed, "four and three", "Rows and columns are exchanged"),
    ("without_bonus", along_the_numbers, "four and three", "the table of four queries"),
    ("without_bonus", standardised, "four and three", "divided by their spread"),
    ("without_bonus", in_single_precision, "float64", "in torch.float32"),
    ("kept_neighbours", itself_too, "sixteen points", "counts itself as a neighbour"),
    ("kept_neighbours", dot_products, "sixteen points", "That is a dot product"),
    ("kept_neighbours", distances_on_both, "sixteen points", "In z, nearness is the cosine"),
    ("kept_neighbours", cosines_on_both, "sixteen points", "On a map, near means a small distance"),
    ("kept_neighbours", farthest, "sixteen points", "the nearest have the smallest"),
    ("kept_neighbours", place_by_place, "sixteen points", "compare them as sets"),
    ("kept_neighbours", jaccard, "sixteen points", "Divided by what either side has"),
    ("kept_neighbours", not_divided, "sixteen points", "That is a count"),
    ("kept_neighbours", per_point, "sixteen points", "how large can it get?"),
    ("kept_neighbours", by_points_twice, "sixteen points", "not by that of neighbours"),
    ("kept_neighbours", any_at_all, "sixteen points", "any neighbour at all"),
    ("kept_neighbours", lost, "sixteen points", "the share that is lost"),
    ("kept_neighbours", each_point, "sixteen points", "expected shape (), got (16,)"),
    ("uniformity_gradient", with_autograd, "uniformity_gradient", "without autograd"),
    ("uniformity_gradient", descent, "four points", "The sign is wrong"),
    ("uniformity_gradient", by_row, "four points", "here those of each point do"),
    ("uniformity_gradient", whole_table_once, "four points", "Half of the gradient"),
    ("uniformity_gradient", without_the_two, "four points", "Half of the gradient"),
    ("uniformity_gradient", without_the_rate, "four points", "The rate is missing"),
    ("uniformity_gradient", always_two, "four points", "here it is always 2"),
    ("uniformity_gradient", no_log, "four points", "and not of its log"),
    ("uniformity_gradient", one_end_of_each_pair, "four points", "here it pushes one"),
    ("uniformity_gradient", itself_in_the_weights, "four points", "no pair with itself"),
    ("uniformity_gradient", overflowing, "rate 500", "take the largest exponent out first"),
    ("uniformity_gradient", on_the_sphere, "four points", "projected onto a sphere"),
    ("uniformity_gradient", plain_distances, "four points", "the squared distance: here its root"),
    ("uniformity_gradient", mean_over_points, "four points", "the gradient of four points"),
    ("uniformity_gradient", lambda z, rate: pair_by_pair(z.float(), rate), "float64", "in torch.float32"),
    ("fixed_similarity", inverse_turn, "twenty old pairs, three new", "do not come near their partners"),
    ("fixed_similarity", new_means, "twenty old pairs, three new", "change with the new rows that come beside it"),
    ("fixed_similarity", columns_normalised, "twenty old pairs, three new", "other lengths than 1"),
    ("fixed_similarity", mean_of_b_forgotten, "twenty old pairs, three new", "b is taken off a mean of the new rows"),
    ("fixed_similarity", mean_of_a_forgotten, "twenty old pairs, three new", "a is taken off a mean of the new rows"),
    ("fixed_similarity", only_the_rows, "twenty old pairs, three new", "two are left"),
    ("fixed_similarity", only_the_turn, "twenty old pairs, three new", "two are left"),
    ("fixed_similarity", one_side_normalised, "twenty old pairs, three new", "the other has not"),
    ("fixed_similarity", not_normalised, "twenty old pairs, three new", "lengths still count"),
    ("fixed_similarity", no_means, "twenty old pairs, three new", "the table of three new pairs"),
    ("fixed_similarity", no_means_on_new_rows, "twenty old pairs, three new", "but they were in the fit"),
    ("fixed_similarity", raw_fit, "twenty old pairs, three new", "whose means are still in"),
    ("fixed_similarity", b_turned, "twenty old pairs, three new", "do not come near their partners"),
]
