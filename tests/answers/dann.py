"""What learners write for the checks of lesson 05: right answers in other ways, and mistakes in their own words."""

import torch
import torch.nn.functional as F

from xlib import dann


# Exercise 1: what reaches the features.
def row_by_row(features, weight, domain, coeff):
    rows = []
    for row, where in zip(features, domain, strict=True):
        z = (row * weight).sum()
        rows.append(-coeff * (z.sigmoid() - where) * weight / features.shape[0])
    return torch.stack(rows)


def outer_product(features, weight, domain, coeff):
    z = features @ weight
    return torch.outer(torch.where(domain == 1, z.sigmoid() - 1, z.sigmoid()), -coeff * weight) / len(z)


def by_grad_reverse(features, weight, domain, coeff):
    leaf = features.clone().requires_grad_()
    logits = dann.grad_reverse(leaf, coeff) @ weight
    loss = F.binary_cross_entropy_with_logits(logits, domain.to(logits.dtype))
    return torch.autograd.grad(loss, leaf)[0]


def by_backward(features, weight, domain, coeff):
    leaf = features.detach().clone().requires_grad_()
    F.binary_cross_entropy_with_logits(leaf @ weight, domain.to(leaf.dtype)).backward()
    return -coeff * leaf.grad


def together(features, weight, domain, coeff):
    return coeff * ((torch.sigmoid(features @ weight) - domain) / len(features))[:, None] * weight


def guess_less_truth_turned(features, weight, domain, coeff):
    return -coeff * ((domain - torch.sigmoid(features @ weight)) / len(features))[:, None] * weight


def coefficient_twice(features, weight, domain, coeff):
    return coeff * by_grad_reverse(features, weight, domain, coeff)


def always_one(features, weight, domain, coeff):
    return by_grad_reverse(features, weight, domain, 1.0)


def of_the_sum(features, weight, domain, coeff):
    return -coeff * (torch.sigmoid(features @ weight) - domain)[:, None] * weight


def mean_of_all_entries(features, weight, domain, coeff):
    return of_the_sum(features, weight, domain, coeff) / features.numel()


def naive_sigmoid(features, weight, domain, coeff):
    z = features @ weight
    return -coeff * ((z.exp() / (1 + z.exp()) - domain) / len(features))[:, None] * weight


def no_sigmoid(features, weight, domain, coeff):
    return -coeff * torch.outer(features @ weight - domain, weight) / len(features)


def target_is_0(features, weight, domain, coeff):
    share = torch.sigmoid(features @ weight)
    return -coeff * (share - (domain == 0).float())[:, None] * weight / len(features)


def along_the_features(features, weight, domain, coeff):
    return -coeff * (torch.sigmoid(features @ weight) - domain)[:, None] * features / len(features)


def of_a_squared_error(features, weight, domain, coeff):
    share = torch.sigmoid(features @ weight)
    return -coeff * ((share - domain) * share * (1 - share))[:, None] * weight / len(features)


def halved(features, weight, domain, coeff):
    return together(features, weight, domain, -coeff) / 2


def half_a_domain(features, weight, domain, coeff):
    each = torch.where(domain == 1, (domain == 1).sum(), (domain == 0).sum())
    return -coeff * ((torch.sigmoid(features @ weight) - domain) / (2 * each))[:, None] * weight


def of_the_source(features, weight, domain, coeff):
    from_source = 1 - torch.sigmoid(features @ weight)
    return -coeff * (from_source - domain)[:, None] * weight / len(features)


def weight_forgotten(features, weight, domain, coeff):
    by_logit = (torch.sigmoid(features @ weight) - domain) / len(features)
    return (-coeff * by_logit)[:, None].expand_as(features)


def by_logit_only(features, weight, domain, coeff):
    return -coeff * (torch.sigmoid(features @ weight) - domain) / len(features)


def in_float32(features, weight, domain, coeff):
    return together(features, weight, domain, -coeff).float()


def of_the_weight(features, weight, domain, coeff):
    return -coeff * features.T @ (torch.sigmoid(features @ weight) - domain) / len(features)


# Exercise 2: a distance.
def balanced(guess, domain):
    recall = [(guess[domain == k] == k).double().mean() for k in (0, 1)]
    return max(0.0, 2 * float(sum(recall)) - 2)


