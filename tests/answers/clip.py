"""What learners write for the checks of lesson 03: right answers in other ways, and mistakes in their own words."""

import numpy as np
import torch
import torch.nn.functional as F

from xlib import clip, contrastive
from xlib.retrieval import retrieval


def cosine_table(za, zb, scale):
    return scale * za @ zb.T


def clip_loss(za, zb, logit_scale):
    logits, labels = cosine_table(za, zb, logit_scale), torch.arange(len(za))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def fixed_loss(za, zb, log_scale):
    return clip_loss(za, zb, log_scale.exp())


def recall_at_k(similarity, targets, k):
    own = similarity.gather(1, targets[:, None])
    ahead, level = (similarity > own).sum(dim=1), (similarity == own).sum(dim=1)
    return ((k - ahead) / level).clamp(0, 1).mean()


def zero_shot_classifier(encode_text, classnames, templates):
    rows = []
    for name in classnames:
        sentences = F.normalize(encode_text([template.format(name) for template in templates]), dim=-1)
        rows.append(F.normalize(sentences.mean(dim=0), dim=0))
    return torch.stack(rows)


def recall_with_xlib(similarity, targets, k):
    gallery = torch.eye(similarity.shape[1], dtype=similarity.dtype)
    return retrieval(similarity, gallery, k=[k], targets=targets, resamples=1)[k].value


RIGHT = [
    *((answer.__name__, answer) for answer in (clip_loss, fixed_loss, recall_at_k, zero_shot_classifier)),
    ("clip_loss", lambda za, zb, logit_scale: contrastive.info_nce(za, zb, logit_scale=logit_scale)),
    ("fixed_loss", lambda za, zb, log_scale: contrastive.info_nce(za, zb, logit_scale=log_scale.exp())),
    ("recall_at_k", recall_with_xlib),
    ("recall_at_k", lambda *given: recall_at_k(*given).item()),
    ("recall_at_k", lambda *given: recall_at_k(*given).double()),
    ("zero_shot_classifier", clip.zero_shot_weights),
]


def naive(za, zb, scale):
    table = cosine_table(za, zb, scale).exp()
    right = table.diagonal()
    return -((right / table.sum(dim=1)).log() + (right / table.sum(dim=0)).log()).mean() / 2


def softmax_then_log(za, zb, scale):
    table = cosine_table(za, zb, scale)
    return -(table.softmax(dim=1).log() + table.softmax(dim=0).log()).diagonal().mean() / 2


def mean_then_guess(za, zb, scale):
    labels = torch.arange(len(za))
    return F.cross_entropy(cosine_table(za, zb, scale), labels, reduction="sum") / len(za)


def one_bug_left(held=False, twice=False, cut=False):
    def loss(za, zb, log_scale):
        scale = log_scale.exp().clamp(max=100) if held else log_scale.exp()
        logits = scale * za @ (zb.detach() if cut else zb).T
        labels = torch.arange(len(za))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits if twice else logits.T, labels)) / 2

    return loss


def topk_recall(similarity, targets, k):
    return (similarity.topk(k, dim=1).indices == targets[:, None]).any(dim=1).float().mean()


def counted(similarity, targets, k):
    return ((similarity > similarity.gather(1, targets[:, None])).sum(dim=1) < k).float().mean()


def all_sentences(encode_text, classnames, templates, order="classes first"):
    if order == "classes first":
        return encode_text([template.format(name) for name in classnames for template in templates])
    return encode_text([template.format(name) for template in templates for name in classnames])


def unit(x):
    return F.normalize(x, dim=-1)


def by_class(encode_text, classnames, templates):
    return all_sentences(encode_text, classnames, templates).reshape(len(classnames), len(templates), -1)


