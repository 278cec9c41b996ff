"""What learners write for the checks of lesson 02: right answers in other ways, and mistakes in their own words."""

import math

import torch
import torch.nn.functional as F

from xlib import contrastive

# -- gradient_za


def softmaxes(za, zb, scale):
    """Both questions' probabilities and the identity, all (N, N)."""
    logits = scale * za @ zb.T
    return logits.softmax(dim=1), logits.softmax(dim=0), torch.eye(len(za), dtype=za.dtype)


def picture_by_picture(za, zb, scale):
    p, q, _ = softmaxes(za, zb, scale)
    rows = [(p[i] + q[i]) @ zb - 2 * zb[i] for i in range(len(za))]
    return scale / (2 * len(za)) * torch.stack(rows)


def by_autograd(za, zb, logit_scale):
    leaf = za.clone().requires_grad_()
    return torch.autograd.grad(contrastive.info_nce(leaf, zb, logit_scale=logit_scale), leaf)[0]


def by_backward(za, zb, logit_scale):
    with torch.enable_grad():
        leaf = za.clone().requires_grad_()
        contrastive.info_nce(leaf, zb, logit_scale=logit_scale).backward()
    return leaf.grad


def of_one_question(za, zb, scale):
    p, _, own = softmaxes(za, zb, scale)
    return scale * (p - own) @ zb / len(za)


def half_of_one_question(za, zb, scale):
    p, _, own = softmaxes(za, zb, scale)
    return scale * (p - own) @ zb / (2 * len(za))


def without_chain_rule(za, zb, scale):
    p, q, own = softmaxes(za, zb, scale)
    return (p + q - 2 * own) @ zb / (2 * len(za))


def uphill(za, zb, scale):
    return -picture_by_picture(za, zb, scale)


def scale_squared(za, zb, scale):
    p, q, own = softmaxes(za, zb, scale)
    return scale**2 * (p + q - 2 * own) @ zb / (2 * len(za))


def no_mean(za, zb, scale):
    p, q, own = softmaxes(za, zb, scale)
    return scale * (p + q - 2 * own) @ zb


def not_halved(za, zb, scale):
    p, q, own = softmaxes(za, zb, scale)
    return scale * ((p - own) + (q - own)) @ zb / len(za)


def one_identity(za, zb, scale):
    p, q, own = softmaxes(za, zb, scale)
    return scale * (p + q - own) @ zb / (2 * len(za))


def columns_left_turned(za, zb, scale):
    logits = scale * za @ zb.T
    own = torch.eye(len(za), dtype=za.dtype)
    table = (logits.softmax(dim=1) - own) + (logits.T.softmax(dim=1) - own)
    return scale * table @ zb / (2 * len(za))


def times_the_pictures(za, zb, scale):
    p, q, own = softmaxes(za, zb, scale)
    return scale * (p + q - 2 * own) @ za / (2 * len(za))


def table_turned(za, zb, scale):
    p, q, own = softmaxes(za, zb, scale)
    return scale * (p + q - 2 * own).T @ zb / (2 * len(za))


def gradient_of_zb(za, zb, scale):
    return picture_by_picture(zb, za, scale)


def cosines_in_softmax(za, zb, scale):
    p, q, own = softmaxes(za, zb, 1)
    return scale * (p + q - 2 * own) @ zb / (2 * len(za))


def naive_softmax(za, zb, scale):
    exps = torch.exp(scale * za @ zb.T)
    table = exps / exps.sum(1, keepdim=True) + exps / exps.sum(0, keepdim=True) - 2 * torch.eye(len(za))
    return scale * table.to(za.dtype) @ zb / (2 * len(za))


def three_of_them(za, zb, scale):
    p, q, own = softmaxes(za, zb, scale)
    return scale * (p + q - 2 * own) @ zb / 6


def normalised_first(za, zb, scale):
    return picture_by_picture(F.normalize(za, dim=1), F.normalize(zb, dim=1), scale)


def a_tuple_of_both(za, zb, scale):
    return picture_by_picture(za, zb, scale), picture_by_picture(zb, za, scale)


# -- effective_negatives


def push(cosines, tau):
    return torch.softmax(cosines[1:] / tau, dim=0)


