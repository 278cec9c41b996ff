"""What learners write for the checks of lesson 09: right answers in other ways, and mistakes in their own words."""

import numpy as np
import torch
import torch.nn.functional as F

from xlib.contrastive import info_nce
from xlib.experiments import pairs


# Right answers, in several styles.
def by_a_list(groups, order, most):
    rows = []
    for group in order.tolist():
        members = [row for row, own in enumerate(groups.tolist()) if own == group]
        if len(rows) + len(members) <= most:
            rows.extend(members)
    return torch.tensor(sorted(rows), dtype=torch.int64)


def by_sizes_and_isin(groups, order, most):
    numbers, sizes = groups.unique(return_counts=True)
    size, kept = dict(zip(numbers.tolist(), sizes.tolist(), strict=True)), []
    for group in order.tolist():
        if size[group] <= most:
            kept.append(group)
            most -= size[group]
    return torch.isin(groups, torch.tensor(kept, dtype=torch.int64)).nonzero().flatten()


def by_where_and_cat(groups, order, most):
    chosen = torch.empty(0, dtype=torch.long)
    for group in order:
        (rows,) = torch.where(groups == group)
        if len(chosen) + len(rows) > most:
            continue
        chosen = torch.cat([chosen, rows])
    return chosen.sort().values


def by_numpy(groups, order, most):
    test = np.zeros(len(groups), dtype=bool)
    for group in order.numpy():
        more = test | (groups.numpy() == group)
        test = more if more.sum() <= most else test
    return torch.from_numpy(np.flatnonzero(test))