WRONG = [
    ("clip_loss", mean_then_guess, "three pairs", "one direction only, za to zb"),
    ("clip_loss", lambda a, b, s: mean_then_guess(b, a, s), "three pairs", "one direction only, zb to za"),
    ("clip_loss", lambda a, b, s: clip_loss(a, b, 1), "three pairs", "logit_scale is not used"),
    ("clip_loss", lambda a, b, s: clip_loss(a, b, 1 / s), "three pairs", "do not divide"),
    ("clip_loss", lambda a, b, s: clip_loss(a, b, s.exp()), "three pairs", "no exp"),
    ("clip_loss", lambda a, b, s: 2 * clip_loss(a, b, s), "three pairs", "sum of the two directions"),
    ("clip_loss", lambda a, b, s: len(a) * clip_loss(a, b, s), "three pairs", "sum over the batch"),
    ("clip_loss", lambda a, b, s: -(a * b).sum(1).mean(), "three pairs", "no negatives"),
    ("clip_loss", lambda a, b, s: -(a @ b.T).diagonal().mean() * s, "three pairs", "no negatives"),
    ("clip_loss", naive, "scale 100", "exp(100) is inf in float32"),
    ("clip_loss", softmax_then_log, "scale 100", "the log of what it divides -inf"),
    (
        "clip_loss",
        lambda a, b, s: -cosine_table(a, b, s).log_softmax(1).diagonal(),
        "three pairs",
        "expected shape (), got (3,)",
    ),
    (
        "clip_loss",
        lambda *given: clip_loss(*given).item(),
        "three pairs",
        "got float. Leave out .item()",
    ),
    (
        "clip_loss",
        lambda *given: clip_loss(*given).detach().numpy(),
        "three pairs",
        "got ndarray. Leave out .item()",
    ),
    ("clip_loss", lambda *given: (clip_loss(*given), 0), "three pairs", "expected a scalar tensor, got tuple"),
    ("clip_loss", lambda *given: [clip_loss(*given)], "three pairs", "expected a scalar tensor, got list"),
    (
        "clip_loss",
        lambda a, b, s: clip_loss(a.float(), b.float(), s),
        "float64",
        "expected torch.float64, got torch.float32",
    ),
    ("clip_loss", lambda a, b, s: clip_loss(a.float(), b.float(), s).to(a.dtype), "float64", "in float64, to nine"),
    (
        "clip_loss",
        lambda a, b, s: clip_loss(a.view(-1).view(a.shape), b, s),
        "not contiguous",
        "not contiguous: clip_loss raised",
    ),
    ("clip_loss", lambda *given: clip_loss(*given).detach(), "gradients", "no gradient reaches za"),
    ("clip_loss", lambda a, b, s: clip_loss(a.squeeze(0), b, s), "one pair", "One pair has no negatives"),
    ("clip_loss", lambda a, b, s: clip_loss(a, b, s) if len(a) > 1 else None, "one pair", "got NoneType"),
    ("fixed_loss", one_bug_left(held=True), "three pairs", "could not come back"),
    ("fixed_loss", one_bug_left(twice=True), "three pairs", "asked twice, the other never"),
    ("fixed_loss", one_bug_left(cut=True), "three pairs", "no gradient reaches zb. The text encoder would never"),
    ("fixed_loss", one_bug_left(held=True, twice=True), "three pairs", "asked twice, the other never (and there"),
    ("fixed_loss", one_bug_left(twice=True, cut=True), "three pairs", "asked twice, the other never (and there"),
    (
        "fixed_loss",
        one_bug_left(held=True, cut=True),
        "three pairs",
        "The text encoder would never learn from it (and",
    ),
    ("fixed_loss", lambda *given: 2 * fixed_loss(*given), "three pairs", "sum of the two directions"),
    ("fixed_loss", lambda a, b, s: fixed_loss(a, b, s.detach()), "three pairs", "no gradient reaches log_scale"),
    ("fixed_loss", torch.no_grad()(fixed_loss), "three pairs", "no gradient reaches za"),
    (
        "fixed_loss",
        lambda a, b, s: fixed_loss(2 * a - a.detach(), b, s),
        "three pairs",
        "not the right gradient reaches za",
    ),
    ("recall_at_k", lambda s, t, k: (s.argmax(1) == t).float().mean(), "five rows", "k is ignored"),
    ("recall_at_k", lambda s, t, k: topk_recall(-s, t, k), "five rows", "ascending"),
    ("recall_at_k", counted, "all equal", "a collapsed model would look perfect"),
    (
        "recall_at_k",
        lambda s, t, k: recall_at_k(s, t, k).floor() if len(s) == 4 else recall_at_k(s, t, k),
        "all equal",
        "Four rows of four equals, in random order",
    ),
    ("recall_at_k", topk_recall, "all equal", "stand first in memory"),
    ("recall_at_k", lambda s, t, k: recall_at_k(s, torch.arange(len(s)), k), "five rows", "targets is ignored"),
    ("recall_at_k", lambda s, t, k: recall_at_k(s, t, k) * len(s) / s.shape[1], "five rows", "not of columns"),
    ("recall_at_k", lambda s, t, k: recall_at_k(s, t, k) / k, "five rows", "precision"),
    ("recall_at_k", lambda s, t, k: recall_at_k(s, t, k) * len(s), "five rows", "That is a count"),
    ("recall_at_k", lambda s, t, k: recall_at_k(s.float(), t, k), "float64", "1 + 1e-9 is more than 1"),
    (
        "recall_at_k",
        lambda s, t, k: recall_at_k(s.view(-1).view(s.shape), t, k),
        "not contiguous",
        "not contiguous: recall_at_k raised",
    ),
    (
        "recall_at_k",
        lambda s, t, k: recall_at_k(s.clamp(-1e3, 1e3), t, k),
        "large numbers",
        "of numbers up to a million",
    ),
    ("recall_at_k", lambda s, t, k: s.gather(1, t[:, None]), "five rows", "got (5, 1)"),
    ("recall_at_k", lambda *given: np.array(0.6), "five rows", "got ndarray. Leave out .item()"),
    ("recall_at_k", lambda *given: "60%", "five rows", "expected a scalar tensor, got str"),
    (
        "zero_shot_classifier",
        lambda *given: unit(by_class(*given)).mean(1),
        "two classes",
        "normalise the mean as well",
    ),
    (
        "zero_shot_classifier",
        lambda *given: unit(by_class(*given).mean(1)),
        "two classes",
        "normalise before the mean",
    ),
    ("zero_shot_classifier", lambda *given: by_class(*given).mean(1), "two classes", "Nothing is normalised"),
    (
        "zero_shot_classifier",
        lambda e, c, t: unit(unit(all_sentences(e, c, t)).reshape(len(t), len(c), -1).mean(0)),
        "two classes",
        "Classes and templates are mixed up",
    ),
    (
        "zero_shot_classifier",
        lambda e, c, t: unit(unit(all_sentences(e, c, t, "templates first")).reshape(len(c), len(t), -1).mean(1)),
        "two classes",
        "Classes and templates are mixed up",
    ),
    (
        "zero_shot_classifier",
        lambda e, c, t: zero_shot_classifier(e, t, c),
        "two classes",
        "expected shape (2, 4), got (3, 4)",
    ),
    ("zero_shot_classifier", lambda e, c, t: zero_shot_classifier(e, c, t[:1]), "two classes", "first template"),
    ("zero_shot_classifier", lambda e, c, t: unit(e(c)), "two classes", "The templates are not used"),
    (
        "zero_shot_classifier",
        lambda *given: unit(F.normalize(by_class(*given)).mean(1)),
        "two classes",
        "along the batch, and not along the vector",
    ),
    ("zero_shot_classifier", lambda e, c, t: e(t[0].format(c[0])), "two classes", "takes a list of strings"),
    (
        "zero_shot_classifier",
        lambda *given: zero_shot_classifier(*given).float(),
        "float64",
        "expected torch.float64, got torch.float32",
    ),
    ("zero_shot_classifier", lambda *given: zero_shot_classifier(*given).squeeze(0), "one class", "got (4,)"),
    (
        "zero_shot_classifier",
        lambda e, c, t: zero_shot_classifier(e, c[:3] + ["9"] * (len(c) - 3), t),
        "twelve classes",
        "in row 3",
    ),
]


