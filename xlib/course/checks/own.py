"""The checks of lesson 09."""

import itertools
import math
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from xlib.course.checks.engine import Result, check, unit_rows

WIDE, HALF = torch.float64, "float64 in, and nine digits are compared: does a step go through float32?"


def rows_for_test(answer: Callable) -> Result:
    """Check `rows_for_test(groups, order, most)`: (K,) int64, ascending, the rows of a test of at most `most` rows.
    groups (N,) says the group of each row, order (G,) in which order the groups are drawn; each goes in as a whole
    if it fits into what is left, else it is passed over. None may fit."""

    def right(groups, order, most):
        members = {group: [] for group in order.tolist()}
        for row, group in enumerate(groups.tolist()):
            members[group].append(row)
        chosen = []
        for rows in members.values():
            chosen += rows if len(chosen) + len(rows) <= most else []
        return tensor(sorted(chosen), dtype=torch.int64)

    def made(groups, order, most, fits=lambda size, left: size <= left, cost=lambda rows: rows.sum(), stop=False):
        chosen, left = groups != groups, most
        for group in order:
            rows = groups == group
            if fits(rows.sum(), left):
                chosen, left = chosen | rows, left - cost(rows)
            elif stop:
                break
        return chosen.nonzero()[:, 0]

    def one_by_one(groups, order, most):
        return torch.cat([(groups == group).nonzero()[:, 0] for group in order])

    def in_drawing_order(groups, order, most):
        chosen = right(groups, order, most)
        places = (groups[chosen][:, None] == order).int().argmax(dim=1)
        return chosen[places.argsort(stable=True)]

    def by_size(groups, order, most, least=False):
        sizes = (groups == order[:, None]).sum(dim=1)
        return made(groups, order[sizes.argsort(stable=True, descending=not least)], most)

    def numbers(groups, order, most):
        return groups[right(groups, order, most)].unique()

    def numbers_as_drawn(groups, order, most):
        return order[torch.isin(order, numbers(groups, order, most))]

    def mask(groups, order, most):
        return torch.isin(torch.arange(len(groups)), right(groups, order, most))

    def training(groups, order, most):
        return (~mask(groups, order, most)).nonzero()[:, 0]

    split = "A group is split, and its twins stand on both sides: it goes in as a whole, or not at all"
    over = "The test has more rows than most: a group goes in only if all of it fits into what is left"
    named = "Those are numbers of groups: numbers of rows are asked for"
    given = "The order is given: the groups do not go by {}"
    mistakes = [
        ("Those are the first rows of all: look at the groups, or twins stand on both sides",
         lambda groups, order, most: torch.arange(len(groups))[:most]),
        (split, lambda *given: one_by_one(*given)[: given[2]].sort().values),
        (split, lambda *given: one_by_one(*given)[: given[2]]),
        ("It ends at the first group that does not fit: pass it over, for a smaller one may fit after it",
         partial(made, stop=True)),
        (over, partial(made, fits=lambda size, left: left > 0, stop=True)),
        ("Each group fits by itself, but not together with those before: what counts is the room that is left",
         partial(made, cost=lambda rows: 0)),
        ("A group that fills the test to the last row still fits",
         partial(made, fits=lambda size, left: size < left)),
        ("most counts rows: these are so many groups",
         partial(made, fits=lambda size, left: left > 0, cost=lambda rows: 1)),
        (named, numbers),
        (named, numbers_as_drawn),
        (named + ", and each once", lambda *given: given[0][right(*given)]),
        ("Those are the rows for training: the others are asked for", training),
        ("These rows stand in the order of drawing: in the end they are to be ascending", in_drawing_order),
        ("Those are the right rows from the last to the first: they are to be ascending",
         lambda *given: right(*given).flip(0)),
        ("order holds the numbers of groups, and not places of rows in groups",
         lambda groups, order, most: made(groups, groups[order.clamp(max=len(groups) - 1)], most)),
        ("order holds the groups one after the other, and not the place of each",
         lambda groups, order, most: made(groups, order.sort().values[order.argsort().argsort().argsort()], most)),
        (given.format("their numbers"), lambda groups, order, most: made(groups, order.sort().values, most)),
        (given.format("where they come first"),
         lambda groups, order, most: made(groups, tensor(list(dict.fromkeys(groups.tolist()))), most)),
        (given.format("their size"), by_size),
        (given.format("their size, the smallest first"), partial(by_size, least=True)),
        ("The groups are drawn from the end of order: begin at its front",
         lambda groups, order, most: made(groups, order.flip(0), most)),
        ("That is a mask, True or False for each row: the numbers of the rows are asked for", mask),
        ("That is a table with one column: make one dimension of it", lambda *given: right(*given)[:, None]),
    ]  # fmt: skip
    dice = torch.Generator().manual_seed(3)
    many = torch.randint(9, (40,), generator=dice)
    single = torch.randperm(7, generator=dice) + 1
    wide = torch.stack([many[:24] % 6, many[16:] % 5], dim=1)
    cases = [
        ("nine rows", "the rows of a test that has at most four of nine", tensor([4, 1, 4, 0, 1, 4, 6, 0, 4]),
         tensor([0, 4, 6, 1]), 4),
        ("filled to the last row", "the rows of a test that two groups fill", tensor([2, 0, 2, 1, 0, 3, 3, 1, 2, 3]),
         tensor([2, 0, 3, 1]), 5),
        ("one row", "a single row, for which there is room", tensor([3]), tensor([3]), 1),
        ("nothing fits", "a test that no group fits into", tensor([5, 2, 5, 2, 5]), tensor([5, 2]), 1),
        ("room for all", "a test with room for all rows", tensor([1, 0, 1, 2]), tensor([2, 0, 1]), 6),
        ("each by itself", "seven rows, each a group of its own", single, single.flip(0)[[3, 0, 6, 1, 5, 2, 4]], 3),
        ("large numbers", "groups that are numbered with gaps", tensor([907, 12, 907, 4, 310, 12, 310, 12]),
         tensor([310, 12, 4, 907]), 4),
        ("forty rows", "forty rows in nine groups", many, torch.randperm(9, generator=dice), 13),
        ("not contiguous", "groups and order that lie apart in memory", wide[:, 0],
         torch.stack([torch.randperm(6, generator=dice)] * 2, dim=1)[:, 1], 7),
    ]  # fmt: skip
    return check("rows_for_test groups order most", answer, right, cases, mistakes)


