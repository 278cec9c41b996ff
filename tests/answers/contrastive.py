"""What learners write for the checks of lesson 02: right answers in other ways, and mistakes in their own words."""

import math

import torch
import torch.nn.functional as F

from xlib import contrastive


def by_autograd(za, zb, logit_scale):
    leaf = za.clone().requires_grad_()
    return torch.autograd.grad(contrastive.info_nce(leaf, zb, logit_scale=logit_scale), leaf)[0]


def by_xlib(za, zb, logit_scale, logit_bias):
    return contrastive.siglip(za, zb, logit_scale=logit_scale, logit_bias=logit_bias)


def from_log_softmax(cosines, tau):
    log_q = torch.log_softmax(cosines[1:] / tau, dim=0)
    return (-(log_q.exp() * log_q).sum()).exp()


RIGHT = [("gradient_za", by_autograd), ("siglip_loss", by_xlib), ("effective_negatives", from_log_softmax)]


# The same mistakes as a learner writes them, in other words than the check's own.
def plain_sigmoid(za, zb, scale, bias):
    signs = 2 * torch.eye(len(za), dtype=za.dtype) - 1
    return -torch.sigmoid(signs * (scale * za @ zb.T + bias)).log().sum() / len(za)


def mean_of_all(za, zb, scale, bias):
    targets = torch.eye(len(za), dtype=za.dtype)
    return F.binary_cross_entropy_with_logits(scale * za @ zb.T + bias, targets)


def bias_outside(za, zb, scale, bias):
    signs = 2 * torch.eye(len(za), dtype=za.dtype) - 1
    return -F.logsigmoid(signs * (scale * za @ zb.T) + bias).sum() / len(za)


def with_the_right_caption(cosines, tau):
    return torch.special.entr(torch.softmax(cosines / tau, 0)).sum().exp()


def in_bits(cosines, tau):
    return torch.special.entr(torch.softmax(cosines[1:] / tau, 0)).sum() / math.log(2)


def naive_log(cosines, tau):
    q = torch.softmax(cosines[1:] / tau, 0)
    return (-(q * q.log()).sum()).exp()


def in_both(logits):
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def twins_of(captions):
    return (captions[:, None] == captions) & ~torch.eye(len(captions), dtype=torch.bool)


def unmasked(za, zb, captions, scale):
    return in_both(scale * za @ zb.T)


def masked_with_zero(za, zb, captions, scale):
    return in_both((scale * za @ zb.T).masked_fill(twins_of(captions), 0.0))


def masked_with_itself(za, zb, captions, scale):
    return in_both((scale * za @ zb.T).masked_fill(captions[:, None] == captions, -math.inf))


def naive_exp(za, zb, captions, scale):
    exps = (scale * za @ zb.T).exp() * ~twins_of(captions)
    return -((exps.diagonal() / exps.sum(1)).log() + (exps.diagonal() / exps.sum(0)).log()).mean() / 2


def of_one_question(za, zb, scale):
    table = (scale * za @ zb.T).softmax(dim=1) - torch.eye(len(za), dtype=za.dtype)
    return scale * table @ zb / len(za)


def without_chain_rule(za, zb, scale):
    logits, own = scale * za @ zb.T, torch.eye(len(za), dtype=za.dtype)
    return (logits.softmax(1) + logits.softmax(0) - 2 * own) @ zb / (2 * len(za))


def uphill(za, zb, scale):
    return -by_autograd(za, zb, scale)


WRONG = [
    ("siglip_loss", plain_sigmoid, "scale 100", "logsigmoid"),
    ("siglip_loss", mean_of_all, "three pairs", "not by N²"),
    ("siglip_loss", bias_outside, "three pairs", "bias included"),
    ("effective_negatives", with_the_right_caption, "four equal negatives", "right caption"),
    ("effective_negatives", in_bits, "four equal negatives", "bits"),
    ("effective_negatives", naive_log, "tau = 0.001", "0 · log 0"),
    ("masked_loss", unmasked, "two of three equal", "still negatives"),
    ("masked_loss", masked_with_zero, "two of three equal", "exp(0) = 1"),
    ("masked_loss", masked_with_itself, "no duplicates", "keep the diagonal"),
    ("masked_loss", naive_exp, "scale 100", "cross_entropy or logsumexp"),
    ("gradient_za", of_one_question, "three pairs", "rows' question alone"),
    ("gradient_za", without_chain_rule, "three pairs", "chain rule"),
    ("gradient_za", uphill, "three pairs", "sign"),
]
