"""What learners write for the checks of lesson 06: right answers in other ways, and mistakes in their own words."""

import torch
import torch.nn.functional as F

from xlib.combined import combined_loss
from xlib.dann import grad_reverse
from xlib.space import modality_gap


def by_combined_loss(za, zb, domain_logits, domain, scale):
    return sum(combined_loss(za, zb, domain_logits, domain, logit_scale=scale).values())


def by_class_weights(za, zb, domain_logits, domain, scale):
    logits, own = scale * za @ zb.T, torch.arange(len(za))
    weight = (1 / torch.bincount(domain, minlength=2)).to(za.dtype)
    pairs = F.cross_entropy(torch.cat([logits, logits.T]), torch.cat([own, own]))
    return pairs + F.cross_entropy(domain_logits, domain, weight=weight)


def by_rows_that_are_kept(plain, changed, threshold):
    sure, guess = plain.detach().softmax(dim=1).max(dim=1)
    kept = sure >= threshold
    return F.cross_entropy(changed[kept], guess[kept], reduction="sum") / len(plain)


def by_loops(target, source, score, tolerance):
    gains, most = [], []
    for t, s, y in zip(target, source, score, strict=True):
        places = [i for i in range(len(s)) if s[i] >= s.max() - tolerance]
        gains.append(t[sorted(places, key=lambda i: -y[i])[0]] - t[0])
        most.append(t.max() - t[0])
    return torch.stack([torch.stack(gains).mean(), torch.stack(most).mean()])


