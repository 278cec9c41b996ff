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


def one_bug_left(raw=False, twice=False, cut=False):
    def loss(za, zb, log_scale):
        logits = (log_scale if raw else log_scale.exp()) * za @ (zb.detach() if cut else zb).T
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
    ("clip_loss", softmax_then_log, "scale 100", "log of a tiny softmax"),
    ("clip_loss", lambda a, b, s: -cosine_table(a, b, s).log_softmax(1).diagonal(), "three pairs", "shape (3,)"),
    (
        "clip_loss",
        lambda *given: clip_loss(*given).item(),
        "three pairs",
        "got float. Return the result alone, without .item()",
    ),
    (
        "clip_loss",
        lambda *given: clip_loss(*given).detach().numpy(),
        "three pairs",
        "got ndarray. Return the result alone",
    ),
    ("clip_loss", lambda *given: (clip_loss(*given), 0), "three pairs", "expected a scalar tensor, got tuple"),
    ("clip_loss", lambda *given: [clip_loss(*given)], "three pairs", "expected a scalar tensor, got list"),
    (
        "clip_loss",
        lambda a, b, s: clip_loss(a.float(), b.float(), s),
        "float64",
        "torch.float64, got shape (), torch.float32",
    ),
    ("clip_loss", lambda a, b, s: clip_loss(a.float(), b.float(), s).to(a.dtype), "float64", "A step leaves float64"),
    (
        "clip_loss",
        lambda a, b, s: clip_loss(a.view(-1).view(a.shape), b, s),
        "not contiguous",
        "may lie apart in memory",
    ),
    ("clip_loss", lambda *given: clip_loss(*given).detach(), "gradients", "no gradient reaches za"),
    ("clip_loss", lambda a, b, s: clip_loss(a.squeeze(0), b, s), "one pair", "One pair has no negatives"),
    ("clip_loss", lambda a, b, s: clip_loss(a, b, s) if len(a) > 1 else None, "one pair", "got NoneType"),
    ("fixed_loss", one_bug_left(raw=True), "three pairs", "log_scale is a logarithm"),
    ("fixed_loss", one_bug_left(twice=True), "three pairs", "Both terms read the rows"),
    ("fixed_loss", one_bug_left(cut=True), "three pairs", "no gradient reaches zb. zb is detached"),
    (
        "fixed_loss",
        one_bug_left(raw=True, twice=True),
        "three pairs",
        "logarithm: the logits want its exp (and there",
    ),
    ("fixed_loss", one_bug_left(twice=True, cut=True), "three pairs", "rows, image to text"),
    ("fixed_loss", one_bug_left(raw=True, cut=True), "three pairs", "logarithm: the logits want its exp (and there"),
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
        "Ties count as misses",
    ),
    ("recall_at_k", topk_recall, "all equal", "random order"),
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
        "Only the order in a row counts",
    ),
    ("recall_at_k", lambda s, t, k: s.gather(1, t[:, None]), "five rows", "got shape (5, 1)"),
    ("recall_at_k", lambda *given: np.array(0.6), "five rows", "got ndarray. Return the result alone"),
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
        "expected shape (2, 4), torch.float32, got shape (3, 4)",
    ),
    ("zero_shot_classifier", lambda e, c, t: zero_shot_classifier(e, c, t[:1]), "two classes", "first template"),
    ("zero_shot_classifier", lambda e, c, t: unit(e(c)), "two classes", "The templates are not used"),
    (
        "zero_shot_classifier",
        lambda *given: unit(F.normalize(by_class(*given)).mean(1)),
        "two classes",
        "wrong dimension",
    ),
    ("zero_shot_classifier", lambda e, c, t: e(t[0].format(c[0])), "two classes", "takes a list of strings"),
    (
        "zero_shot_classifier",
        lambda *given: zero_shot_classifier(*given).float(),
        "float64",
        "torch.float64, got shape (2, 4)",
    ),
    ("zero_shot_classifier", lambda *given: zero_shot_classifier(*given).squeeze(0), "one class", "got shape (4,)"),
    (
        "zero_shot_classifier",
        lambda e, c, t: zero_shot_classifier(e, c[:3] + ["9"] * (len(c) - 3), t),
        "twelve classes",
        "in row 3",
    ),
]