def from_log_softmax(cosines, tau):
    log_q = torch.log_softmax(cosines[1:] / tau, dim=0)
    return (-(log_q.exp() * log_q).sum()).exp()


def nan_to_zero(cosines, tau):
    q = push(cosines, tau)
    return (-(q * q.log()).nan_to_num()).sum().exp()


def with_the_right_caption(cosines, tau):
    return torch.special.entr(torch.softmax(cosines / tau, 0)).sum().exp()


def in_bits(cosines, tau):
    return torch.special.entr(push(cosines, tau)).sum() / math.log(2)


def e_to_the_bits(cosines, tau):
    return torch.exp(torch.special.entr(push(cosines, tau)).sum() / math.log(2))


def naive_log(cosines, tau):
    q = push(cosines, tau)
    return (-(q * q.log()).sum()).exp()


def with_epsilon(cosines, tau):
    q = push(cosines, tau)
    return torch.exp(-(q * torch.log(q + 1e-8)).sum())


def with_a_larger_epsilon(cosines, tau):
    q = push(cosines, tau)
    return torch.exp(-(q * torch.log(q + 1e-6)).sum())


def only_the_entropy(cosines, tau):
    return torch.special.entr(push(cosines, tau)).sum()


def no_temperature(cosines, tau):
    return torch.special.entr(cosines[1:].softmax(0)).sum().exp()


def times_tau(cosines, tau):
    return torch.special.entr((cosines[1:] * tau).softmax(0)).sum().exp()


def not_renormalised(cosines, tau):
    p = torch.softmax(cosines / tau, dim=0)[1:]
    return torch.special.entr(p).sum().exp()


def minus_forgotten(cosines, tau):
    return (torch.xlogy(push(cosines, tau), push(cosines, tau))).sum().exp()


def last_left_out(cosines, tau):
    return torch.special.entr(torch.softmax(cosines[:-1] / tau, 0)).sum().exp()


def inverse_squares(cosines, tau):
    return 1 / push(cosines, tau).pow(2).sum()


def a_plain_float(cosines, tau):
    return from_log_softmax(cosines, tau).item()


def cosines_over_their_sum(cosines, tau):
    q = cosines[1:] / tau
    q = q / q.sum()
    return torch.special.entr(q).sum().exp()


# -- least_scale


def in_plain_python(n, loss):
    return max(0.0, (n - 1) / n * math.log((n - 1) / math.expm1(loss)))


def as_difference_of_logs(n, loss):
    scale = (torch.tensor(n - 1.0).log() - torch.tensor(loss).expm1().log()) * (n - 1) / n
    return scale.clamp(min=0)


def gap_of_one(n, loss):
    return max(0.0, math.log((n - 1) / (math.exp(loss) - 1)))


def gap_turned(n, loss):
    return max(0.0, n / (n - 1) * math.log((n - 1) / (math.exp(loss) - 1)))


def gap_of_two(n, loss):
    return max(0.0, math.log((n - 1) / (math.exp(loss) - 1)) / 2)


def n_wrong_captions(n, loss):
    return max(0.0, (n - 1) / n * math.log(n / (math.exp(loss) - 1)))


def the_one_forgotten(n, loss):
    return max(0.0, (n - 1) / n * (math.log(n - 1) - loss))


def a_temperature(n, loss):
    s = (n - 1) / n * math.log((n - 1) / (math.exp(loss) - 1))
    return 1 / s if s > 0 else math.inf


def sign_lost(n, loss):
    return min(0.0, (n - 1) / n * math.log((math.exp(loss) - 1) / (n - 1)))


def below_zero(n, loss):
    return (n - 1) / n * math.log((n - 1) / (math.exp(loss) - 1))


def with_log10(n, loss):
    return max(0.0, (n - 1) / n * math.log10((n - 1) / (math.exp(loss) - 1)))


def with_log2(n, loss):
    return max(0.0, (n - 1) / n * math.log2((n - 1) / (math.exp(loss) - 1)))


def the_floor_itself(n, loss):
    return contrastive.info_nce_floor(n, loss)


def what_it_shows(n, loss):
    return math.log(n) - loss


def absolute(n, loss):
    return abs((n - 1) / n * math.log((n - 1) / (math.exp(loss) - 1)))


def always_64(n, loss):
    return max(0.0, 63 / 64 * math.log(63 / (math.exp(loss) - 1)))


