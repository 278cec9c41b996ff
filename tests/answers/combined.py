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


def by_sorting(source_score, information, tolerance):
    places = [i for i, score in enumerate(source_score) if score >= source_score.max() - tolerance]
    return sorted(places, key=lambda i: -information[i])[0]


def by_rows_that_are_kept(plain, changed, threshold):
    sure, guess = plain.detach().softmax(dim=1).max(dim=1)
    kept = sure >= threshold
    return F.cross_entropy(changed[kept], guess[kept], reduction="sum") / len(plain)


def by_xlib(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return torch.stack([modality_gap(a, b).size, recall(a @ b.T)])


def recall(cosines):
    return (cosines.argmax(dim=1) == torch.arange(len(cosines))).to(cosines.dtype).mean()


RIGHT = [
    ("gap_closed", lambda low, own, high: 1 - float((high - own).double().sum() / (high - low).double().sum())),
    ("fixed_combined", by_combined_loss),
    ("fixed_combined", by_class_weights),
    ("pick", by_sorting),
    ("self_training_loss", by_rows_that_are_kept),
    ("mean_gap_and_recall", by_xlib),
]


# The same mistakes as a learner writes them.
def mean_of_shares(low, own, high):
    return torch.stack([(b - a) / (c - a) for a, b, c in zip(low, own, high, strict=True)]).mean()


def kept_in_range(low, own, high):
    return min(max(float((own.mean() - low.mean()) / (high.mean() - low.mean())), 0.0), 1.0)


def one_mended(za, zb, domain_logits, domain, scale):
    logits, own = scale * za @ zb.T, torch.arange(len(za))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2 - F.cross_entropy(
        domain_logits, domain
    )


def reversed_again(za, zb, domain_logits, domain, scale):
    return by_class_weights(za, zb, grad_reverse(domain_logits), domain, scale)


def naive_softmax(za, zb, domain_logits, domain, scale):
    logits = scale * za @ zb.T
    own = -sum((logits.exp() / logits.exp().sum(dim=d, keepdim=True)).diagonal().log().mean() for d in (0, 1)) / 2
    return own + by_class_weights(za[:1], zb[:1], domain_logits, domain, scale) + 0 * zb.sum()


def of_those_left(source_score, information, tolerance):
    return int(information[source_score >= source_score.max() - tolerance].argmax())


def times_the_mask(source_score, information, tolerance):
    return (information * (source_score >= source_score.max() - tolerance)).argmax()


def nobody(source_score, information, tolerance):
    return max(
        (i for i, s in enumerate(source_score) if s > source_score.max() - tolerance), key=lambda i: information[i]
    )


def mean_of_those_kept(plain, changed, threshold):
    sure, guess = plain.softmax(dim=1).max(dim=1)
    return F.cross_entropy(changed[sure >= threshold], guess[sure >= threshold])


def early_zero(plain, changed, threshold):
    sure = plain.softmax(dim=1).amax(dim=1)
    return by_rows_that_are_kept(plain, changed, threshold) if (sure >= threshold).any() else torch.tensor(0.0)


def soft_labels(plain, changed, threshold):
    p = plain.softmax(dim=1)
    return (F.cross_entropy(changed, p, reduction="none") * (p.amax(dim=1) >= threshold)).mean()


def as_they_come(za, zb):
    return torch.stack([(za.mean(0) - zb.mean(0)).norm(), recall(za @ zb.T)])


def of_each_pair(za, zb):
    a, b = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return torch.stack([(a - b).norm(dim=1).mean(), recall(a @ b.T)])


def from_texts(za, zb):
    return by_xlib(zb, za)


WRONG = [
    ("gap_closed", mean_of_shares, "a tiny gap", "one tiny gap decides"),
    ("gap_closed", kept_in_range, "harm", "Do not clamp"),
    ("fixed_combined", one_mended, "three and one", "subtracted"),
    ("fixed_combined", reversed_again, "three and one", "turned round twice"),
    ("fixed_combined", naive_softmax, "large logits", "exp(300)"),
    ("pick", of_those_left, "the first drops out", "counts all"),
    ("pick", times_the_mask, "in percent, and below 0", "-inf"),
    ("pick", nobody, "tolerance 0", "finds nobody"),
    ("self_training_loss", mean_of_those_kept, "four pictures", "divide by N"),
    ("self_training_loss", early_zero, "nobody is sure", "still depend on changed"),
    ("self_training_loss", soft_labels, "four pictures", "not its probabilities"),
    ("mean_gap_and_recall", as_they_come, "three rows", "length 1"),
    ("mean_gap_and_recall", of_each_pair, "three rows", "take the means first"),
    ("mean_gap_and_recall", from_texts, "three rows", "from zb to za"),
]