def by_xlib(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return torch.stack([modality_gap(a, b).size, recall(a @ b.T)])


def recall(cosines):
    return (cosines.argmax(dim=1) == torch.arange(len(cosines))).to(cosines.dtype).mean()


RIGHT = [
    ("gap_closed", lambda low, own, high: 1 - float((high - own).double().sum() / (high - low).double().sum())),
    ("fixed_combined", by_combined_loss),
    ("fixed_combined", by_class_weights),
    ("self_training_loss", by_rows_that_are_kept),
    ("chosen_gain", by_loops),
    ("mean_gap_and_recall", by_xlib),
]


# The same mistakes as a learner writes them. Lesson 06, exercise 1: three bugs in a combined loss.
def both_ways(za, zb, scale):
    logits, own = scale * za @ zb.T, torch.arange(len(za))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def halved(domain_logits, domain):
    each = F.cross_entropy(domain_logits, domain, reduction="none")
    return (each[domain == 0].mean() + each[domain == 1].mean()) / 2


def one_mended(za, zb, domain_logits, domain, scale):
    return both_ways(za, zb, scale) - F.cross_entropy(domain_logits, domain)


def reversed_again(za, zb, domain_logits, domain, scale):
    return by_class_weights(za, zb, grad_reverse(domain_logits), domain, scale)


def naive_softmax(za, zb, domain_logits, domain, scale):
    logits = scale * za @ zb.T
    own = -sum((logits.exp() / logits.exp().sum(dim=d, keepdim=True)).diagonal().log().mean() for d in (0, 1)) / 2
    return own + by_class_weights(za[:1], zb[:1], domain_logits, domain, scale) + 0 * zb.sum()


def only_the_minus(za, zb, domain_logits, domain, scale):
    own = torch.arange(len(za))
    return F.cross_entropy(scale * za @ zb.T, own) + F.cross_entropy(domain_logits, domain)


def only_the_halves(za, zb, domain_logits, domain, scale):
    return F.cross_entropy(scale * za @ zb.T, torch.arange(len(za))) - halved(domain_logits, domain)


def minus_is_left(za, zb, domain_logits, domain, scale):
    return both_ways(za, zb, scale) - halved(domain_logits, domain)


def texts_only(za, zb, domain_logits, domain, scale):
    return F.cross_entropy(scale * zb @ za.T, torch.arange(len(za))) + halved(domain_logits, domain)


def added_directions(za, zb, domain_logits, domain, scale):
    return 2 * both_ways(za, zb, scale) + halved(domain_logits, domain)


def added_domains(za, zb, domain_logits, domain, scale):
    return both_ways(za, zb, scale) + 2 * halved(domain_logits, domain)


def one_hot_domains(za, zb, domain_logits, domain, scale):
    return both_ways(za, zb, scale) + halved(domain_logits.softmax(dim=1), domain)


def over_the_scale(za, zb, domain_logits, domain, scale):
    return both_ways(za, zb, 1 / scale) + halved(domain_logits, domain)


def other_way_round(za, zb, domain_logits, domain, scale):
    return both_ways(za, zb, scale) + halved(domain_logits, 1 - domain)


def domains_forgotten(za, zb, domain_logits, domain, scale):
    return both_ways(za, zb, scale) + 0 * domain_logits.sum()


def no_gradient_at_all(za, zb, domain_logits, domain, scale):
    return both_ways(za, zb, scale) + halved(domain_logits.detach(), domain)


def halved_all(za, zb, domain_logits, domain, scale):
    return (both_ways(za, zb, scale) + halved(domain_logits, domain)) / 2


# Exercise 2: how much of the gap.
def mean_of_shares(low, own, high):
    return torch.stack([(b - a) / (c - a) for a, b, c in zip(low, own, high, strict=True)]).mean()


def kept_in_range(low, own, high):
    return min(max(float((own.mean() - low.mean()) / (high.mean() - low.mean())), 0.0), 1.0)


def never_negative(low, own, high):
    return torch.relu((own.mean() - low.mean()) / (high.mean() - low.mean()))


def of_the_oracle(low, own, high):
    return sum(own) / sum(high)


def per_cent_more(low, own, high):
    return own.sum() / low.sum() - 1


def plain_gain(low, own, high):
    return own.mean().item() - low.mean().item()


def still_missing(low, own, high):
    return (high.mean() - own.mean()) / (high.mean() - low.mean())


def wrong_end(low, own, high):
    return (own.mean() - low.mean()) / (high.mean() - own.mean())


def from_above(low, own, high):
    return (low.mean() - own.mean()) / (high.mean() - low.mean())


def best_of_seeds(low, own, high):
    return (max(own) - max(low)) / (max(high) - max(low))


def middle_seed(low, own, high):
    a, b, c = low.median(), own.median(), high.median()
    return (b - a) / (c - a)


def one_a_seed(low, own, high):
    return (own - low) / (high - low)


def share_and_gain(low, own, high):
    gain = own.mean() - low.mean()
    return gain / (high.mean() - low.mean()), gain


def rounded(low, own, high):
    return round(float((own.mean() - low.mean()) / (high.mean() - low.mean())), 2)


# Exercise 3: learn from your own guesses.
def mean_of_those_kept(plain, changed, threshold):
    sure, guess = plain.softmax(dim=1).max(dim=1)
    return F.cross_entropy(changed[sure >= threshold], guess[sure >= threshold])


def early_zero(plain, changed, threshold):
    sure = plain.softmax(dim=1).amax(dim=1)
    return by_rows_that_are_kept(plain, changed, threshold) if (sure >= threshold).any() else torch.tensor(0.0)


def soft_labels(plain, changed, threshold):
    p = plain.softmax(dim=1)
    return (F.cross_entropy(changed, p, reduction="none") * (p.amax(dim=1) >= threshold)).mean()


def by_mask(changed, guess, mask):
    return (F.cross_entropy(changed, guess, reduction="none") * mask).mean()


def summed(plain, changed, threshold):
    sure, guess = plain.softmax(dim=1).max(dim=1)
    return F.cross_entropy(changed, guess, reduction="none")[sure >= threshold].sum()


def at_least_one(plain, changed, threshold):
    sure, guess = plain.softmax(dim=1).max(dim=1)
    mask = sure >= threshold
    return (F.cross_entropy(changed, guess, reduction="none") * mask).sum() / mask.sum().clamp(min=1)


def all_believed(plain, changed, threshold):
    return F.cross_entropy(changed, plain.argmax(dim=1))


def of_raw_scores(plain, changed, threshold):
    most, guess = plain.max(dim=1)
    return by_mask(changed, guess, most >= threshold)


def over_pictures(plain, changed, threshold):
    return by_mask(changed, plain.argmax(dim=1), plain.softmax(dim=0).amax(dim=1) >= threshold)


def sure_of_changed(plain, changed, threshold):
    return by_mask(changed, plain.argmax(dim=1), changed.softmax(dim=1).amax(dim=1) >= threshold)


def its_own_guess(plain, changed, threshold):
    return by_mask(changed, changed.argmax(dim=1), plain.softmax(dim=1).amax(dim=1) >= threshold)


def exchanged(plain, changed, threshold):
    sure, guess = changed.softmax(dim=1).max(dim=1)
    return by_mask(plain, guess, sure >= threshold)


def more_than(plain, changed, threshold):
    sure, guess = plain.softmax(dim=1).max(dim=1)
    return by_mask(changed, guess, sure > threshold)


def softmax_first(plain, changed, threshold):
    sure, guess = plain.softmax(dim=1).max(dim=1)
    return by_mask(changed.softmax(dim=1), guess, sure >= threshold)


def cut_off(plain, changed, threshold):
    return by_rows_that_are_kept(plain, changed.detach(), threshold)


def log_of_softmax(plain, changed, threshold):
    sure, guess = plain.softmax(dim=1).max(dim=1)
    own = (changed.exp() / changed.exp().sum(dim=1, keepdim=True)).log()
    return -(own.gather(1, guess[:, None])[:, 0] * (sure >= threshold)).mean()


# Exercise 4: what the choice costs.
def choosing(target, score, fit):
    places = score.masked_fill(~fit, float("-inf")).argmax(dim=1)
    return target[torch.arange(len(target)), places]


def limit_of(source, tolerance):
    return source >= source.max(dim=1, keepdim=True).values - tolerance


def most(target):
    return (target.amax(dim=1) - target[:, 0]).mean()


def no_limit(target, source, score, tolerance):
    own = target[torch.arange(len(target)), score.argmax(dim=1)]
    return torch.stack([(own - target[:, 0]).mean(), most(target)])


def limit_of_all(target, source, score, tolerance):
    own = choosing(target, score, source >= source.max() - tolerance)
    return torch.stack([(own - target[:, 0]).mean(), most(target)])


def one_model_for_all(target, source, score, tolerance):
    means = source.mean(dim=0)
    fit = means >= means.max() - tolerance
    best = score.mean(dim=0).masked_fill(~fit, float("-inf")).argmax()
    return torch.stack([(target[:, best] - target[:, 0]).mean(), most(target)])


def more_than_the_limit(target, source, score, tolerance):
    own = choosing(target, score, source > source.max(dim=1, keepdim=True).values - tolerance)
    return torch.stack([(own - target[:, 0]).mean(), most(target)])


def times_the_mask(target, source, score, tolerance):
    places = (score * limit_of(source, tolerance)).argmax(dim=1)
    return torch.stack([(target[torch.arange(len(target)), places] - target[:, 0]).mean(), most(target)])


def of_those_left(target, source, score, tolerance):
    gains = []
    for t, s, y in zip(target, source, score, strict=True):
        gains.append(t[y[s >= s.max() - tolerance].argmax()] - t[0])
    return torch.stack([torch.stack(gains).mean(), most(target)])


def scores_and_no_gains(target, source, score, tolerance):
    own = choosing(target, score, limit_of(source, tolerance))
    return torch.stack([own.mean(), target.amax(dim=1).mean()])


def best_mean(target, source, score, tolerance):
    own = choosing(target, score, limit_of(source, tolerance))
    return torch.stack([own.mean(), target.mean(dim=0).max()]) - target[:, 0].mean()


def oracle_in_the_limit(target, source, score, tolerance):
    fit = limit_of(source, tolerance)
    rows = [choosing(target, by, fit).mean() for by in (score, target)]
    return torch.stack(rows) - target[:, 0].mean()


def oracle_first(target, source, score, tolerance):
    return by_loops(target, source, score, tolerance).flip(0)


def what_is_lost(target, source, score, tolerance):
    chosen, best = by_loops(target, source, score, tolerance)
    return torch.stack([chosen, best - chosen])


def lowest_score(target, source, score, tolerance):
    return by_loops(target, source, -score, tolerance)


def last_of_equals(target, source, score, tolerance):
    gains = []
    for t, s, y in zip(target, source, score, strict=True):
        best = 0
        for i in range(len(t)):
            fits = s[i] >= s.max() - tolerance
            if fits and (y[i] >= y[best] or s[best] < s.max() - tolerance):
                best = i
        gains.append(t[best] - t[0])
    return torch.stack([torch.stack(gains).mean(), most(target)])


def two_things(target, source, score, tolerance):
    return tuple(by_loops(target, source, score, tolerance))


# Exercise 5: predict, then explain.
def as_they_come(za, zb):
    return torch.stack([(za.mean(0) - zb.mean(0)).norm(), recall(za @ zb.T)])


def of_each_pair(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return torch.stack([(a - b).norm(dim=1).mean(), recall(a @ b.T)])


def from_texts(za, zb):
    return by_xlib(zb, za)


def a_tuple(za, zb):
    return tuple(by_xlib(za, zb))


def of_raw_means(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return torch.stack([(za.mean(0) - zb.mean(0)).norm(), recall(a @ b.T)])


def of_raw_products(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return torch.stack([(a.mean(0) - b.mean(0)).norm(), recall(za @ zb.T)])


def columns_to_length_one(za, zb):
    return torch.stack([(F.normalize(za, dim=0).mean(0) - F.normalize(zb, dim=0).mean(0)).norm(), recall(za @ zb.T)])


def without_the_root(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return torch.stack([((a.mean(0) - b.mean(0)) ** 2).sum(), recall(a @ b.T)])


def means_on_the_sphere(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    gap = (F.normalize(a.mean(0), dim=0) - F.normalize(b.mean(0), dim=0)).norm()
    return torch.stack([gap, recall(a @ b.T)])


def mean_of_each_row(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return torch.stack([(a.mean(1) - b.mean(1)).norm(), recall(a @ b.T)])


def one_mean(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return torch.stack([abs(a.mean() - b.mean()), recall(a @ b.T)])


def counted(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    hits = ((a @ b.T).argmax(dim=1) == torch.arange(len(a))).sum()
    return torch.stack([(a.mean(0) - b.mean(0)).norm(), hits.to(a.dtype)])


def in_per_cent(za, zb):
    return by_xlib(za, zb) * torch.tensor([1.0, 100.0], dtype=za.dtype)


def recall_first(za, zb):
    return by_xlib(za, zb).flip(0)


def largest_per_column(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    found = (a @ b.T).argmax(dim=0) == torch.arange(len(a))
    return torch.stack([(a.mean(0) - b.mean(0)).norm(), found.to(a.dtype).mean()])


def in_single_precision(za, zb):
    return by_xlib(za.float(), zb.float()).to(za.dtype)


WRONG = [
    ("fixed_combined", one_mended, "three and one", "subtracted"),
    ("fixed_combined", reversed_again, "three and one", "turned round twice"),
    ("fixed_combined", naive_softmax, "large logits", "exp(300)"),
    ("fixed_combined", only_the_minus, "three and one", "one direction only: take the mean of both (and there is"),
    ("fixed_combined", only_the_halves, "three and one", "one direction only: take the mean of both (and there is"),
    ("fixed_combined", minus_is_left, "three and one", "the head learns to be wrong"),
    ("fixed_combined", texts_only, "three and one", "one direction only"),
    ("fixed_combined", added_directions, "three and one", "the sum of the two directions"),
    ("fixed_combined", added_domains, "three and one", "take half of it"),
    ("fixed_combined", one_hot_domains, "three and one", "no softmax of them"),
    ("fixed_combined", over_the_scale, "three and one", "does not divide them"),
    ("fixed_combined", other_way_round, "three and one", "the labels are exchanged"),
    ("fixed_combined", domains_forgotten, "three and one", "The domain loss is not there"),
    ("fixed_combined", no_gradient_at_all, "three and one", "cuts the path"),
    ("fixed_combined", halved_all, "three and one", "three pictures of one domain"),
    ("gap_closed", mean_of_shares, "a tiny gap", "one tiny gap decides"),
    ("gap_closed", kept_in_range, "harm", "Do not clamp"),
    ("gap_closed", never_negative, "harm", "Do not clamp"),
    ("gap_closed", of_the_oracle, "equal gaps", "what source only had already"),
    ("gap_closed", per_cent_more, "equal gaps", "divide by the gap"),
    ("gap_closed", plain_gain, "equal gaps", "That is the gain itself"),
    ("gap_closed", still_missing, "equal gaps", "the share that is left"),
    ("gap_closed", wrong_end, "equal gaps", "not by what is left of it"),
    ("gap_closed", from_above, "equal gaps", "The sign is swapped"),
    ("gap_closed", best_of_seeds, "equal gaps", "The best seed is luck"),
    ("gap_closed", middle_seed, "equal gaps", "the median seed"),
    ("gap_closed", one_a_seed, "equal gaps", "one share a seed"),
    ("gap_closed", share_and_gain, "equal gaps", "Several things came back"),
    ("gap_closed", rounded, "a tiny gap", "one seed has hardly a gap"),
    ("self_training_loss", mean_of_those_kept, "four pictures", "divide by N"),
    ("self_training_loss", early_zero, "nobody is sure", "still depend on changed"),
    ("self_training_loss", soft_labels, "four pictures", "not its probabilities"),
    ("self_training_loss", summed, "four pictures", "That is the sum"),
    ("self_training_loss", at_least_one, "four pictures", "two guesses weigh as much"),
    ("self_training_loss", all_believed, "four pictures", "every guess is believed"),
    ("self_training_loss", of_raw_scores, "four pictures", "threshold is for a probability"),
    ("self_training_loss", over_pictures, "one picture, and not sure", "it goes over the classes"),
    ("self_training_loss", sure_of_changed, "four pictures", "changed does not say who is sure"),
    ("self_training_loss", its_own_guess, "four pictures", "changed's own guesses"),
    ("self_training_loss", exchanged, "four pictures", "swapped parts"),
    ("self_training_loss", more_than, "large logits", "exactly threshold"),
    ("self_training_loss", softmax_first, "four pictures", "no softmax of them"),
    ("self_training_loss", cut_off, "four pictures", "cuts the path"),
    ("self_training_loss", log_of_softmax, "large logits", "logits of 300"),
    ("chosen_gain", no_limit, "three seeds", "source is ignored"),
    ("chosen_gain", limit_of_all, "three seeds", "each seed's own"),
    ("chosen_gain", one_model_for_all, "seeds of unlike skill", "Choose in each seed"),
    ("chosen_gain", more_than_the_limit, "tolerance 0", "good enough"),
    ("chosen_gain", times_the_mask, "in percent, and below 0", "use -inf"),
    ("chosen_gain", of_those_left, "three seeds", "among those that are left"),
    ("chosen_gain", scores_and_no_gains, "three seeds", "take off the first column"),
    ("chosen_gain", best_mean, "three seeds", "looks in each seed"),
    ("chosen_gain", oracle_in_the_limit, "three seeds", "no limit on the source"),
    ("chosen_gain", oracle_first, "three seeds", "comes first"),
    ("chosen_gain", what_is_lost, "three seeds", "what is lost to it"),
    ("chosen_gain", lowest_score, "three seeds", "lowest score"),
    ("chosen_gain", last_of_equals, "one seed", "Of equals take the first"),
    ("chosen_gain", two_things, "three seeds", "Several things came back"),
    ("mean_gap_and_recall", as_they_come, "three rows", "length 1"),
    ("mean_gap_and_recall", of_each_pair, "three rows", "take the means first"),
    ("mean_gap_and_recall", from_texts, "three rows", "from zb to za"),
    ("mean_gap_and_recall", a_tuple, "three rows", "make one tensor of them"),
    ("mean_gap_and_recall", of_raw_means, "three rows", "length 1 before the means"),
    ("mean_gap_and_recall", of_raw_products, "three rows", "long rows win"),
    ("mean_gap_and_recall", columns_to_length_one, "three rows", "of three rows"),
    ("mean_gap_and_recall", without_the_root, "three rows", "The distance is squared"),
    ("mean_gap_and_recall", means_on_the_sphere, "three rows", "only the rows are"),
    ("mean_gap_and_recall", mean_of_each_row, "three rows", "the mean vector of each cloud"),
    ("mean_gap_and_recall", one_mean, "three rows", "all coordinates"),
    ("mean_gap_and_recall", counted, "three rows", "by the number of rows"),
    ("mean_gap_and_recall", in_per_cent, "three rows", "not to 100"),
    ("mean_gap_and_recall", recall_first, "three rows", "The gap comes first"),
    ("mean_gap_and_recall", largest_per_column, "three rows", "from zb to za"),
    ("mean_gap_and_recall", in_single_precision, "float64", "nine digits"),
]