def both_at_once(n, loss):
    return in_plain_python(n, loss), 1 / max(in_plain_python(n, loss), 1e-9)


# -- siglip_block


def signs_of(za, zb, row, column):
    rows, columns = torch.arange(len(za)) + row, torch.arange(len(zb)) + column
    return 2 * (rows[:, None] == columns).to(za.dtype) - 1


def with_softplus(za, zb, row, column, n, scale, bias):
    return F.softplus(-signs_of(za, zb, row, column) * (scale * za @ zb.T + bias)).sum() / n


def with_bce(za, zb, row, column, n, scale, bias):
    labels = (signs_of(za, zb, row, column) + 1) / 2
    return F.binary_cross_entropy_with_logits(scale * za @ zb.T + bias, labels, reduction="sum") / n


def plain_sigmoid(za, zb, row, column, n, scale, bias):
    return -torch.sigmoid(signs_of(za, zb, row, column) * (scale * za @ zb.T + bias)).log().sum() / n


def mean_of_the_block(za, zb, row, column, n, scale, bias):
    labels = (signs_of(za, zb, row, column) + 1) / 2
    return F.binary_cross_entropy_with_logits(scale * za @ zb.T + bias, labels)


def by_own_rows(za, zb, row, column, n, scale, bias):
    return -F.logsigmoid(signs_of(za, zb, row, column) * (scale * za @ zb.T + bias)).sum() / len(za)


def bias_outside(za, zb, row, column, n, scale, bias):
    return -F.logsigmoid(signs_of(za, zb, row, column) * (scale * za @ zb.T) + bias).sum() / n


def zero_for_wrong(za, zb, row, column, n, scale, bias):
    signs = (signs_of(za, zb, row, column) + 1) / 2
    return -F.logsigmoid(signs * (scale * za @ zb.T + bias)).sum() / n


def own_diagonal(za, zb, row, column, n, scale, bias):
    signs = 2 * torch.eye(len(za), len(zb), dtype=za.dtype) - 1
    return -F.logsigmoid(signs * (scale * za @ zb.T + bias)).sum() / n


def shifted_the_other_way(za, zb, row, column, n, scale, bias):
    return with_softplus(za, zb, column, row, n, scale, bias)


def all_wrong(za, zb, row, column, n, scale, bias):
    return F.softplus(scale * za @ zb.T + bias).sum() / n


def scaled_bias(za, zb, row, column, n, scale, bias):
    return -F.logsigmoid(signs_of(za, zb, row, column) * scale * (za @ zb.T + bias)).sum() / n


def negative(za, zb, row, column, n, scale, bias):
    return F.logsigmoid(signs_of(za, zb, row, column) * (scale * za @ zb.T + bias)).sum() / n


def by_n_squared(za, zb, row, column, n, scale, bias):
    return with_softplus(za, zb, row, column, n, scale, bias) / n


def only_summed(za, zb, row, column, n, scale, bias):
    return with_softplus(za, zb, row, column, 1, scale, bias)


def a_loss_a_row(za, zb, row, column, n, scale, bias):
    return F.softplus(-signs_of(za, zb, row, column) * (scale * za @ zb.T + bias)).sum(dim=1) / n


def detached(za, zb, row, column, n, scale, bias):
    return with_softplus(za.detach(), zb, row, column, n, scale, bias)


# -- mended_loss


def in_both(logits):
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def table_of(za, zb, tau):
    return F.normalize(za, dim=1) @ F.normalize(zb, dim=1).T / tau


def twins_of(captions):
    return (captions[:, None] == captions) & ~torch.eye(len(captions), dtype=torch.bool)


def with_cross_entropy(za, zb, captions, tau):
    return in_both(table_of(za, zb, tau).masked_fill(twins_of(captions), -math.inf))


def with_a_very_low_number(za, zb, captions, tau):
    return in_both(torch.where(twins_of(captions), -1e9, table_of(za, zb, tau)))


def minus_100(za, zb, captions, tau):
    return in_both(table_of(za, zb, tau).masked_fill(twins_of(captions), -100.0))


def still_zero(za, zb, captions, tau):
    return in_both(table_of(za, zb, tau).masked_fill(twins_of(captions), 0.0))


def rows_twice(za, zb, captions, tau):
    logits = table_of(za, zb, tau).masked_fill(twins_of(captions), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(za)))