def at_most_a_coin(guess, domain):
    errors = [(guess[domain == k] != k).float().mean() for k in (0, 1)]
    return 2 * (1 - 2 * (sum(errors) / 2).clamp(max=0.5))


def of_all_rows(guess, domain):
    return (2 - 4 * (guess != domain).float().mean()).clamp(0, 2)


def unclamped(guess, domain):
    wrong = (guess != domain).float()
    return 2 - 2 * (wrong[domain == 0].mean() + wrong[domain == 1].mean())


def unsigned(guess, domain):
    return unclamped(guess, domain).abs()


def up_to_1(guess, domain):
    return (unclamped(guess, domain) / 2).clamp(0, 1)


def twice_the_accuracy(guess, domain):
    return (unclamped(guess, domain) + 2) / 2


def of_the_right_ones(guess, domain):
    right = (guess == domain).float()
    error = (right[domain == 0].mean() + right[domain == 1].mean()) / 2
    return (2 * (1 - 2 * error)).clamp(0, 2)


def sum_of_errors(guess, domain):
    wrong = (guess != domain).float()
    error = wrong[domain == 0].mean() + wrong[domain == 1].mean()
    return (2 * (1 - 2 * error)).clamp(0, 2)


def on_the_source(guess, domain):
    return (2 - 4 * (guess[domain == 0] != 0).float().mean()).clamp(0, 2)


def on_the_target(guess, domain):
    return (2 - 4 * (guess[domain == 1] != 1).float().mean()).clamp(0, 2)


def grouped_by_guess(guess, domain):
    wrong = (guess != domain).float()
    return (2 - 2 * (wrong[guess == 0].mean() + wrong[guess == 1].mean())).clamp(0, 2)


def the_worse_domain(guess, domain):
    errors = torch.stack([(guess[domain == k] != k).float().mean() for k in (0, 1)])
    return (2 - 4 * errors.max()).clamp(0, 2)


def the_better_domain(guess, domain):
    errors = torch.stack([(guess[domain == k] != k).float().mean() for k in (0, 1)])
    return (2 - 4 * errors.min()).clamp(0, 2)


def numbers_of_errors(guess, domain):
    wrong = (guess != domain).float()
    error = (wrong[domain == 0].sum() + wrong[domain == 1].sum()) / 2
    return (2 * (1 - 2 * error)).clamp(0, 2)


def error_alone(guess, domain):
    wrong = (guess != domain).float()
    return (wrong[domain == 0].mean() + wrong[domain == 1].mean()) / 2


def mean_of_bools(guess, domain):
    wrong = guess != domain
    return 2 - 2 * (wrong[domain == 0].mean() + wrong[domain == 1].mean())


def wrong_over_all(guess, domain):
    wrong = guess != domain
    errors = [(wrong & (domain == k)).sum() / len(domain) for k in (0, 1)]
    return (2 - 2 * sum(errors)).clamp(0, 2)


# Exercise 3: two bugs.
def log_softmax_first(source, target):
    return F.nll_loss(source.log_softmax(1), torch.zeros(len(source), dtype=torch.long)) / 2 + F.nll_loss(
        target.log_softmax(1), torch.ones(len(target), dtype=torch.long)
    ).div(2)


def by_the_difference(source, target):
    return (F.softplus(source[:, 1] - source[:, 0]).mean() + F.softplus(target[:, 0] - target[:, 1]).mean()) / 2


def weighted_rows(source, target):
    domain = torch.tensor([0] * len(source) + [1] * len(target))
    weight = torch.tensor([1 / len(source), 1 / len(target)], dtype=source.dtype)
    return F.cross_entropy(torch.cat([source, target]), domain, weight=weight)


def with_softmax(source, target):
    return dann.domain_loss(source.softmax(1), target.softmax(1))


def over_all_rows(source, target):
    domain = torch.tensor([0] * len(source) + [1] * len(target))
    return F.cross_entropy(torch.cat([source, target]), domain)


def log_of_softmax(source, target):
    return -(source.softmax(1)[:, 0].log().mean() + target.softmax(1)[:, 1].log().mean()) / 2