def by_soft_labels(za, zb, caption, scale):
    wanted = F.normalize((caption[:, None] == caption[None]).to(za.dtype), p=1, dim=1)
    logits = za @ zb.T * scale
    return (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2


def by_masked_means(za, zb, caption, scale):
    logits, same = scale * za @ zb.T, caption == caption[:, None]
    losses = []
    for dim in (0, 1):
        each = torch.where(same, logits.log_softmax(dim=dim), 0).sum(dim=dim) / same.sum(dim=dim)
        losses.append(-each.mean())
    return sum(losses) / 2


def row_by_row(za, zb, caption, scale):
    total = 0
    for i in range(len(za)):
        own = caption == caption[i]
        total -= F.log_softmax(scale * zb @ za[i], dim=0)[own].mean()
        total -= F.log_softmax(scale * za @ zb[i], dim=0)[own].mean()
    return total / (2 * len(za))


def less_the_mean_logit(za, zb, caption, scale):
    logits, same = scale * za @ zb.T, (caption[:, None] == caption).to(za.dtype)
    right = (logits * same / same.sum(dim=1)).sum() / len(za)  # the table of shares is symmetric
    return (logits.logsumexp(dim=0).mean() + logits.logsumexp(dim=1).mean()) / 2 - right


def by_mean_captions(za, zb, caption, scale):
    """The mean right logit of a row is its product with the mean of the rows with its caption."""
    same = (caption[:, None] == caption).to(za.dtype)
    mean_a, mean_b = (same @ z / same.sum(dim=1, keepdim=True) for z in (za, zb))
    logits, costs = scale * za @ zb.T, []
    for dim, own, other in ((1, za, mean_b), (0, zb, mean_a)):
        costs.append((logits.logsumexp(dim=dim) - scale * (own * other).sum(dim=1)).mean())
    return torch.stack(costs).mean()


def column_by_column(target, source):
    moved = target.clone()
    for column in range(target.shape[1]):
        own, other = target[:, column], source[:, column]
        stretch = other.std() / own.std() if own.std() > 0 else 1
        moved[:, column] = (own - own.mean()) * stretch + other.mean()
    return moved


def by_std_mean(target, source):
    (wide, middle), (wanted, onto) = torch.std_mean(target, dim=0), torch.std_mean(source, dim=0)
    factor = wanted / torch.where(wide == 0, wanted, wide)
    return (target - middle) * torch.nan_to_num(factor, nan=1.0) + onto


def by_masked_fill(target, source):
    same = (target == target[0]).all(dim=0)
    wide = target.std(dim=0, keepdim=True).masked_fill(same, 1.0)
    wanted = source.std(dim=0, keepdim=True).masked_fill(same, 1.0)
    centred = target - target.mean(dim=0, keepdim=True)
    return centred / wide * wanted + source.mean(dim=0, keepdim=True)


def by_numpy_with_ddof(target, source):
    t, s = target.double().numpy(), source.double().numpy()
    wide = t.std(axis=0, ddof=1)
    still = t.max(axis=0) == t.min(axis=0)
    stretch = np.where(still, 1, s.std(axis=0, ddof=1) / np.where(still, 1, wide))
    return torch.from_numpy((t - t.mean(axis=0)) * stretch + s.mean(axis=0)).to(target.dtype)


RIGHT = [
    ("rows_for_test", by_a_list),
    ("rows_for_test", by_sizes_and_isin),
    ("rows_for_test", by_where_and_cat),
    ("rows_for_test", by_numpy),
    ("loss_with_repeats", by_soft_labels),
    ("loss_with_repeats", by_masked_means),
    ("loss_with_repeats", row_by_row),
    ("loss_with_repeats", less_the_mean_logit),
    ("loss_with_repeats", by_mean_captions),
    ("onto_source", column_by_column),
    ("onto_source", by_std_mean),
    ("onto_source", by_masked_fill),
    ("onto_source", by_numpy_with_ddof),
    ("onto_source", lambda target, source: pairs.onto_source(target, target, source, spread=True)),
]


# The same mistakes as a learner writes them. Lesson 09, exercise 1: no twin on both sides.
def members(groups, group):
    return (groups == group).nonzero()[:, 0].tolist()


def rows_of(groups, chosen):
    return torch.tensor(sorted(row for group in chosen for row in members(groups, group)), dtype=torch.int64)


def first_ones(groups, order, most):
    return torch.arange(min(most, len(groups)))


def cut_through(groups, order, most):
    rows = [row for group in order for row in members(groups, group)]
    return torch.tensor(sorted(rows[:most]), dtype=torch.int64)


def until_it_is_full(groups, order, most):
    rows = []
    for group in order:
        if len(rows) + len(members(groups, group)) > most:
            break
        rows += members(groups, group)
    return torch.tensor(sorted(rows), dtype=torch.int64)


def while_there_is_room(groups, order, most):
    rows = []
    for group in order:
        if len(rows) >= most:
            break
        rows += members(groups, group)
    return torch.tensor(sorted(rows), dtype=torch.int64)


def each_for_itself(groups, order, most):
    return rows_of(groups, [group for group in order if len(members(groups, group)) <= most])


def never_quite_full(groups, order, most):
    chosen, left = [], most
    for group in order:
        size = (groups == group).sum()
        if left - size > 0:
            chosen.append(group)
            left -= size
    return rows_of(groups, chosen)


def so_many_groups(groups, order, most):
    return torch.where(torch.isin(groups, order[:most]))[0]


def which_groups(groups, order, most):
    return groups[by_a_list(groups, order, most)].unique()


def groups_as_drawn(groups, order, most):
    kept = which_groups(groups, order, most).tolist()
    return torch.tensor([group for group in order.tolist() if group in kept], dtype=torch.int64)


def rows_to_train_on(groups, order, most):
    test = set(by_a_list(groups, order, most).tolist())
    return torch.tensor([row for row in range(len(groups)) if row not in test], dtype=torch.int64)


def as_they_were_drawn(groups, order, most):
    rows = []
    for group in order:
        if len(rows) + len(members(groups, group)) <= most:
            rows += members(groups, group)
    return torch.tensor(rows, dtype=torch.int64)


def group_at_that_row(groups, order, most):
    chosen = torch.zeros(len(groups), dtype=torch.bool)
    for row in order:
        twins = groups == groups[row]
        if chosen.sum() + twins.sum() <= most:
            chosen |= twins
    return torch.where(chosen)[0]


def in_numbers(groups, order, most):
    return by_a_list(groups, order.msort(), most)


def largest_first(groups, order, most):
    return by_a_list(groups, torch.tensor(sorted(order.tolist(), key=lambda g: -int((groups == g).sum()))), most)


def from_behind(groups, order, most):
    return by_a_list(groups, torch.tensor(order.tolist()[::-1]), most)


def as_a_mask(groups, order, most):
    mask = torch.zeros(len(groups), dtype=torch.bool)
    mask[by_a_list(groups, order, most)] = True
    return mask


def straight_from_nonzero(groups, order, most):
    return as_a_mask(groups, order, most).nonzero()


def straight_from_where(groups, order, most):
    return torch.where(as_a_mask(groups, order, most))


def both_sides(groups, order, most):
    return rows_to_train_on(groups, order, most), by_a_list(groups, order, most)


def as_a_list(groups, order, most):
    return by_a_list(groups, order, most).tolist()


def without_dtype(groups, order, most):
    return torch.tensor(sorted(by_a_list(groups, order, most).tolist()))


def nothing_to_join(groups, order, most):
    kept = []
    for group in order:
        rows = (groups == group).nonzero()[:, 0]
        if sum(map(len, kept)) + len(rows) <= most:
            kept.append(rows)
    return torch.cat(kept).sort().values


def small_whole_numbers(groups, order, most):
    return by_a_list(groups, order, most).int()


def uses_up_the_order(groups, order, most):
    found = by_a_list(groups, order, most)
    order[: len(order)] = order.flip(0)
    return found


# Exercise 2: a loss for captions that repeat.
def shares(za, caption):
    same = (caption[:, None] == caption).to(za.dtype)
    return same / same.sum(dim=1, keepdim=True)


def plain_info_nce(za, zb, caption, scale):
    return info_nce(za, zb, logit_scale=scale)


def masked_out(za, zb, caption, scale):
    logits, labels = scale * za @ zb.T, torch.arange(len(za))
    twins = (caption[:, None] == caption) & ~torch.eye(len(za), dtype=torch.bool)
    logits = logits.masked_fill(twins, float("-inf"))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def negatives_below(za, zb, caption, scale):
    logits, same = scale * za @ zb.T, caption[:, None] == caption
    losses = []
    for table in (logits, logits.T):
        for row, own in zip(table, same, strict=True):
            each = [F.cross_entropy(torch.cat([x[None], row[~own]])[None], torch.tensor([0])) for x in row[own]]
            losses.append(torch.stack(each).mean())
    return torch.stack(losses).mean()


def multi_hot(za, zb, caption, scale):
    logits, same = scale * za @ zb.T, (caption[:, None] == caption).to(za.dtype)
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


def shares_of_the_table(za, zb, caption, scale):
    logits, same = scale * za @ zb.T, (caption[:, None] == caption).to(za.dtype)
    wanted = same / same.sum()
    return (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2


def sigmoids(za, zb, caption, scale):
    return F.binary_cross_entropy_with_logits(scale * za @ zb.T, (caption[:, None] == caption).to(za.dtype))


def pictures_only(za, zb, caption, scale):
    return F.cross_entropy(scale * za @ zb.T, shares(za, caption))


def captions_only(za, zb, caption, scale):
    return F.cross_entropy(scale * zb @ za.T, shares(za, caption))


def wrong_dimension(za, zb, caption, scale):
    logits, wanted = scale * za @ zb.T, shares(za, caption)
    one = -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()
    two = -(wanted * logits.T.log_softmax(dim=0)).sum(dim=0).mean()
    return (one + two) / 2


def both_added(za, zb, caption, scale):
    return pictures_only(za, zb, caption, scale) + captions_only(za, zb, caption, scale)


def log_of_the_sum(za, zb, caption, scale):
    logits, same = scale * za @ zb.T, caption[:, None] == caption
    losses = []
    for dim in (0, 1):
        right = logits.masked_fill(~same, float("-inf")).logsumexp(dim=dim)
        losses.append((logits.logsumexp(dim=dim) - right).mean())
    return sum(losses) / 2


def log_of_the_mean(za, zb, caption, scale):
    return log_of_the_sum(za, zb, caption, scale) + (caption[:, None] == caption).to(za.dtype).sum(dim=1).log().mean()


def no_scale(za, zb, caption, scale):
    return by_soft_labels(za, zb, caption, 1.0)


def a_temperature(za, zb, caption, scale):
    return by_soft_labels(za, zb, caption, 1 / scale)


def scaled_on_both_sides(za, zb, caption, scale):
    return by_soft_labels(scale * za, scale * zb, caption, 1)


def over_the_batch(za, zb, caption, scale):
    return by_soft_labels(za, zb, caption, scale) * len(za)


def over_the_table(za, zb, caption, scale):
    logits, wanted = scale * za @ zb.T, shares(za, caption)
    return -(wanted * (logits.log_softmax(dim=1) + logits.log_softmax(dim=0))).mean() / 2


def each_right_entry(za, zb, caption, scale):
    logits, same = scale * za @ zb.T, caption[:, None] == caption
    return -(logits.log_softmax(dim=0)[same].mean() + logits.log_softmax(dim=1)[same].mean()) / 2


def one_row_a_caption(za, zb, caption, scale):
    numbers = caption.tolist()
    first = [numbers.index(number) for number in dict.fromkeys(numbers)]
    return info_nce(za[first], zb[first], logit_scale=scale)


def first_twin(za, zb, caption, scale):
    numbers = caption.tolist()
    labels, logits = torch.tensor([numbers.index(number) for number in numbers]), scale * za @ zb.T
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def captions_as_labels(za, zb, caption, scale):
    logits = scale * za @ zb.T
    return (F.cross_entropy(logits, caption) + F.cross_entropy(logits.T, caption)) / 2


def soft_of_equal(za, zb, caption, scale):
    wanted, logits = (caption[:, None] == caption).to(za.dtype).softmax(dim=1), scale * za @ zb.T
    return (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2


def probabilities_in(za, zb, caption, scale):
    logits, wanted = scale * za @ zb.T, shares(za, caption)
    return (F.cross_entropy(logits.softmax(1), wanted) + F.cross_entropy(logits.T.softmax(1), wanted)) / 2


def log_of_softmax(za, zb, caption, scale):
    powers, wanted = (scale * za @ zb.T).exp(), shares(za, caption)
    logs = [(powers / powers.sum(dim=dim, keepdim=True)).log() for dim in (0, 1)]
    return -sum((wanted * log).sum(dim=1).mean() for log in logs) / 2


def targets_in_float32(za, zb, caption, scale):
    logits = (scale * za @ zb.T).float()
    wanted = shares(logits, caption)
    return ((F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2).to(za.dtype)


def a_plain_number(za, zb, caption, scale):
    return by_soft_labels(za, zb, caption, scale).item()


def captions_are_fixed(za, zb, caption, scale):
    return by_soft_labels(za, zb.detach(), caption, scale)


def label_smoothing(za, zb, caption, scale):
    logits, labels = scale * za @ zb.T, torch.arange(len(za))
    return sum(F.cross_entropy(table, labels, label_smoothing=0.1) for table in (logits, logits.T)) / 2


# Exercise 3: onto the source's mean and spread.
def ratio_of(wide, wanted):
    return torch.where(wide > 0, wanted / wide, torch.ones_like(wide))


def mean_only(target, source):
    return target + (source.mean(dim=0) - target.mean(dim=0))


def spread_only(target, source):
    middle = target.mean(dim=0)
    return middle + (target - middle) * ratio_of(target.std(dim=0), source.std(dim=0))


def stretched_too_early(target, source):
    stretched = target * ratio_of(target.std(dim=0), source.std(dim=0))
    return stretched - target.mean(dim=0) + source.mean(dim=0)


def source_onto_target(target, source):
    return column_by_column(source, target)


def swapped_statistics(target, source):
    stretch = ratio_of(source.std(dim=0), target.std(dim=0))
    return (target - source.mean(dim=0)) * stretch + target.mean(dim=0)


def upside_down(target, source):
    stretch = ratio_of(source.std(dim=0), target.std(dim=0))
    return (target - target.mean(dim=0)) * stretch + source.mean(dim=0)


def plain_division(target, source):
    return (target - target.mean(0)) / target.std(0) * source.std(0) + source.mean(0)


def with_eps(target, source):
    return (target - target.mean(0)) / (target.std(0) + 1e-5) * source.std(0) + source.mean(0)


def with_a_small_eps(target, source):
    stretch = source.std(dim=0) / (target.std(dim=0) + 1e-8)
    return source.mean(dim=0) + stretch * (target - target.mean(dim=0))


def nan_to_zero(target, source):
    return torch.nan_to_num(plain_division(target, source))


def kept_as_it_is(target, source):
    moved, still = plain_division(target, source), target.std(dim=0) == 0
    moved[:, still] = target[:, still]
    return moved


def all_together(target, source):
    return (target - target.mean()) / target.std() * source.std() + source.mean()


def one_spread(target, source):
    return (target - target.mean(dim=0)) * (source.std() / target.std()) + source.mean(dim=0)


def variances(target, source):
    stretch = ratio_of(target.var(dim=0), source.var(dim=0))
    return (target - target.mean(dim=0)) * stretch + source.mean(dim=0)


def biased(target, source):
    wide, wanted = target.std(dim=0, unbiased=False), source.std(dim=0, unbiased=False)
    return (target - target.mean(dim=0)) * ratio_of(wide, wanted) + source.mean(dim=0)


def thrown_together(target, source):
    both = torch.cat([target, source])
    stretch = ratio_of(both.std(dim=0), source.std(dim=0))
    return (target - both.mean(dim=0)) * stretch + source.mean(dim=0)


def in_place(target, source):
    stretch = ratio_of(target.std(dim=0), source.std(dim=0))
    target -= target.mean(dim=0)
    return target * stretch + source.mean(dim=0)


def only_standardised(target, source):
    return (target - target.mean(dim=0)) * ratio_of(target.std(dim=0), torch.ones(target.shape[1])) + source.mean(0)


def never_added(target, source):
    return (target - target.mean(dim=0)) * ratio_of(target.std(dim=0), source.std(dim=0))


def along_rows(target, source):
    return (target - target.mean(dim=1)) + source.mean(dim=1)


def in_float32(target, source):
    return column_by_column(target.float(), source.float()).to(target.dtype)


def square_less_square(target, source):
    wide, wanted = (((z**2).mean(0) - z.mean(0) ** 2).clamp(min=0) * len(z) / (len(z) - 1) for z in (target, source))
    return (target - target.mean(dim=0)) * ratio_of(wide.sqrt(), wanted.sqrt()) + source.mean(dim=0)


def both_come_back(target, source):
    return column_by_column(target, source), source


WRONG = [
    ("rows_for_test", first_ones, "nine rows", "Those are the first rows of all"),
    ("rows_for_test", cut_through, "nine rows", "A group is split"),
    ("rows_for_test", until_it_is_full, "nine rows", "It ends at the first group that does not fit"),
    ("rows_for_test", while_there_is_room, "nine rows", "The test has more rows than most"),
    ("rows_for_test", each_for_itself, "nine rows", "Each group fits by itself"),
    ("rows_for_test", never_quite_full, "filled to the last row", "fills the test to the last row still fits"),
    ("rows_for_test", so_many_groups, "nine rows", "most counts rows"),
    ("rows_for_test", which_groups, "nine rows", "Those are numbers of groups"),
    ("rows_for_test", groups_as_drawn, "nine rows", "Those are numbers of groups"),
    ("rows_for_test", rows_to_train_on, "nine rows", "Those are the rows for training"),
    ("rows_for_test", as_they_were_drawn, "nine rows", "in the order of drawing"),
    ("rows_for_test", group_at_that_row, "nine rows", "order holds the numbers of groups"),
    ("rows_for_test", in_numbers, "nine rows", "do not go by their numbers"),
    ("rows_for_test", largest_first, "nine rows", "do not go by their size"),
    ("rows_for_test", from_behind, "nine rows", "begin at its front"),
    ("rows_for_test", as_a_mask, "nine rows", "That is a mask"),
    ("rows_for_test", straight_from_nonzero, "nine rows", "That is a table with one column"),
    ("rows_for_test", straight_from_where, "nine rows", "Several things came back"),
    ("rows_for_test", both_sides, "nine rows", "Several things came back"),
    ("rows_for_test", as_a_list, "nine rows", "got list"),
    ("rows_for_test", without_dtype, "nothing fits", "expected torch.int64, got torch.float32"),
    ("rows_for_test", nothing_to_join, "nothing fits", "a test that no group fits into"),
    ("rows_for_test", small_whole_numbers, "nine rows", "expected torch.int64, got torch.int32"),
    ("rows_for_test", uses_up_the_order, "nine rows", "changed order in place"),
    ("loss_with_repeats", plain_info_nce, "four pairs", "Equal captions count as negatives"),
    ("loss_with_repeats", masked_out, "four pairs", "neither right nor wrong"),
    ("loss_with_repeats", negatives_below, "four pairs", "the softmax goes over all columns"),
    ("loss_with_repeats", multi_hot, "four pairs", "divide them by their number"),
    ("loss_with_repeats", shares_of_the_table, "four pairs", "those of each row are to"),
    ("loss_with_repeats", sigmoids, "four pairs", "Each entry is a yes or no of its own"),
    ("loss_with_repeats", pictures_only, "four pairs", "one direction alone, from za to zb"),
    ("loss_with_repeats", captions_only, "four pairs", "one direction alone, from zb to za"),
    ("loss_with_repeats", wrong_dimension, "four pairs", "a softmax over dim 0 is this one again"),
    ("loss_with_repeats", both_added, "four pairs", "the sum of the two directions"),
    ("loss_with_repeats", log_of_the_sum, "four pairs", "a loss that others use"),
    ("loss_with_repeats", log_of_the_mean, "four pairs", "the log of the mean of probabilities"),
    ("loss_with_repeats", no_scale, "four pairs", "scale is not used"),
    ("loss_with_repeats", a_temperature, "four pairs", "does not divide them"),
    ("loss_with_repeats", scaled_on_both_sides, "four pairs", "here it does so twice"),
    ("loss_with_repeats", over_the_batch, "four pairs", "the sum over the batch"),
    ("loss_with_repeats", over_the_table, "four pairs", "the mean over all entries of the table"),
    ("loss_with_repeats", each_right_entry, "four pairs", "Each right entry of the table counts the same"),
    ("loss_with_repeats", one_row_a_caption, "four pairs", "Only the first row of each caption is left"),
    ("loss_with_repeats", first_twin, "four pairs", "Only the first column with the caption"),
    ("loss_with_repeats", captions_as_labels, "four pairs", "caption numbers captions"),
    ("loss_with_repeats", soft_of_equal, "four pairs", "a softmax of ones and zeros is not"),
    ("loss_with_repeats", probabilities_in, "four pairs", "A softmax too many"),
    ("loss_with_repeats", log_of_softmax, "scale 300", "the log of a tiny share is -inf"),
    ("loss_with_repeats", targets_in_float32, "float64", "does a step go through float32"),
    ("loss_with_repeats", a_plain_number, "four pairs", "expected a scalar tensor, got float"),
    ("loss_with_repeats", captions_are_fixed, "four pairs", "no gradient reaches zb"),
    ("loss_with_repeats", label_smoothing, "four pairs", "two of which have one caption"),
    ("onto_source", mean_only, "five rows and three", "Only the means are moved"),
    ("onto_source", spread_only, "five rows and three", "Only the spread is changed"),
    ("onto_source", stretched_too_early, "five rows and three", "here they are stretched, too"),
    ("onto_source", source_onto_target, "five rows and three", "target is moved onto source"),
    ("onto_source", swapped_statistics, "five rows and three", "target is moved onto source"),
    ("onto_source", upside_down, "five rows and three", "The stretch is upside down"),
    ("onto_source", plain_division, "five rows and three", "0 / 0 is nan"),
    ("onto_source", with_eps, "float64", "A small number added to all spreads"),
    ("onto_source", with_a_small_eps, "float64", "A small number added to all spreads"),
    ("onto_source", nan_to_zero, "five rows and three", "its nan must not become 0"),
    ("onto_source", kept_as_it_is, "five rows and three", "it is not to stay as it is"),
    ("onto_source", all_together, "five rows and three", "One mean and one spread for all columns"),
    ("onto_source", one_spread, "five rows and three", "One spread for all columns"),
    ("onto_source", variances, "five rows and three", "Those are variances"),
    ("onto_source", biased, "five rows and three", "the unbiased spread divides by one less"),
    ("onto_source", thrown_together, "five rows and three", "thrown together"),
    ("onto_source", in_place, "five rows and three", "changed target in place"),
    ("onto_source", only_standardised, "five rows and three", "The columns have spread 1"),
    ("onto_source", never_added, "five rows and three", "never added"),
    ("onto_source", along_rows, "five rows and three", "raised RuntimeError"),
    ("onto_source", in_float32, "float64", "does a step go through float32"),
    ("onto_source", square_less_square, "far away", "that lie near 10000"),
    ("onto_source", both_come_back, "five rows and three", "Several things came back"),
]