# -- ten more for each exercise, as somebody wrote them who had not understood one thing


def probabilities_first(za, zb, logit_scale):
    probs = torch.softmax(logit_scale * za @ zb.T, dim=1)
    probs_t = torch.softmax(logit_scale * zb @ za.T, dim=1)
    labels = torch.arange(len(za))
    return 0.5 * F.cross_entropy(probs, labels) + 0.5 * F.cross_entropy(probs_t, labels)


def first_is_right(za, zb, logit_scale):
    logits = logit_scale * za @ zb.T
    labels = torch.zeros(len(za), dtype=torch.long)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def no_minus(za, zb, logit_scale):
    logits = logit_scale * za @ zb.T
    return (logits.log_softmax(dim=0) + logits.log_softmax(dim=1)).diagonal().mean() / 2


def mean_of_the_table(za, zb, logit_scale):
    logits = logit_scale * za @ zb.T
    return -(logits.log_softmax(dim=0) + logits.log_softmax(dim=1)).mean() / 2


def forgot_the_columns(za, zb, logit_scale):
    sims = za @ zb.T * logit_scale
    return torch.nn.CrossEntropyLoss()(sims, torch.arange(sims.shape[0]))


def same_rows_again(za, zb, logit_scale):
    logits, labels = logit_scale * za @ zb.T, torch.arange(len(za))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits, labels)) / 2