def sum_of_the_means(source, target):
    return 2 * dann.domain_loss(source, target)


def exchanged(source, target):
    return (F.cross_entropy(source, torch.ones(len(source), dtype=torch.long))
            + F.cross_entropy(target, torch.zeros(len(target), dtype=torch.long))) / 2  # fmt: skip


def all_source(source, target):
    return sum(F.cross_entropy(part, torch.zeros(len(part), dtype=torch.long)) for part in (source, target)) / 2


def summed(source, target):
    zeros, ones = torch.zeros(len(source), dtype=torch.long), torch.ones(len(target), dtype=torch.long)
    return (F.cross_entropy(source, zeros, reduction="sum") + F.cross_entropy(target, ones, reduction="sum")) / 2


def nll_of_probabilities(source, target):
    zeros, ones = torch.zeros(len(source), dtype=torch.long), torch.ones(len(target), dtype=torch.long)
    return (F.nll_loss(source.softmax(1), zeros) + F.nll_loss(target.softmax(1), ones)) / 2


def with_sigmoid(source, target):
    return dann.domain_loss(source.sigmoid(), target.sigmoid())


def without_gradient(source, target):
    return torch.tensor(dann.domain_loss(source, target).item(), dtype=source.dtype)


def as_a_number(source, target):
    return dann.domain_loss(source, target).item()


def as_a_pair(source, target):
    return dann.domain_loss(source, source * 0), dann.domain_loss(target * 0, target)


def weights_exchanged(source, target):
    domain = torch.tensor([0] * len(source) + [1] * len(target))
    weight = torch.tensor([1.0 * len(source), 1.0 * len(target)], dtype=source.dtype)
    return F.cross_entropy(torch.cat([source, target]), domain, weight=weight)


# Exercise 4: the least error.
def total_variation(source, target):
    return torch.dist(source, target, p=1) / 2


def what_one_lacks(source, target):
    return 1 - torch.minimum(source, target).sum()


def twice_too_much(source, target):
    return (source - target).abs().sum()


def largest(source, target):
    return (source - target).abs().max()


def mean_difference(source, target):
    return (source - target).abs().mean()


def half_of_the_mean(source, target):
    return (source - target).abs().mean() / 2


def with_signs(source, target):
    return (source - target).sum() / 2


def half_of_the_squares(source, target):
    return ((source - target) ** 2).sum() / 2


def euclidean(source, target):
    return torch.dist(source, target)


def drawn_at_random(source, target):
    return 1 - source @ target


def in_common(source, target):
    return torch.minimum(source, target).sum()


def first_class(source, target):
    return (source[0] - target[0]).abs()


def both_largest(source, target):
    return 2 - source.max() - target.max()


def divergence(source, target):
    return (source * (source / target).log()).sum()


def of_each_class(source, target):
    return (source - target).abs() / 2


def least_as_a_number(source, target):
    return float((source - target).abs().sum()) / 2


RIGHT = [
    ("feature_gradient", row_by_row),
    ("feature_gradient", outer_product),
    ("a_distance", balanced),
    ("a_distance", at_most_a_coin),
    ("fixed_domain_loss", dann.domain_loss),
    ("fixed_domain_loss", by_the_difference),
    ("fixed_domain_loss", weighted_rows),
    ("fixed_domain_loss", log_softmax_first),
    ("least_error", total_variation),
    ("least_error", what_one_lacks),
]

