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


def with_split(gradients, sizes, rank):
    return gradients.sum(dim=0).split(sizes)[rank]


def one_by_one(gradients, sizes, rank):
    start = sum(sizes[:rank])
    return sum(of_p[start : start + sizes[rank]] for of_p in gradients)


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
    ("own_gradient", with_split),
    ("own_gradient", one_by_one),
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


def detached_gather(gradients, sizes, rank):
    start = sum(sizes[:rank])
    return gradients[rank, start : start + sizes[rank]]


def mean_over_processes(gradients, sizes, rank):
    return torch.stack(list(gradients)).mean(0).split(sizes)[rank]


def over_n(gradients, sizes, rank):
    return with_split(gradients, sizes, rank) / sum(sizes)


def evenly(gradients, sizes, rank):
    return gradients.sum(dim=0)[rank * sizes[rank] : (rank + 1) * sizes[rank]]


def by_share(gradients, sizes, rank):
    start = rank * gradients.shape[1] // len(gradients)
    return gradients.sum(dim=0)[start : start + sizes[rank]]


def first_rows(gradients, sizes, rank):
    return gradients.sum(dim=0)[: sizes[rank]]


def whole_table(gradients, sizes, rank):
    return sum(gradients)


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
    ("own_gradient", detached_gather, "two processes", "a gather without gradients"),
    ("own_gradient", mean_over_processes, "two processes", "the mean over the processes"),
    ("own_gradient", over_n, "two processes", "Nothing is divided by N"),
    ("own_gradient", first_rows, "two processes", "the first rows"),
    ("own_gradient", whole_table, "two processes", "the whole table"),
    ("own_gradient", evenly, "ragged", "rank · sizes[rank]"),
    ("own_gradient", by_share, "ragged", "rank · N / W"),
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
]