def temperature_it_is(za, zb, logit_scale):
    logits, labels = za @ zb.T / logit_scale, torch.arange(len(za))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def sums_of_losses(za, zb, logit_scale):
    logits, labels = logit_scale * za @ zb.T, torch.arange(len(za))
    total = F.cross_entropy(logits, labels, reduction="sum") + F.cross_entropy(logits.T, labels, reduction="sum")
    return total / 2


def both_added(za, zb, logit_scale):
    logits = logit_scale * za @ zb.T
    return -logits.log_softmax(1).diag().mean() - logits.log_softmax(0).diag().mean()


def distances(za, zb, logit_scale):
    logits, labels = -logit_scale * torch.cdist(za, zb), torch.arange(len(za))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def logsumexp_without_max(za, zb, logit_scale):
    logits = logit_scale * za @ zb.T
    rows, columns = logits.exp().sum(dim=1).log(), logits.exp().sum(dim=0).log()
    return ((rows + columns) / 2 - logits.diagonal()).mean()


def nothing_divided(za, zb, logit_scale):
    logits, labels = logit_scale * za @ zb.T, torch.arange(len(za))
    return F.cross_entropy(logits, labels, reduction="sum") + F.cross_entropy(logits.T, labels, reduction="sum")


def two_losses(za, zb, logit_scale):
    logits, labels = logit_scale * za @ zb.T, torch.arange(len(za))
    return F.cross_entropy(logits, labels), F.cross_entropy(logits.T, labels)


def no_own_column(za, zb, logit_scale):  # the negatives alone below the fraction bar
    logits = logit_scale * za @ zb.T
    others = logits.masked_fill(torch.eye(len(za), dtype=torch.bool), -torch.inf)
    return ((others.logsumexp(dim=0) + others.logsumexp(dim=1)) / 2 - logits.diagonal()).mean()


def held_by_minimum(za, zb, log_scale):
    scale = torch.minimum(log_scale.exp(), torch.tensor(100.0))
    logits, labels = scale * za @ zb.T, torch.arange(len(za))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def held_as_a_logarithm(za, zb, log_scale):
    return fixed_loss(za, zb, log_scale.clamp(max=4.6052))


def two_left(za, zb, log_scale):
    scale = log_scale.exp().clamp(max=100)
    logits, labels = scale * za @ zb.detach().T, torch.arange(len(za))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def transposed_both(za, zb, log_scale):
    logits, labels = log_scale.exp() * za @ zb.T, torch.arange(len(za))
    return (F.cross_entropy(logits.T, labels) + F.cross_entropy(logits.T, labels)) / 2


def za_is_cut(za, zb, log_scale):
    return fixed_loss(za.detach(), zb, log_scale)


def number_from_tensor(za, zb, log_scale):
    return fixed_loss(za, zb, torch.tensor(log_scale.item()))


def logarithm_as_it_is(za, zb, log_scale):
    return clip_loss(za, zb, log_scale)


def temperature_of_it(za, zb, log_scale):
    return clip_loss(za, zb, 1 / log_scale.exp())


def not_halved(za, zb, log_scale):
    logits, labels = log_scale.exp() * za @ zb.T, torch.arange(len(za))
    return F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)


def only_rows(za, zb, log_scale):
    return F.cross_entropy(log_scale.exp() * za @ zb.T, torch.arange(len(za)))


def clamped_in_place(za, zb, log_scale):
    with torch.no_grad():
        log_scale.clamp_(max=4.6)
    return fixed_loss(za, zb, log_scale)


def at_most_ten(za, zb, log_scale):
    return fixed_loss(za, zb, log_scale.clamp(max=2.3))


def places(similarity, targets):
    own = similarity.gather(1, targets[:, None])
    return (similarity > own).sum(dim=1), (similarity == own).sum(dim=1)


def never_clamped(similarity, targets, k):
    ahead, level = places(similarity, targets)
    return ((k - ahead) / level).mean()


def clamped_above(similarity, targets, k):
    ahead, level = places(similarity, targets)
    return ((k - ahead) / level).clamp(max=1).mean()


def clamped_below(similarity, targets, k):
    ahead, level = places(similarity, targets)
    return ((k - ahead) / level).clamp(min=0).mean()


def middle_place(similarity, targets, k):
    ahead, level = places(similarity, targets)
    return (ahead + (level - 1) / 2 < k).double().mean()


def middle_rank(similarity, targets, k):
    ahead, level = places(similarity, targets)
    return (ahead + (level + 1) / 2 <= k).float().mean()