def length_of_columns(za, zb, captions, tau):
    logits = F.normalize(za, dim=0) @ F.normalize(zb, dim=0).T / tau
    return in_both(logits.masked_fill(twins_of(captions), -math.inf))


def columns_and_zero(za, zb, captions, tau):
    logits = F.normalize(za, dim=0) @ F.normalize(zb, dim=0).T / tau
    return in_both(logits.masked_fill(twins_of(captions), 0.0))


def not_normalised(za, zb, captions, tau):
    return in_both((za @ zb.T / tau).masked_fill(twins_of(captions), -math.inf))


def tau_on_top(za, zb, captions, tau):
    return with_cross_entropy(za, zb, captions, 1 / tau)


def pair_masked(za, zb, captions, tau):
    return in_both(table_of(za, zb, tau).masked_fill(captions[:, None] == captions, -math.inf))


def mask_dropped(za, zb, captions, tau):
    return in_both(table_of(za, zb, tau))


def half_a_mask(za, zb, captions, tau):
    return in_both(table_of(za, zb, tau).masked_fill(twins_of(captions).triu(), -math.inf))


def times_minus_infinity(za, zb, captions, tau):
    return in_both(table_of(za, zb, tau) + twins_of(captions) * -math.inf)


def naive_exp(za, zb, captions, tau):
    exps = table_of(za, zb, tau).exp() * ~twins_of(captions)
    return -((exps.diagonal() / exps.sum(1)).log() + (exps.diagonal() / exps.sum(0)).log()).mean() / 2


def added_up(za, zb, captions, tau):
    return 2 * with_cross_entropy(za, zb, captions, tau)


def labels_of_zero(za, zb, captions, tau):
    logits = table_of(za, zb, tau).masked_fill(twins_of(captions), -math.inf)
    labels = torch.zeros(len(za), dtype=torch.int64)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


RIGHT = [
    ("gradient_za", picture_by_picture),
    ("effective_negatives", from_log_softmax),
    ("effective_negatives", nan_to_zero),
    ("least_scale", in_plain_python),
    ("least_scale", as_difference_of_logs),
    ("siglip_block", with_softplus),
    ("siglip_block", with_bce),
    ("mended_loss", with_cross_entropy),
    ("mended_loss", with_a_very_low_number),
]