def loss_with_repeats(answer: Callable) -> Result:
    """Check `loss_with_repeats(za, zb, caption, scale)`: InfoNCE of unit rows za and zb (N, d), the mean of both
    directions, in za's dtype. caption (N,) numbers the captions; what is wanted of a row is the same share for each
    column that has its caption's number, and 0 for the others. Without repeats it is info_nce."""

    def right(za, zb, caption, scale):
        logits, numbers = za.double() @ zb.double().T * scale, caption.tolist()
        costs = []
        for table in (logits, logits.T):
            for row, own in zip(table, numbers, strict=True):
                same = torch.stack([x for x, number in zip(row, numbers, strict=True) if number == own])
                costs.append(row.logsumexp(dim=0) - same.mean())
        return torch.stack(costs).mean().to(za.dtype)

    def shares(same):
        return same / same.sum(dim=1, keepdim=True)

    def two(logits, cost):
        """Two directions, (2, N)."""
        return torch.stack([cost(logits), cost(logits.T)])

    def made(za, zb, caption, scale, cost=None, wanted=shares, ways=slice(None), last=torch.mean, times=1, by=None):
        logits = za.double() @ zb.double().T * (scale if by is None else by(scale))
        target = wanted((caption[:, None] == caption).double())

        def entropy(table):
            return -(target * table.log_softmax(dim=1)).sum(dim=1)

        each = two(logits, entropy if cost is None else partial(cost, caption[:, None] == caption))
        return times * last(each[ways]).to(za.dtype)

    def own_alone(same):
        return torch.eye(len(same), dtype=same.dtype)

    def others_alone(same):
        return (same - own_alone(same)) / (same.sum(dim=1, keepdim=True) - 1).clamp(min=1)

    def left_out(same, table):
        own = torch.eye(len(table), dtype=torch.bool)
        return table.masked_fill(same & ~own, -math.inf).logsumexp(dim=1) - table.diagonal()

    def each_against_negatives(same, table):
        rest = table.masked_fill(same, -math.inf).logsumexp(dim=1, keepdim=True)
        return (torch.logaddexp(table, rest) - table).where(same, 0).sum(dim=1) / same.sum(dim=1)

    def log_of_sum(same, table):
        return table.logsumexp(dim=1) - table.masked_fill(~same, -math.inf).logsumexp(dim=1)

    def log_of_mean(same, table):
        return log_of_sum(same, table) + same.sum(dim=1).log()

    def first_alone(same, table):
        return table.logsumexp(dim=1) - table.gather(1, same.int().argmax(dim=1, keepdim=True))[:, 0]

    def softmax_twice(same, table):
        return -(shares(same.double()) * table.softmax(dim=1).log_softmax(dim=1)).sum(dim=1)

    def of_the_whole_table(same):
        return same / same.sum()

    def yes_or_no(same, table):
        return binary_cross_entropy_with_logits(table, same.double(), reduction="none").mean(dim=1)

    def by_entries(za, zb, caption, scale):
        logits, same = za.double() @ zb.double().T * scale, caption[:, None] == caption
        return two(logits, lambda table: -table.log_softmax(dim=1))[:, same].mean().to(za.dtype)

    def by_captions(za, zb, caption, scale):
        same = caption[:, None] == caption
        each = made(za, zb, caption, scale, last=lambda each: each.mean(dim=0))
        return (each / same.sum(dim=1)).sum() / (1 / same.sum(dim=1)).sum()

    def firsts(za, zb, caption, scale):
        rows = [row for row, number in enumerate(caption.tolist()) if number not in caption[:row].tolist()]
        return right(za[rows], zb[rows], caption[rows], scale)

    def as_classes(za, zb, caption, scale):
        logits = za.double() @ zb.double().T * scale
        return two(logits, lambda table: cross_entropy(table, caption)).mean().to(za.dtype)

    alone = "That is one direction alone, {}: take the mean of both"
    softmax = "The wanted shares are 0 for all other captions, and a softmax of ones and zeros is not"
    mistakes = [
        ("Equal captions count as negatives here: each column with the row's caption is right",
         partial(made, wanted=own_alone)),
        ("Equal captions are left out here, neither right nor wrong: they are right, and count",
         partial(made, cost=left_out)),
        ("Below the fraction are one right column and the wrong ones here: the softmax goes over all columns",
         partial(made, cost=each_against_negatives)),
        ("A row's own column is right, too, beside the others with its caption", partial(made, wanted=others_alone)),
        ("Only the first column with the caption is right here: all of them are", partial(made, cost=first_alone)),
        ("Only the first row of each caption is left: all rows count", firsts),
        ("The wanted shares of a row sum to more than 1: divide them by their number",
         partial(made, wanted=torch.clone)),
        ("The wanted shares of the whole table sum to 1 here: those of each row are to",
         partial(made, wanted=of_the_whole_table)),
        ("Each entry is a yes or no of its own here, as in SigLIP: a softmax goes over the columns of a row",
         partial(made, cost=yes_or_no)),
        ("Each right entry of the table counts the same here, and a frequent caption more: each row counts the same",
         by_entries),
        ("Each caption counts the same here: each row does", by_captions),
        ("That is the log of the sum of probabilities, a loss that others use (MIL-NCE): one right column is enough "
         "for it. Here each is to get its share: take the mean of the logs", partial(made, cost=log_of_sum)),
        ("That is the log of the mean of probabilities: take the mean of the logs", partial(made, cost=log_of_mean)),
        (softmax, partial(made, wanted=partial(torch.softmax, dim=1))),
        ("caption numbers captions, and not columns of the table", as_classes),
        (alone.format("from za to zb (of the transposed table, a softmax over dim 0 is this one again)"),
         partial(made, ways=0)),
        (alone.format("from zb to za (of the table itself, a softmax over dim 0 is this one)"),
         partial(made, ways=1)),
        ("That is the sum of the two directions: take their mean", partial(made, times=2)),
        ("That is the sum over the batch: take the mean over its rows",
         partial(made, last=lambda each: each.sum(dim=-1).mean())),
        ("That is the mean over all entries of the table: sum over a row, and take the mean of the rows",
         partial(made, last=lambda each: each.mean() / each.shape[-1])),
        ("The sign is wrong: the better the guess, the lower the loss", partial(made, times=-1)),
        ("A softmax too many: cross_entropy takes the logits as they are and does its own",
         partial(made, cost=softmax_twice)),
        ("scale is not used: it multiplies the cosines", partial(made, by=lambda scale: 1)),
        ("scale multiplies the cosines, and does not divide them", partial(made, by=lambda scale: 1 / scale)),
        ("scale multiplies the cosines once: here it does so twice", partial(made, by=lambda scale: scale**2)),
        ("scale is the scale itself, not its logarithm: no exp", partial(made, by=math.exp)),
    ]  # fmt: skip
    a, b = tensor([[1, 0], [0.6, 0.8], [0, 1], [-0.6, 0.8]]), tensor([[0.8, 0.6], [1, 0], [-0.6, 0.8], [0, 1]])
    rows, six = partial(unit_rows, dtype=WIDE), tensor([7, 2, 7, 7, 2, 5])
    cases = [
        ("four pairs", "the loss of four pairs, two of which have one caption", a, b, tensor([2, 0, 2, 1]), 2.3),
        ("one pair", "the loss of one pair: there is nothing it could be confused with", a[1:2], b[:1], tensor([4]),
         5.7),
        ("no repeats", "the loss of four captions that all differ", a, b, tensor([3, 0, 1, 2]), 3.1),
        ("all the same", "the loss of four pairs that all have one caption", b, a, tensor([1, 1, 1, 1]), 1.9),
        ("scale 300", "the loss at scale 300: in float32 exp(300) is inf, and the log of a tiny share is -inf",
         a, b, tensor([0, 0, 1, 0]), 300.0),
        ("float64", HALF, rows(6, 4, 0), rows(6, 4, 1), six, 7.3),
        ("not contiguous", "the loss of nine pairs whose rows lie apart in memory", unit_rows(9, 5, 2),
         unit_rows(9, 5, 3), torch.arange(18)[::2] % 4, 9.1),
    ]  # fmt: skip
    cases = [(title, hint, *(z.clone(memory_format=torch.preserve_format) for z in given[:2]), *given[2:])
             for title, hint, *given in cases]  # fmt: skip
    for z in itertools.chain(*(case[2:4] for case in cases)):
        z.requires_grad_()
    return check("loss_with_repeats za zb caption scale", answer, right, cases, mistakes)