def by_all_columns(similarity, targets, k):
    ahead, _ = places(similarity, targets)
    return ((k - ahead) / similarity.shape[1]).clamp(0, 1).mean()


def the_others_level(similarity, targets, k):
    ahead, level = places(similarity, targets)
    return ((k - ahead) / (level - 1)).clamp(0, 1).mean()


def one_too_many(similarity, targets, k):
    ahead, level = places(similarity, targets)
    return ((k + 1 - ahead) / level).clamp(0, 1).mean()


def all_ties_in(similarity, targets, k):
    return (similarity >= similarity.topk(k, dim=1).values[:, -1:]).gather(1, targets[:, None]).float().mean()


def ties_at_the_end(similarity, targets, k):
    ahead, level = places(similarity, targets)
    return (ahead + level <= k).float().mean()


def stable_sort(similarity, targets, k):
    order = torch.sort(similarity, dim=1, descending=True, stable=True).indices
    return sum(t in row[:k] for row, t in zip(order.tolist(), targets.tolist(), strict=True)) / len(targets)


def forgot_descending(similarity, targets, k):
    order = similarity.argsort(dim=1, stable=True)[:, :k]
    return (order == targets[:, None]).any(dim=1).float().mean()


def without_itself(similarity, targets, k):
    ahead, level = places(similarity, targets)
    return ((k - ahead) / (level + 1)).clamp(0, 1).mean()


def expects_a_diagonal(similarity, targets, k):
    own = similarity.diagonal()[:, None]
    return ((k - (similarity > own).sum(1)) / (similarity == own).sum(1)).clamp(0, 1).mean()


def share_of_the_top(similarity, targets, k):
    return (similarity.topk(k, dim=1).indices == targets[:, None]).float().mean()


def mean_first(encode_text, classnames, templates):
    return torch.stack([unit(encode_text([t.format(n) for t in templates]).mean(0)) for n in classnames])


def forgot_the_last(encode_text, classnames, templates):
    return torch.stack([unit(encode_text([t.format(n) for t in templates])).mean(0) for n in classnames])


def raw_means(encode_text, classnames, templates):
    return torch.stack([encode_text([t.format(n) for t in templates]).mean(0) for n in classnames])


def unit_along_the_batch(encode_text, classnames, templates):
    vectors = F.normalize(encode_text([t.format(n) for n in classnames for t in templates]), dim=0)
    return unit(vectors.view(len(classnames), len(templates), -1).mean(1))


def last_along_the_classes(encode_text, classnames, templates):
    return F.normalize(unit(by_class(encode_text, classnames, templates)).mean(1), dim=0)


def one_long_text(encode_text, classnames, templates):
    return unit(encode_text([" ".join(t.format(n) for t in templates) for n in classnames]))


def name_at_the_end(encode_text, classnames, templates):
    return torch.stack([unit(unit(encode_text([t + n for t in templates])).mean(0)) for n in classnames])


def over_the_classes(encode_text, classnames, templates):
    return unit(unit(by_class(encode_text, classnames, templates)).mean(0))


def overwritten(encode_text, classnames, templates):
    for template in templates:
        rows = unit(encode_text([template.format(name) for name in classnames]))
    return rows


def names_alone(encode_text, classnames, templates):
    return unit(encode_text(classnames))


def nothing_filled_in(encode_text, classnames, templates):
    return torch.stack([unit(unit(encode_text([str(t) for t in templates])).mean(0)) for n in classnames])


def wrong_view(encode_text, classnames, templates):
    vectors = unit(encode_text([t.format(n) for t in templates for n in classnames]))
    return unit(vectors.view(len(classnames), len(templates), -1).mean(1))


def rows_in_a_list(encode_text, classnames, templates):
    return [unit(unit(encode_text([t.format(n) for t in templates])).mean(0)) for n in classnames]


def letter_by_letter(encode_text, classnames, templates):
    return unit(torch.stack([encode_text(t.format(n)) for n in classnames for t in templates]))


def biggest_vote(encode_text, classnames, templates):
    return unit(unit(by_class(encode_text, classnames, templates)).max(dim=1).values)