THREE, FIRST, ON, BUG = "three pairs", "three negatives", "on the diagonal", "three pairs"
SMALL = "64 pairs, loss 0.02"
WRONG = [
    ("gradient_za", by_autograd, "gradient_za", "without autograd"),
    ("gradient_za", by_backward, "gradient_za", "without autograd"),
    ("gradient_za", of_one_question, THREE, "rows' question alone"),
    ("gradient_za", half_of_one_question, THREE, "half of the rows' question"),
    ("gradient_za", without_chain_rule, THREE, "chain rule brings logit_scale once more"),
    ("gradient_za", uphill, THREE, "minus the gradient"),
    ("gradient_za", scale_squared, THREE, "once too often"),
    ("gradient_za", no_mean, THREE, "weighs 1 / 2N"),
    ("gradient_za", not_halved, THREE, "factor of ½"),
    ("gradient_za", one_identity, THREE, "once, not twice"),
    ("gradient_za", columns_left_turned, THREE, "columns' probabilities are turned"),
    ("gradient_za", times_the_pictures, THREE, "wrong side"),
    ("gradient_za", table_turned, THREE, "The table is turned"),
    ("gradient_za", gradient_of_zb, THREE, "gradient for zb"),
    ("gradient_za", cosines_in_softmax, THREE, "missing inside"),
    ("gradient_za", naive_softmax, "scale 100", "come out as nan"),
    ("gradient_za", three_of_them, "scale 100", "Eight pairs at scale 100"),
    ("gradient_za", normalised_first, "not unit vectors", "Vectors of lengths 3 and 6"),
    ("gradient_za", a_tuple_of_both, THREE, "got tuple. Several things came back"),
    ("effective_negatives", with_the_right_caption, "four equal negatives", "right caption among"),
    ("effective_negatives", in_bits, "four equal negatives", "entropy in bits"),
    ("effective_negatives", e_to_the_bits, "four equal negatives", "e is raised to it"),
    ("effective_negatives", naive_log, "tau = 0.001", "0 · log 0"),
    ("effective_negatives", with_epsilon, "float64", "added inside the logarithm"),
    ("effective_negatives", with_a_larger_epsilon, "float64", "added inside the logarithm"),
    ("effective_negatives", only_the_entropy, "four equal negatives", "not yet the perplexity"),
    ("effective_negatives", no_temperature, FIRST, "tau is not used"),
    ("effective_negatives", times_tau, FIRST, "tau divides"),
    ("effective_negatives", not_renormalised, "four equal negatives", "sums to less than 1"),
    ("effective_negatives", minus_forgotten, "four equal negatives", "at least 1"),
    ("effective_negatives", last_left_out, "four equal negatives", "right one stands first"),
    ("effective_negatives", inverse_squares, FIRST, "another count"),
    ("effective_negatives", a_plain_float, "four equal negatives", "got float"),
    ("effective_negatives", cosines_over_their_sum, FIRST, "0.1 and −0.5"),
    ("least_scale", gap_of_one, SMALL, "a little more than 1"),
    ("least_scale", gap_turned, SMALL, "wrong side of the fraction"),
    ("least_scale", gap_of_two, SMALL, "cannot all be opposite"),
    ("least_scale", n_wrong_captions, SMALL, "n − 1 wrong captions"),
    ("least_scale", the_one_forgotten, SMALL, "a 1, is lost"),
    ("least_scale", a_temperature, SMALL, "That is the temperature"),
    ("least_scale", sign_lost, SMALL, "lower floor"),
    ("least_scale", below_zero, "64 pairs, loss 5", "not negative"),
    ("least_scale", with_log10, SMALL, "in nats"),
    ("least_scale", with_log2, SMALL, "natural one"),
    ("least_scale", the_floor_itself, SMALL, "the scale is asked for"),
    ("least_scale", what_it_shows, SMALL, "what a batch shows"),
    ("least_scale", absolute, "64 pairs, loss 5", "more than blind guessing"),
    ("least_scale", always_64, "2 pairs, loss 0.31", "two pairs and a loss of 0.31"),
    ("least_scale", both_at_once, SMALL, "Several things came back"),
    ("siglip_block", plain_sigmoid, "scale 100", "its logarithm −inf"),
    ("siglip_block", mean_of_the_block, ON, "block's mean"),
    ("siglip_block", by_own_rows, ON, "Divided by the block's rows"),
    ("siglip_block", bias_outside, ON, "bias included"),
    ("siglip_block", zero_for_wrong, ON, "−1, not 0"),
    ("siglip_block", own_diagonal, "beside it", "own diagonal"),
    ("siglip_block", shifted_the_other_way, "across it", "Shifted the wrong way"),
    ("siglip_block", all_wrong, ON, "count as wrong"),
    ("siglip_block", scaled_bias, ON, "not the bias"),
    ("siglip_block", negative, ON, "minus is missing"),
    ("siglip_block", by_n_squared, ON, "Divided by n²"),
    ("siglip_block", only_summed, ON, "not divided by n"),
    ("siglip_block", a_loss_a_row, ON, "expected shape (), got (3,)"),
    ("siglip_block", detached, "gradients", "cuts the path"),
    ("mended_loss", minus_100, "all equal", "not low enough"),
    ("mended_loss", still_zero, BUG, "exp(0) = 1"),
    ("mended_loss", rows_twice, BUG, "compares the pictures"),
    ("mended_loss", length_of_columns, BUG, "a vector is a row"),
    ("mended_loss", columns_and_zero, BUG, "there is one more"),
    ("mended_loss", not_normalised, BUG, "no cosines"),
    ("mended_loss", tau_on_top, BUG, "tau was right"),
    ("mended_loss", pair_masked, BUG, "keep the diagonal"),
    ("mended_loss", mask_dropped, BUG, "negatives again"),
    ("mended_loss", half_a_mask, BUG, "below the diagonal"),
    ("mended_loss", times_minus_infinity, BUG, "0 · −inf"),
    ("mended_loss", naive_exp, "tau = 0.01", "logits reach 100"),
    ("mended_loss", added_up, BUG, "their mean is asked for"),
    ("mended_loss", labels_of_zero, BUG, "always the first"),
]