WRONG = [
    ("feature_gradient", together, "three rows", "minus sign is missing"),
    ("feature_gradient", guess_less_truth_turned, "three rows", "minus sign is missing"),
    ("feature_gradient", coefficient_twice, "three rows", "twice"),
    ("feature_gradient", always_one, "three rows", "coeff is not used"),
    ("feature_gradient", of_the_sum, "three rows", "gradient of the sum"),
    ("feature_gradient", mean_of_all_entries, "three rows", "all entries"),
    ("feature_gradient", naive_sigmoid, "large logits", "inf in float32"),
    ("feature_gradient", no_sigmoid, "three rows", "no probability"),
    ("feature_gradient", target_is_0, "three rows", "1 is the target"),
    ("feature_gradient", along_the_features, "three rows", "along the features"),
    ("feature_gradient", of_a_squared_error, "three rows", "squared error"),
    ("feature_gradient", halved, "three rows", "That is half of it"),
    ("feature_gradient", half_a_domain, "three rows", "Each domain counts one half here"),
    ("feature_gradient", of_the_source, "three rows", "the probability of domain 1"),
    ("feature_gradient", weight_forgotten, "three rows", "The weight is missing"),
    ("feature_gradient", by_logit_only, "three rows", "expected shape (3, 2), got (3,)"),
    ("feature_gradient", in_float32, "float64", "in torch.float32"),
    ("feature_gradient", of_the_weight, "three rows", "expected shape (3, 2), got (2,)"),
    ("feature_gradient", by_grad_reverse, "feature_gradient", "autograd"),
    ("feature_gradient", by_backward, "feature_gradient", "autograd"),
    ("a_distance", of_all_rows, "eleven rows", "whatever its size"),
    ("a_distance", unclamped, "worse than chance", "not as less"),
    ("a_distance", unsigned, "worse than chance", "right so often"),
    ("a_distance", up_to_1, "eleven rows", "half of it"),
    ("a_distance", twice_the_accuracy, "eleven rows", "A coin"),
    ("a_distance", of_the_right_ones, "eleven rows", "counts the right guesses"),
    ("a_distance", sum_of_errors, "eleven rows", "not their mean"),
    ("a_distance", on_the_source, "eleven rows", "Only the source"),
    ("a_distance", on_the_target, "eleven rows", "Only the target"),
    ("a_distance", grouped_by_guess, "eleven rows", "Seven source rows"),
    ("a_distance", the_worse_domain, "eleven rows", "worse domain alone"),
    ("a_distance", the_better_domain, "eleven rows", "better domain alone"),
    ("a_distance", numbers_of_errors, "eleven rows", "numbers of errors"),
    ("a_distance", error_alone, "eleven rows", "the error itself"),
    ("a_distance", mean_of_bools, "eleven rows", "raised RuntimeError"),
    ("a_distance", wrong_over_all, "eleven rows", "Seven source rows"),
    ("fixed_domain_loss", with_softmax, "three and one", "softmax before the cross-entropy"),
    ("fixed_domain_loss", over_all_rows, "three and one", "bigger domain"),
    ("fixed_domain_loss", log_of_softmax, "large logits", "inf in float32"),
    ("fixed_domain_loss", sum_of_the_means, "three and one", "twice the loss"),
    ("fixed_domain_loss", exchanged, "three and one", "domains are exchanged"),
    ("fixed_domain_loss", all_source, "three and one", "the target is class 1"),
    ("fixed_domain_loss", summed, "three and one", "Sums over the rows"),
    ("fixed_domain_loss", nll_of_probabilities, "three and one", "takes logarithms"),
    ("fixed_domain_loss", with_sigmoid, "three and one", "the loss of three source rows"),
    ("fixed_domain_loss", without_gradient, "three and one", "no gradient reaches source_logits"),
    ("fixed_domain_loss", as_a_number, "three and one", "expected a scalar tensor, got float"),
    ("fixed_domain_loss", as_a_pair, "three and one", "make one tensor"),
    ("fixed_domain_loss", weights_exchanged, "three and one", "the loss of three source rows"),
    ("least_error", twice_too_much, "four classes", "factor of 2"),
    ("least_error", largest, "four classes", "largest difference"),
    ("least_error", mean_difference, "four classes", "mean over the classes"),
    ("least_error", half_of_the_mean, "four classes", "mean over the classes"),
    ("least_error", with_signs, "four classes", "cancel"),
    ("least_error", half_of_the_squares, "four classes", "Squares"),
    ("least_error", euclidean, "four classes", "a length"),
    ("least_error", drawn_at_random, "four classes", "drawn at random"),
    ("least_error", in_common, "four classes", "have in common"),
    ("least_error", first_class, "four classes", "class 0 alone"),
    ("least_error", both_largest, "four classes", "for four classes"),
    ("least_error", divergence, "four classes", "for four classes"),
    ("least_error", of_each_class, "four classes", "expected shape (), got (4,)"),
    ("least_error", least_as_a_number, "four classes", "expected a scalar tensor, got float"),
]