WRONG += [
    ("clip_loss", probabilities_first, "three pairs", "A softmax too many"),
    ("clip_loss", first_is_right, "three pairs", "All labels are 0"),
    ("clip_loss", no_minus, "three pairs", "The sign is wrong"),
    ("clip_loss", mean_of_the_table, "three pairs", "only those of the pairs count"),
    ("clip_loss", forgot_the_columns, "three pairs", "one direction only, za to zb"),
    ("clip_loss", same_rows_again, "three pairs", "one direction only, za to zb"),
    ("clip_loss", temperature_it_is, "three pairs", "multiply, do not divide"),
    ("clip_loss", sums_of_losses, "three pairs", "That is the sum over the batch"),
    ("clip_loss", both_added, "three pairs", "sum of the two directions"),
    ("clip_loss", nothing_divided, "three pairs", "over the batch and both directions"),
    ("clip_loss", distances, "three pairs", "The loss of three pairs at scale 3.1"),
    ("clip_loss", logsumexp_without_max, "scale 100", "exp(100) is inf in float32"),
    ("clip_loss", two_losses, "three pairs", "Several things came back"),
    ("clip_loss", no_own_column, "three pairs", "The loss of three pairs at scale 3.1"),
    ("fixed_loss", held_by_minimum, "three pairs", "could not come back"),
    ("fixed_loss", held_as_a_logarithm, "three pairs", "could not come back"),
    ("fixed_loss", two_left, "three pairs", "The text encoder would never learn from it (and there is one more)"),
    ("fixed_loss", transposed_both, "three pairs", "The same question is asked twice"),
    ("fixed_loss", za_is_cut, "three pairs", "no gradient reaches za"),
    ("fixed_loss", number_from_tensor, "three pairs", "no gradient reaches log_scale"),
    ("fixed_loss", logarithm_as_it_is, "three pairs", "the logarithm of the scale"),
    ("fixed_loss", temperature_of_it, "three pairs", "do not divide by it"),
    ("fixed_loss", not_halved, "three pairs", "sum of the two directions"),
    ("fixed_loss", only_rows, "three pairs", "asked twice, the other never"),
    ("fixed_loss", clamped_in_place, "three pairs", "changed log_scale in place"),
    ("fixed_loss", at_most_ten, "three pairs", "The loss of three pairs at scale 130"),
    ("recall_at_k", never_clamped, "five rows", "and more than 1 where it is ahead"),
    ("recall_at_k", clamped_above, "five rows", "a row counts less than 0"),
    ("recall_at_k", clamped_below, "five rows", "more than 1 where it is ahead of k places"),
    ("recall_at_k", middle_place, "all equal", "all or nothing"),
    ("recall_at_k", middle_rank, "all equal", "all or nothing"),
    ("recall_at_k", by_all_columns, "five rows", "Divided by the number of columns"),
    ("recall_at_k", the_others_level, "five rows", "it is left out"),
    ("recall_at_k", one_too_many, "five rows", "recall at k + 1"),
    ("recall_at_k", all_ties_in, "all equal", "Ties count as hits"),
    ("recall_at_k", ties_at_the_end, "all equal", "Ties count as misses"),
    ("recall_at_k", stable_sort, "all equal", "stand first in memory"),
    ("recall_at_k", forgot_descending, "five rows", "The order is ascending"),
    ("recall_at_k", without_itself, "five rows", "it is counted twice"),
    ("recall_at_k", expects_a_diagonal, "five rows", "targets is ignored"),
    ("recall_at_k", share_of_the_top, "five rows", "it is a precision"),
    ("zero_shot_classifier", mean_first, "two classes", "normalise before the mean"),
    ("zero_shot_classifier", forgot_the_last, "two classes", "normalise the mean as well"),
    ("zero_shot_classifier", raw_means, "two classes", "Nothing is normalised"),
    ("zero_shot_classifier", unit_along_the_batch, "two classes", "along the batch"),
    ("zero_shot_classifier", last_along_the_classes, "two classes", "along the batch"),
    ("zero_shot_classifier", one_long_text, "two classes", "All templates went into one text"),
    ("zero_shot_classifier", name_at_the_end, "two classes", "The name stands beside its template"),
    ("zero_shot_classifier", over_the_classes, "two classes", "one row a template"),
    ("zero_shot_classifier", overwritten, "two classes", "Only the last template"),
    ("zero_shot_classifier", names_alone, "two classes", "The templates are not used"),
    ("zero_shot_classifier", nothing_filled_in, "two classes", "The class names are not used"),
    ("zero_shot_classifier", wrong_view, "two classes", "Classes and templates are mixed up"),
    ("zero_shot_classifier", rows_in_a_list, "two classes", "Several things came back"),
    ("zero_shot_classifier", letter_by_letter, "two classes", "takes a list of strings"),
    ("zero_shot_classifier", biggest_vote, "two classes", "Two classes in three sentences"),
]
