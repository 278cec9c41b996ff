"""What learners write for the checks of lesson 07: right answers in other ways, and mistakes in their own words."""

import math
from functools import partial

import torch
import torch.nn.functional as F

from xlib import contrastive, scale


# Right answers, in several styles.
def in_whole_numbers(memory, d, tables):
    return (math.isqrt(d * d + tables * (memory // 4)) - d) // tables


def in_floats(memory, d, tables):
    return math.floor((math.sqrt(d * d + tables * memory / 4) - d) / tables)


def counted_up(memory, d, tables):
    n = 0
    while 4 * (tables * (n + 1) ** 2 + 2 * (n + 1) * d) <= memory:
        n += 1
    return torch.tensor(n)


def with_logaddexp(a, b, tile):
    sums = a.new_full((len(a),), -math.inf)
    for part in b.split(tile):
        sums = torch.logaddexp(sums, torch.logsumexp(a @ part.T, dim=1))
    return sums


def with_running_maximum(a, b, tile):
    top, total = a.new_full((len(a),), -math.inf), a.new_zeros(len(a))
    for start in range(0, len(b), tile):
        logits = a @ b[start : start + tile].T
        new = torch.maximum(top, logits.max(dim=1).values)
        total = total * torch.exp(top - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        top = new
    return top + total.log()


def all_tiles_last(a, b, tile):
    return torch.stack([torch.logsumexp(a @ part.T, dim=1) for part in b.split(tile)]).logsumexp(dim=0)


def maximum_in_a_first_pass(a, b, tile):
    top = torch.stack([(a @ part.T).amax(dim=1) for part in b.split(tile)]).amax(dim=0)
    return top + sum((a @ part.T - top[:, None]).exp().sum(dim=1) for part in b.split(tile)).log()


def with_cross_entropy(all_a, all_b, sizes, rank, scale):
    first = sum(sizes[:rank])
    own = slice(first, first + sizes[rank])
    labels = torch.arange(first, first + sizes[rank])
    to_b = F.cross_entropy(scale * all_a[own] @ all_b.T, labels, reduction="sum")
    to_a = F.cross_entropy(scale * all_b[own] @ all_a.T, labels, reduction="sum")
    return len(sizes) * (to_b + to_a) / (2 * len(all_a))


def with_logsumexp(all_a, all_b, sizes, rank, scale):
    total = 0 * (all_a.sum() + all_b.sum())
    for row in range(sum(sizes[:rank]), sum(sizes[: rank + 1])):
        pair = scale * all_a[row] @ all_b[row]
        total = (
            total + (scale * all_b @ all_a[row]).logsumexp(0) + (scale * all_a @ all_b[row]).logsumexp(0) - 2 * pair
        )
    return total * len(sizes) / len(all_a) / 2


def of_the_whole_table(all_a, all_b, sizes, rank, scale):
    table, labels = scale * all_a @ all_b.T, torch.arange(len(all_a))
    each = F.cross_entropy(table, labels, reduction="none") + F.cross_entropy(table.T, labels, reduction="none")
    return each.split(sizes)[rank].sum() * len(sizes) / (2 * len(all_a))


def with_autograd_grad(encode, w, x, zb, scale, chunk, loss=contrastive.info_nce):
    with torch.no_grad():
        za = torch.cat([encode(rows, w) for rows in x.split(chunk)])
    za.requires_grad_()
    (by_vector,) = torch.autograd.grad(loss(za, zb, logit_scale=scale), za)
    total = torch.zeros_like(w)
    for rows, part in zip(x.split(chunk), by_vector.split(chunk), strict=True):
        total += torch.autograd.grad(encode(rows, w), w, part)[0]
    return total


def with_backward(encode, w, x, zb, scale, chunk):
    w.grad = None
    with torch.no_grad():
        za = encode(x, w)  # without a graph, any number of rows will do
    za.requires_grad_()
    contrastive.info_nce(za, zb, logit_scale=scale).backward()
    for start in range(0, len(x), chunk):
        encode(x[start : start + chunk], w).backward(za.grad[start : start + chunk])
    return w.grad


def with_a_leaf_of_its_own(encode, w, x, zb, scale, chunk):
    leaf = w.detach().clone().requires_grad_()
    za = torch.cat([encode(rows, leaf).detach() for rows in x.split(chunk)]).requires_grad_()
    contrastive.info_nce(za, zb, logit_scale=scale).backward()
    for rows, part in zip(x.split(chunk), za.grad.split(chunk), strict=True):
        (encode(rows, leaf) * part).sum().backward()
    return leaf.grad


def tiled_too(*given):
    return with_autograd_grad(*given, loss=scale.info_nce_tiled)


def with_cached_backward(encode, w, x, zb, logit_scale, chunk):
    w.grad = None
    tower = (lambda rows: encode(rows, w), x)
    scale.cached_backward(lambda za: contrastive.info_nce(za, zb, logit_scale=logit_scale), tower, chunk=chunk)
    return w.grad


RIGHT = [
    ("largest_batch", in_whole_numbers),
    ("largest_batch", in_floats),
    ("largest_batch", counted_up),
    ("row_log_sums", with_logaddexp),
    ("row_log_sums", with_running_maximum),
    ("row_log_sums", all_tiles_last),
    ("row_log_sums", maximum_in_a_first_pass),
    ("share_of_loss", with_cross_entropy),
    ("share_of_loss", with_logsumexp),
    ("share_of_loss", of_the_whole_table),
    ("cached_gradient", with_autograd_grad),
    ("cached_gradient", with_backward),
    ("cached_gradient", with_a_leaf_of_its_own),
    ("cached_gradient", tiled_too),
    ("cached_gradient", with_cached_backward),
]


# Mistakes as a learner writes them, in other words than the check's own.
def without_bytes(memory, d, tables):
    return (math.isqrt(d * d + tables * memory) - d) // tables


def tables_alone(memory, d, tables):
    return math.isqrt(memory // (4 * tables))


def one_embedding(memory, d, tables):
    n = 0
    while 4 * (tables * (n + 1) ** 2 + (n + 1) * d) <= memory:
        n += 1
    return n


def one_table(memory, d, tables):
    return math.isqrt(d * d + memory // 4) - d


def linear(memory, d, tables):
    return memory // (4 * (tables + 2 * d))


def until_it_no_longer_fits(memory, d, tables):
    n = 0
    while 4 * (tables * n**2 + 2 * n * d) <= memory:
        n += 1
    return n


def strictly_less(memory, d, tables):
    n = 0
    while 4 * (tables * (n + 1) ** 2 + 2 * (n + 1) * d) < memory:
        n += 1
    return n


def rounded_up(memory, d, tables):
    return math.ceil((math.sqrt(d * d + tables * memory / 4) - d) / tables)


def rounded(memory, d, tables):
    return round((math.sqrt(d * d + tables * memory / 4) - d) / tables)


def not_rounded(memory, d, tables):
    return (math.sqrt(d * d + tables * memory / 4) - d) / tables


def in_float32(memory, d, tables):
    root = torch.sqrt(torch.tensor(float(d * d + tables * (memory // 4))))
    return int((root - d) / tables)


def four_embeddings(memory, d, tables):
    n = 0
    while 4 * (tables * (n + 1) ** 2 + 4 * (n + 1) * d) <= memory:
        n += 1
    return n


def embedding_of_one_pair(memory, d, tables):
    n = 0
    while 4 * (tables * (n + 1) ** 2 + 2 * d) <= memory:
        n += 1
    return n


def plus_d(memory, d, tables):
    return (math.isqrt(d * d + tables * (memory // 4)) + d) // tables


def not_yet_divided(memory, d, tables):
    return math.isqrt(d * d + tables * (memory // 4)) - d


def kilobytes(memory, d, tables):
    return in_whole_numbers(memory * 1024, d, tables)


def bits(memory, d, tables):
    return in_whole_numbers(memory // 8, d, tables)


def doubles(memory, d, tables):
    return (math.isqrt(d * d + tables * (memory // 8)) - d) // tables


def doubled_until_full(memory, d, tables):
    n = 1
    while 4 * (tables * (2 * n) ** 2 + 4 * n * d) <= memory:
        n *= 2
    return n if 4 * (tables + 2 * d) <= memory else 0


def embeddings_each_table(memory, d, tables):
    n = 0
    while 4 * tables * ((n + 1) ** 2 + 2 * (n + 1) * d) <= memory:
        n += 1
    return n


def first_order(memory, d, tables):
    return int(math.sqrt(memory / (4 * tables)) - d / tables)


def neither(memory, d, tables):
    return math.isqrt(memory // 4)


def below_one_bound(a, b, tile):
    bound = a.norm(dim=1).max() * b.norm(dim=1).max()
    return sum((a @ part.T - bound).exp().sum(dim=1) for part in b.split(tile)).log() + bound


def below_a_bound_each(a, b, tile):
    bound = (a * a).sum(dim=1).sqrt() * (b * b).sum(dim=1).sqrt().max()
    sums = torch.zeros_like(bound)
    for start in range(0, len(b), tile):
        sums += torch.exp(a @ b[start : start + tile].T - bound[:, None]).sum(dim=1)
    return sums.log() + bound


def largest_logit(a, b, tile):
    return torch.stack([(a @ part.T).max(dim=1).values for part in b.split(tile)]).max(dim=0).values


def without_log(a, b, tile):
    return sum(torch.exp(a @ part.T).sum(dim=1) for part in b.split(tile))


def log1p(a, b, tile):
    return sum(torch.exp(a @ part.T).sum(dim=1) for part in b.split(tile)).log1p()


def never_added_again(a, b, tile):
    top = largest_logit(a, b, tile)
    return sum((a @ part.T - top[:, None]).exp().sum(dim=1) for part in b.split(tile)).log()


def mean_of_log_sums(a, b, tile):
    parts = [torch.logsumexp(a @ part.T, dim=1) for part in b.split(tile)]
    return sum(parts) / len(parts)


def largest_log_sum(a, b, tile):
    best = a.new_full((len(a),), -math.inf)
    for part in b.split(tile):
        best = torch.maximum(best, torch.logsumexp(a @ part.T, dim=1))
    return best


def kept_dimension(a, b, tile):
    return with_logaddexp(a, b, tile)[:, None]


def into_float32(a, b, tile):
    return with_logaddexp(a.float(), b.float(), tile)


def in_base_two(a, b, tile):
    return with_logaddexp(a, b, tile) / math.log(2)


def wrong_way_round(a, b, tile):
    top, total = (a @ b[:tile].T).amax(dim=1), a.new_zeros(len(a))
    for part in b.split(tile):
        logits = a @ part.T
        new = torch.maximum(top, logits.amax(dim=1))
        total = total * torch.exp(new - top) + torch.exp(logits - new[:, None]).sum(dim=1)
        top = new
    return top + total.log()


def no_maximum(a, b, tile):
    return sum(torch.exp(a @ part.T).sum(dim=1) for part in b.split(tile)).log()


def full_tiles(a, b, tile):
    sums = a.new_full((len(a),), -math.inf)
    for i in range(len(b) // tile):
        sums = torch.logaddexp(sums, torch.logsumexp(a @ b[i * tile : (i + 1) * tile].T, dim=1))
    return sums


def added_logs(a, b, tile):
    return sum(torch.logsumexp(a @ part.T, dim=1) for part in b.split(tile))


def from_zero(a, b, tile):
    sums = a.new_zeros(len(a))
    for part in b.split(tile):
        sums = torch.logaddexp(sums, torch.logsumexp(a @ part.T, dim=1))
    return sums


def maximum_from_zero(a, b, tile):
    top, total = a.new_zeros(len(a)), a.new_zeros(len(a))
    for part in b.split(tile):
        logits = a @ part.T
        new = torch.maximum(top, logits.amax(dim=1))
        total = total * torch.exp(top - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        top = new
    return top + total.log()


def never_rescaled(a, b, tile):
    top, total = a.new_full((len(a),), -math.inf), a.new_zeros(len(a))
    for part in b.split(tile):
        logits = a @ part.T
        top = torch.maximum(top, logits.amax(dim=1))
        total += torch.exp(logits - top[:, None]).sum(dim=1)
    return top + total.log()


def first_maximum(a, b, tile):
    top = (a @ b[:tile].T).amax(dim=1)
    return top + sum((a @ part.T - top[:, None]).exp().sum(dim=1) for part in b.split(tile)).log()


def one_maximum(a, b, tile):
    top = max((a @ part.T).max() for part in b.split(tile))
    return top + sum((a @ part.T - top).exp().sum(dim=1) for part in b.split(tile)).log()


def averaged(a, b, tile):
    return with_logaddexp(a, b, tile) - math.log(len(b))


def of_columns(a, b, tile):
    return torch.cat([torch.logsumexp(a @ part.T, dim=0) for part in b.split(tile)])


def last_tile(a, b, tile):
    for part in b.split(tile):
        sums = torch.logsumexp(a @ part.T, dim=1)
    return sums


def share(all_a, all_b, sizes, rank, scale, first=None, label=None, by=None, both=True):
    """Exercise 4 with something else at one place."""
    at = sum(sizes[:rank]) if first is None else first
    own = slice(at, at + sizes[rank])
    labels = torch.arange(sizes[rank]) + (at if label is None else label)
    total = F.cross_entropy(scale * all_a[own] @ all_b.T, labels, reduction="sum")
    if both:
        total = total + F.cross_entropy(scale * all_b[own] @ all_a.T, labels, reduction="sum")
    return total * (len(sizes) / (2 * len(all_a)) if by is None else by)


def detached_gather(all_a, all_b, sizes, rank, scale):
    at = sum(sizes[:rank])
    own_a, own_b = all_a[at : at + sizes[rank]], all_b[at : at + sizes[rank]]
    labels = torch.arange(at, at + sizes[rank])
    to_b = F.cross_entropy(scale * own_a @ all_b.detach().T, labels, reduction="sum")
    return (
        len(sizes)
        * (to_b + F.cross_entropy(scale * own_b @ all_a.detach().T, labels, reduction="sum"))
        / (2 * len(all_a))
    )


def detached_in_the_usual_way(all_a, all_b, sizes, rank, scale):
    def with_mine(z):
        parts = list(z.detach().split(sizes))
        parts[rank] = z.split(sizes)[rank]
        return torch.cat(parts)

    return share(with_mine(all_a), with_mine(all_b), sizes, rank, scale)


def labels_from_zero(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, scale, label=0)


def part_of_a_sum(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, scale, by=1 / (2 * len(all_a)))


def mean_of_my_rows(all_a, all_b, sizes, rank, scale):
    at = sum(sizes[:rank])
    own, labels = slice(at, at + sizes[rank]), torch.arange(at, at + sizes[rank])
    to_b, to_a = scale * all_a[own] @ all_b.T, scale * all_b[own] @ all_a.T
    return (F.cross_entropy(to_b, labels) + F.cross_entropy(to_a, labels)) / 2


def mean_of_my_rows_times_w(*given):
    return len(given[2]) * mean_of_my_rows(*given)


def neither_mean(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, scale, by=len(sizes) / 2)


def directions_added(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, scale, by=len(sizes) / len(all_a))


def one_direction(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, scale, by=len(sizes) / len(all_a), both=False)


def half_of_one_direction(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, scale, both=False)


def among_my_own(all_a, all_b, sizes, rank, scale):
    own_a, own_b = all_a.split(sizes)[rank], all_b.split(sizes)[rank]
    return contrastive.info_nce(own_a, own_b, logit_scale=scale) * sizes[rank] * len(sizes) / len(all_a)


def all_of_it(all_a, all_b, sizes, rank, scale):
    return contrastive.info_nce(all_a, all_b, logit_scale=scale)


def share_evenly(all_a, all_b, sizes, rank, scale):
    first = rank * sizes[rank]
    labels = (torch.arange(sizes[rank]) + first).clamp(max=len(all_a) - 1)
    own = slice(first, first + sizes[rank])
    to_b = F.cross_entropy(scale * all_a[own] @ all_b.T, labels, reduction="sum")
    return (
        (to_b + F.cross_entropy(scale * all_b[own] @ all_a.T, labels, reduction="sum")) * len(sizes) / len(all_a) / 2
    )


def by_share(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, scale, first=rank * len(all_a) // len(sizes))


def without_scale(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, 1.0)


def by_temperature(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, 1 / scale)


def as_a_number(*given):
    return with_cross_entropy(*given).item()


def both_ways_apart(all_a, all_b, sizes, rank, scale):
    return share(all_a, all_b, sizes, rank, scale, both=False), share(all_b, all_a, sizes, rank, scale, both=False)


def in_a_new_tensor(*given):
    return torch.tensor(with_cross_entropy(*given).item())


def accumulated(encode, w, x, zb, scale, chunk):
    total = torch.zeros_like(w)
    for rows, captions in zip(x.split(chunk), zb.split(chunk), strict=True):
        loss = contrastive.info_nce(encode(rows, w), captions, logit_scale=scale)
        total += torch.autograd.grad(loss, w)[0]
    return total


def accumulated_mean(encode, w, x, zb, scale, chunk):
    return accumulated(encode, w, x, zb, scale, chunk) / len(x.split(chunk))


def accumulated_one_way(encode, w, x, zb, scale, chunk):
    total = torch.zeros_like(w)
    for rows, labels in zip(x.split(chunk), torch.arange(len(x)).split(chunk), strict=True):
        loss = F.cross_entropy(scale * encode(rows, w) @ zb.T, labels, reduction="sum") / len(x)
        total += torch.autograd.grad(loss, w)[0]
    return total


def one_way(*given):
    return with_autograd_grad(*given, loss=partial(contrastive.info_nce, direction="a_to_b"))


def last_chunk(encode, w, x, zb, scale, chunk):
    za = encode(x, w.detach()).requires_grad_()
    contrastive.info_nce(za, zb, logit_scale=scale).backward()
    for rows, part in zip(x.split(chunk), za.grad.split(chunk), strict=True):
        total = torch.autograd.grad(encode(rows, w), w, part)[0]
    return total


def chunks_averaged(encode, w, x, zb, scale, chunk):
    return with_autograd_grad(encode, w, x, zb, scale, chunk) / math.ceil(len(x) / chunk)


def full_chunks(encode, w, x, zb, scale, chunk):
    za = encode(x, w.detach()).requires_grad_()
    contrastive.info_nce(za, zb, logit_scale=scale).backward()
    total = torch.zeros_like(w)
    for i in range(len(x) // chunk):
        at = slice(i * chunk, (i + 1) * chunk)
        total += torch.autograd.grad(encode(x[at], w), w, za.grad[at])[0]
    return total


def by_the_vectors(encode, w, x, zb, scale, chunk):
    za = encode(x, w.detach()).requires_grad_()
    return torch.autograd.grad(contrastive.info_nce(za, zb, logit_scale=scale), za)[0]


def on_top(encode, w, x, zb, scale, chunk):
    za = encode(x, w.detach()).requires_grad_()
    contrastive.info_nce(za, zb, logit_scale=scale).backward()
    for rows, part in zip(x.split(chunk), za.grad.split(chunk), strict=True):
        encode(rows, w).backward(part)
    return w.grad


def no_leaf(encode, w, x, zb, scale, chunk):
    with torch.no_grad():
        za = torch.cat([encode(rows, w) for rows in x.split(chunk)])
    (by_vector,) = torch.autograd.grad(contrastive.info_nce(za, zb, logit_scale=scale), za)
    return sum(
        torch.autograd.grad(encode(rows, w), w, part)[0]
        for rows, part in zip(x.split(chunk), by_vector.split(chunk), strict=True)
    )


def by_vectors_of(encode, w, x, zb, scale, chunk):
    za = encode(x, w.detach()).requires_grad_()
    return torch.autograd.grad(contrastive.info_nce(za, zb, logit_scale=scale), za)[0].split(chunk)


def detached_w(encode, w, x, zb, scale, chunk):
    parts = by_vectors_of(encode, w, x, zb, scale, chunk)
    leaf = w.detach().clone().requires_grad_()
    return sum(
        torch.autograd.grad(encode(rows, leaf), w, part)[0] for rows, part in zip(x.split(chunk), parts, strict=True)
    )


def second_pass_without_graph(encode, w, x, zb, scale, chunk):
    parts, total = by_vectors_of(encode, w, x, zb, scale, chunk), torch.zeros_like(w)
    for rows, part in zip(x.split(chunk), parts, strict=True):
        with torch.no_grad():
            vectors = encode(rows, w)
        total += torch.autograd.grad(vectors, w, part)[0]
    return total


def sum_of_vectors(encode, w, x, zb, scale, chunk):
    return sum(torch.autograd.grad(encode(rows, w).sum(), w)[0] for rows in x.split(chunk))


def same_part_for_all(encode, w, x, zb, scale, chunk):
    first = by_vectors_of(encode, w, x, zb, scale, chunk)[0]
    return sum(torch.autograd.grad(encode(rows, w), w, first[: len(rows)])[0] for rows in x.split(chunk))


def first_chunk(encode, w, x, zb, scale, chunk):
    part = by_vectors_of(encode, w, x, zb, scale, chunk)[0]
    return torch.autograd.grad(encode(x[:chunk], w), w, part)[0]


def divided_by_n(encode, w, x, zb, scale, chunk):
    return with_autograd_grad(encode, w, x, zb, scale, chunk) / len(x)


def summed_loss(encode, w, x, zb, scale, chunk):
    def loss(za, zb, logit_scale):
        table, labels = logit_scale * za @ zb.T, torch.arange(len(za))
        return sum(F.cross_entropy(way, labels, reduction="sum") for way in (table, table.T)) / 2

    return with_autograd_grad(encode, w, x, zb, scale, chunk, loss=loss)


def directions_summed(encode, w, x, zb, scale, chunk):
    return 2 * with_autograd_grad(encode, w, x, zb, scale, chunk)


def columns_only(*given):
    return with_autograd_grad(*given, loss=partial(contrastive.info_nce, direction="b_to_a"))


def unscaled(encode, w, x, zb, scale, chunk):
    return with_autograd_grad(encode, w, x, zb, 1.0, chunk)


def as_a_temperature(encode, w, x, zb, scale, chunk):
    return with_autograd_grad(encode, w, x, zb, 1 / scale, chunk)


def upwards(*given):
    return -with_autograd_grad(*given)


def a_gradient_a_chunk(encode, w, x, zb, scale, chunk):
    parts = by_vectors_of(encode, w, x, zb, scale, chunk)
    return torch.stack(
        [torch.autograd.grad(encode(rows, w), w, part)[0] for rows, part in zip(x.split(chunk), parts, strict=True)]
    )


def a_tuple(encode, w, x, zb, scale, chunk):
    parts, total = by_vectors_of(encode, w, x, zb, scale, chunk), 0
    for rows, part in zip(x.split(chunk), parts, strict=True):
        total = total + torch.autograd.grad(encode(rows, w), w, part)
    return total


def whole_graph(encode, w, x, zb, scale, chunk):
    return torch.autograd.grad(contrastive.info_nce(encode(x, w), zb, logit_scale=scale), w)[0]


def all_graphs(encode, w, x, zb, scale, chunk):
    za = torch.cat([encode(rows, w) for rows in x.split(chunk)])
    return torch.autograd.grad(contrastive.info_nce(za, zb, logit_scale=scale), w)[0]


def all_second_graphs(encode, w, x, zb, scale, chunk):
    za = encode(x, w.detach()).requires_grad_()
    contrastive.info_nce(za, zb, logit_scale=scale).backward()
    pairs = zip(x.split(chunk), za.grad.split(chunk), strict=True)
    return torch.autograd.grad(sum((encode(rows, w) * part).sum() for rows, part in pairs), w)[0]


def kept_graph(encode, w, x, zb, scale, chunk):
    za = encode(x, w.detach()).requires_grad_()
    contrastive.info_nce(za, zb, logit_scale=scale).backward()
    total = torch.zeros_like(w)
    for rows, part in zip(x.split(chunk), za.grad.split(chunk), strict=True):
        vectors = encode(rows, w)
        total += torch.autograd.grad(vectors, w, part, retain_graph=True)[0]
    return total


def whole(a, b, tile):
    return torch.logsumexp(a @ b.T, dim=1)


def put_together(a, b, tile):
    return torch.cat([a @ part.T for part in b.split(tile)], dim=1).logsumexp(dim=1)


def filled(a, b, tile):
    table = a.new_empty(len(a), len(b))
    for start in range(0, len(b), tile):
        table[:, start : start + tile] = a @ b[start : start + tile].T
    return table.logsumexp(dim=1)


def einsum(a, b, tile):
    return torch.einsum("id,jd->ij", a, b).logsumexp(dim=1)


def tiles_of_rows(a, b, tile):
    return torch.cat([torch.logsumexp(rows @ b.T, dim=1) for rows in a.split(tile)])


WRONG = [
    ("largest_batch", without_bytes, "exact fit", "4 bytes"),
    ("largest_batch", tables_alone, "exact fit", "The embeddings are missing"),
    ("largest_batch", one_embedding, "exact fit", "za and zb"),
    ("largest_batch", one_table, "exact fit", "one table"),
    ("largest_batch", linear, "exact fit", "N² entries"),
    ("largest_batch", strictly_less, "exact fit", "<="),
    ("largest_batch", until_it_no_longer_fits, "exact fit", "the one before it"),
    ("largest_batch", rounded_up, "100 kB", "Round down"),
    ("largest_batch", not_rounded, "100 kB", "Half a row"),
    ("largest_batch", rounded, "one byte short", "not to the nearest"),
    ("largest_batch", in_float32, "one byte short of 100,000", "float32 holds seven digits"),
    ("largest_batch", four_embeddings, "exact fit", "the two embeddings alone"),
    ("largest_batch", embedding_of_one_pair, "exact fit", "those of one pair"),
    ("largest_batch", plus_d, "exact fit", "the other root"),
    ("largest_batch", not_yet_divided, "exact fit", "one step is missing"),
    ("largest_batch", kilobytes, "exact fit", "in bytes already"),
    ("largest_batch", bits, "exact fit", "not in bits"),
    ("largest_batch", doubles, "exact fit", "8 bytes a number"),
    ("largest_batch", doubled_until_full, "exact fit", "power of two"),
    ("largest_batch", embeddings_each_table, "exact fit", "not once a table"),
    ("largest_batch", first_order, "exact fit", "to the last byte"),
    ("largest_batch", neither, "exact fit", "to the last byte"),
    ("row_log_sums", below_one_bound, "logits near 1000", "The bound is too generous here"),
    ("row_log_sums", below_a_bound_each, "logits near 1000", "The bound is too generous here"),
    ("row_log_sums", largest_logit, "one tile", "each row's largest logit"),
    ("row_log_sums", without_log, "one tile", "take its logarithm"),
    ("row_log_sums", log1p, "one tile", "1 too much"),
    ("row_log_sums", never_added_again, "one tile", "not added again"),
    ("row_log_sums", mean_of_log_sums, "two tiles", "the mean of the tiles' log-sums"),
    ("row_log_sums", largest_log_sum, "two tiles", "the largest tile alone"),
    ("row_log_sums", kept_dimension, "one tile", "expected shape (3,), got (3, 1)"),
    ("row_log_sums", into_float32, "float64", "float64"),
    ("row_log_sums", in_base_two, "one tile", "sums in Python's own numbers"),
    ("row_log_sums", wrong_way_round, "two tiles", "the wrong way round"),
    ("row_log_sums", of_columns, "one tile", "the columns"),
    ("row_log_sums", averaged, "one tile", "the mean"),
    ("row_log_sums", from_zero, "one tile", "1 too much"),
    ("row_log_sums", added_logs, "two tiles", "not their logarithms"),
    ("row_log_sums", last_tile, "two tiles", "the last tile alone"),
    ("row_log_sums", never_rescaled, "two tiles", "the old sum must shrink"),
    ("row_log_sums", full_tiles, "a shorter last tile", "is lost"),
    ("row_log_sums", no_maximum, "logits near 1000", "subtract the row's maximum"),
    ("row_log_sums", maximum_from_zero, "logits near -1000", "Start at -inf"),
    ("row_log_sums", one_maximum, "rows far apart", "Each row has its own"),
    ("row_log_sums", first_maximum, "a towering last tile", "must grow from tile to tile"),
    ("row_log_sums", whole, "no room for the table", "2000 entries, the whole table, was made at `return torch"),
    ("row_log_sums", einsum, "no room for the table", "2000 entries, the whole table"),
    ("row_log_sums", put_together, "no room for the table", "2000 entries, the whole table"),
    ("row_log_sums", filled, "no room for the table", "2000 entries, the whole table"),
    ("row_log_sums", tiles_of_rows, "no room for the table", "400 entries, where N × tile is 320"),
    ("cached_gradient", accumulated, "two chunks", "gradient accumulation"),
    ("cached_gradient", accumulated_mean, "two chunks", "gradient accumulation"),
    ("cached_gradient", accumulated_one_way, "two chunks", "zb asks for its row as well"),
    ("cached_gradient", one_way, "two chunks", "zb asks for its row as well"),
    ("cached_gradient", last_chunk, "two chunks", "the last chunk's part alone"),
    ("cached_gradient", chunks_averaged, "two chunks", "are to be added"),
    ("cached_gradient", by_the_vectors, "two chunks", "hand it on to w"),
    ("cached_gradient", full_chunks, "a shorter last chunk", "is lost"),
    ("cached_gradient", on_top, "w.grad is in use", "backward adds to what w.grad held"),
    ("cached_gradient", whole_graph, "two chunks", "a chunk is 4 rows"),
    ("cached_gradient", all_graphs, "two chunks", "before you encode the next one"),
    ("cached_gradient", all_second_graphs, "two chunks", "before you encode the next one"),
    ("cached_gradient", kept_graph, "two chunks", "before you encode the next one"),
    ("cached_gradient", no_leaf, "two chunks", "nothing that this was made from asks for a gradient"),
    (
        "cached_gradient",
        second_pass_without_graph,
        "two chunks",
        "nothing that this was made from asks for a gradient",
    ),
    ("cached_gradient", detached_w, "two chunks", "no path leads from this back"),
    ("cached_gradient", sum_of_vectors, "two chunks", "a gradient of ones"),
    ("cached_gradient", same_part_for_all, "two chunks", "the first chunk's rows of the gradient"),
    ("cached_gradient", first_chunk, "two chunks", "the first chunk's part alone"),
    ("cached_gradient", divided_by_n, "two chunks", "Nothing is divided by N"),
    ("cached_gradient", summed_loss, "two chunks", "N times the gradient"),
    ("cached_gradient", directions_summed, "two chunks", "averaged, not added"),
    ("cached_gradient", columns_only, "two chunks", "each row of x asks as well"),
    ("cached_gradient", unscaled, "two chunks", "scale is not used"),
    ("cached_gradient", as_a_temperature, "two chunks", "this divides"),
    ("cached_gradient", upwards, "two chunks", "The sign is wrong"),
    ("cached_gradient", a_gradient_a_chunk, "two chunks", "expected shape (6, 6), got (2, 6, 6)"),
    ("cached_gradient", a_tuple, "two chunks", "TypeError"),
    ("share_of_loss", detached_gather, "two processes", "they were your negatives"),
    ("share_of_loss", detached_in_the_usual_way, "two processes", "they were your negatives"),
    ("share_of_loss", labels_from_zero, "two processes", "Where do your rows begin?"),
    ("share_of_loss", part_of_a_sum, "two processes", "W times too small"),
    ("share_of_loss", mean_of_my_rows, "ragged", "the mean over your own rows"),
    ("share_of_loss", mean_of_my_rows_times_w, "two processes", "one of the two is enough"),
    ("share_of_loss", neither_mean, "two processes", "Nothing is divided by N"),
    ("share_of_loss", directions_added, "two processes", "averaged, not added"),
    ("share_of_loss", one_direction, "two processes", "each row of all_b asks as well"),
    ("share_of_loss", half_of_one_direction, "two processes", "each row of all_b asks as well"),
    ("share_of_loss", among_my_own, "two processes", "the negatives of the other processes are missing"),
    ("share_of_loss", all_of_it, "two processes", "the whole batch's loss"),
    ("share_of_loss", share_evenly, "ragged", "rank · sizes[rank]"),
    ("share_of_loss", by_share, "ragged", "rank · N / W"),
    ("share_of_loss", without_scale, "two processes", "scale is not used"),
    ("share_of_loss", by_temperature, "two processes", "this divides"),
    ("share_of_loss", as_a_number, "two processes", "expected a scalar tensor, got float"),
    ("share_of_loss", in_a_new_tensor, "two processes", "no gradient reaches all_a"),
    ("share_of_loss", both_ways_apart, "two processes", "expected a scalar tensor, got tuple"),
]
