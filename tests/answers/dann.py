"""What learners write for the checks of lesson 05: right answers in other ways, and mistakes in their own words."""

import torch
import torch.nn.functional as F

from xlib import dann


def by_grad_reverse(features, weight, domain, coeff):
    leaf = features.clone().requires_grad_()
    logits = dann.grad_reverse(leaf, coeff) @ weight
    loss = F.binary_cross_entropy_with_logits(logits, domain.to(logits.dtype))
    return torch.autograd.grad(loss, leaf)[0]


RIGHT = [("feature_gradient", by_grad_reverse), ("fixed_domain_loss", dann.domain_loss)]


# The same mistakes as a learner writes them.
def together(features, weight, domain, coeff):
    return coeff * ((torch.sigmoid(features @ weight) - domain) / len(features))[:, None] * weight


def coefficient_twice(features, weight, domain, coeff):
    return coeff * by_grad_reverse(features, weight, domain, coeff)


def naive_sigmoid(features, weight, domain, coeff):
    z = features @ weight
    return -coeff * ((z.exp() / (1 + z.exp()) - domain) / len(features))[:, None] * weight


def with_softmax(source, target):
    return dann.domain_loss(source.softmax(1), target.softmax(1))


def over_all_rows(source, target):
    domain = torch.tensor([0] * len(source) + [1] * len(target))
    return F.cross_entropy(torch.cat([source, target]), domain)


def of_all_rows(guess, domain):
    return (2 - 4 * (guess != domain).float().mean()).clamp(0, 2)


def unclamped(guess, domain):
    wrong = (guess != domain).float()
    return 2 - 2 * (wrong[domain == 0].mean() + wrong[domain == 1].mean())


def twice_too_much(source, target):
    return (source - target).abs().sum()


def largest(source, target):
    return (source - target).abs().max()


WRONG = [
    ("feature_gradient", together, "two rows", "minus sign"),
    ("feature_gradient", coefficient_twice, "two rows", "twice"),
    ("feature_gradient", naive_sigmoid, "large logits", "torch.sigmoid"),
    ("fixed_domain_loss", with_softmax, "three and one", "softmax before cross-entropy"),
    ("fixed_domain_loss", over_all_rows, "three and one", "one half"),
    ("a_distance", of_all_rows, "four to one", "whatever its size"),
    ("a_distance", unclamped, "worse than chance", "counts as 0"),
    ("least_error", twice_too_much, "four classes", "Half of that"),
    ("least_error", largest, "four classes", "largest difference"),
]