def onto_source(answer: Callable) -> Result:
    """Check `onto_source(target, source)`: (M, D), target (M, D) moved and stretched so that each column has the mean
    and the standard deviation (unbiased) of the same column of source (N, D). A column that never changes in target
    is only moved. M and N are 2 or more."""

    def right(target, source):
        columns = []
        for own, other in zip(target.T.tolist(), source.T.tolist(), strict=True):
            at, to, wide = statistics.fmean(own), statistics.fmean(other), statistics.stdev(own)
            stretch = statistics.stdev(other) / wide if wide else 1
            columns.append([(x - at) * stretch + to for x in own])
        return tensor(columns, dtype=target.dtype).T

    def spread(x):
        return x.std(dim=0)

    def ratio(wide, wanted):
        return torch.where(wide > 0, wanted / wide, 1.0)

    def middle(x):
        return x.mean(dim=0)

    def made(target, source, of=middle, wide=spread, stretch=ratio, off=None, on=None, both=None):
        own = target if both is None else torch.cat([target, source])
        off, on = of(own) if off is None else off(own), of(source) if on is None else on(target, source)
        return (target - off) * stretch(wide(own), wide(source)) + on

    def plus(eps):
        return lambda wide, wanted: wanted / (wide + eps)

    def stretched_first(target, source):
        return target * ratio(spread(target), spread(source)) - middle(target) + middle(source)

    def left_alone(target, source):
        return torch.where(spread(target) > 0, made(target, source), target)

    def by_range(x):
        return x.amax(dim=0) - x.amin(dim=0)

    def per_row(x):
        return x.mean(dim=1, keepdim=True)

    def layer(target, source):
        wide = (target - per_row(target)).square().sum(dim=1, keepdim=True).div(max(1, target.shape[1] - 1)).sqrt()
        return (target - per_row(target)) * torch.where(wide > 0, spread(source) / wide, 1.0) + middle(source)

    still = "A column that never changes in target has spread 0: {}"
    small = still.format("only move it. A small number added to all spreads changes every column")
    exchanged = "target and source have swapped parts: target is moved onto source"
    mistakes = [
        ("Only the means are moved: the spread is to become the source's, too",
         partial(made, stretch=lambda wide, wanted: 1)),
        ("Only the spread is changed: the means are to become the source's, too",
         partial(made, on=lambda target, source: middle(target))),
        ("The means are added to what they were: take off the target's own first",
         partial(made, off=lambda own: 0)),
        ("The means are taken off and those of source never added", partial(made, on=lambda target, source: 0)),
        ("Take the target's means off first, and stretch then: here they are stretched, too", stretched_first),
        ("The columns have spread 1: they are to have the source's",
         partial(made, stretch=lambda wide, wanted: ratio(wide, 1.0))),
        ("target's columns still have their own spread in it: divide by it",
         partial(made, stretch=lambda wide, wanted: wanted)),
        (exchanged, lambda target, source: made(source, target)),
        (exchanged, lambda target, source: (target - middle(source)) * ratio(spread(source), spread(target))
         + middle(target)),
        ("The stretch is upside down: the source's spread over the target's",
         partial(made, stretch=lambda wide, wanted: ratio(wanted, wide))),
        (still.format("0 / 0 is nan. Only move it"), partial(made, stretch=lambda wide, wanted: wanted / wide)),
        (still.format("its nan must not become 0, but the source's mean"),
         lambda t, s: made(t, s, stretch=lambda wide, wanted: wanted / wide).nan_to_num()),
        (still.format("it is not to stay as it is, but to move onto the source's mean"), left_alone),
        *((small, partial(made, stretch=plus(eps))) for eps in (1e-3, 1e-5, 1e-6, 1e-8)),
        ("One mean and one spread for all columns: each column has its own",
         partial(made, of=torch.mean, wide=torch.std)),
        ("One spread for all columns: each has its own", partial(made, wide=torch.std)),
        ("One mean for all columns: each has its own", partial(made, of=torch.mean)),
        ("Those are variances: the standard deviation is the root of one",
         partial(made, wide=lambda x: x.var(dim=0))),
        ("The root of the stretch is too much: standard deviations are roots already",
         partial(made, wide=lambda x: spread(x).sqrt())),
        ("The sums are divided by the number of rows: the unbiased spread divides by one less, as torch does",
         partial(made, wide=lambda x: x.std(dim=0, correction=0))),
        ("The spread is no range from the smallest to the largest", partial(made, wide=by_range)),
        ("The spread is no mean distance from the mean",
         partial(made, wide=lambda x: (x - middle(x)).abs().mean(dim=0))),
        ("Those are medians: means are asked for", partial(made, of=lambda x: x.median(dim=0).values)),
        ("target and source are thrown together: take the target's own means and spreads", partial(made, both=True)),
        ("Those are means and spreads of rows: take them of columns", layer),
    ]  # fmt: skip
    t = tensor([[4.0, 1, 7], [6, 3, 7], [5, 8, 7], [9, 0, 7], [2, 5, 7]])
    s = tensor([[-2.0, 30, 0.5], [2, 50, 0.1], [1, 10, 0.9]])
    noise = [torch.randn(n, 4, generator=torch.Generator().manual_seed(n), dtype=WIDE) for n in (6, 9, 30)]
    a, b, c = (rows.float() for rows in noise)
    flat, still, apart = c.clone(), c.clone(), unit_rows(20, 6, 10)
    flat[:, 1], still[:, 2], apart[:, 4] = 3.0, 10000.1, 7777.7
    cases = [
        ("five rows and three", "three columns, the last of which never changes in target", t, s),
        ("as many rows", "columns of six rows in both", a, 3 * b[:6] + 2),
        ("two rows, one column", "one column of two rows", tensor([[1.0], [3.0]]), tensor([[5.0], [9.0], [4.0]])),
        ("source never changes", "a column that never changes in source", a + 4, flat),
        ("float64", HALF, noise[0] + 5, 3 * noise[1]),
        ("small spreads", "a column whose spread is a thousandth", noise[2] * tensor([1e-3, 1, 0.1, 10]) + 2,
         noise[1] - 1),
        ("far away", "columns of target that lie near 10000", 1e4 + 50 * a, b),
        ("still and far away", "a column of target that is 10000.1 in each row", still,
         b + tensor([0.0, 0, 300, 0])),
        ("not contiguous", "columns whose numbers lie apart in memory, one of which never changes", apart,
         2 * unit_rows(30, 6, 11) + tensor([0.0, 0, 0, 0, 300, 0])),
    ]  # fmt: skip
    return check("onto_source target source", answer, right, cases, mistakes)
