"""What docstrings promise: each public name has a short example, and each of their "Relations" holds in numbers.

The examples themselves are run by `pytest --doctest-modules xlib`.
"""

import ast
import math
import re
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.testing import assert_close

import xlib.explore
from xlib.clip import zero_shot_weights
from xlib.combined import self_training_loss
from xlib.contrastive import LogitScale, info_nce, siglip
from xlib.dann import (
    dann_coeff,
    domain_loss,
    entropy,
    grad_reverse,
    information_maximisation,
    proxy_a_distance,
    soft_neighbourhood_density,
)
from xlib.encoders import Centre, edges_and_colours
from xlib.mmd import coral, mmd2, mmd2_by_label
from xlib.retrieval import retrieval
from xlib.space import alignment, cca, cosine_similarity_matrix, modality_gap, procrustes, uniformity

PACKAGE = Path(xlib.explore.__file__).parents[1]
METHODS = ["space", "contrastive", "retrieval", "encoders", "clip", "mmd", "dann", "combined", "scale", "bridge"]
ROOMS = ["data", "course", "experiments", "online"]  # whole rooms, but for what lies in folders below them:
# xlib.course.checks has one line a check, and how to use them stands in the package's own docstring.
EXPLORE = {
    "__init__": "explore",
    "model": "ExplorerModel",
    "view": "Explorer",
    "panel": "panel",
    "pad": "pad",
}  # the rest is internal
# Modules whose name begins with _ are internal as well.
LEFT_OUT = {  # results and errors: made by a function, whose example shows them
    "space": {"ModalityGap", "CCA"},
    "retrieval": {"Recall"},
    "bridge": {"CosineRange"},
    "mmd": {"PermutationTest"},
    "data.emoji": {"Emoji"},
    "data.numbers": {"CaptionedNumbers"},
    "course.report": {"ClaimFailed"},
    "course.training": {"Run", "TrainingDiverged"},
    "experiments.adapt": {"Batches"},
    "experiments.speech": {"Heard", "ThreeBatches"},
    "experiments.paper": {"Domains"},
    "online.captions": {"Captioned"},
    "online.download": {"Unavailable"},
    "online.pretrained": {"Encoders"},
}


# -- every public name has an example


def public(module: str) -> dict[str, ast.AST]:
    """The public functions and classes that a module of xlib, such as "data.toy", defines, by name."""
    tree = ast.parse(PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8"))
    kinds = ast.FunctionDef, ast.ClassDef
    return {node.name: node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


def complaints(module: str, names: set[str] | None = None) -> list[str]:
    """What the names of a module (default: all but those left out) lack: an example of three to five lines."""
    found = []
    for name, node in public(module).items():
        if name not in names if names else name in LEFT_OUT.get(module, ()):
            continue
        _, heading, example = (ast.get_docstring(node) or "").rpartition("\nExample:\n")
        lines = [line for line in example.splitlines() if line.strip()]
        if not heading or not lines[0].lstrip().startswith(">>>"):
            found.append(f"xlib.{module}.{name} has no >>> after a line 'Example:'")
        elif not 3 <= len(lines) <= 5:
            found.append(f"xlib.{module}.{name} has an example of {len(lines)} lines, not of 3 to 5")
    return found


def modules_of(room: str) -> list[str]:
    return [f"{room}.{path.stem}" for path in sorted((PACKAGE / room).glob("[!_]*.py"))]


@pytest.mark.parametrize("module", METHODS)
def test_every_method_has_an_example(module):
    assert complaints(module) == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_has_an_example(room):
    assert [complaint for module in modules_of(room) for complaint in complaints(module)] == []


def test_the_explorer_has_examples():
    assert {*EXPLORE.values()} == {*xlib.explore.__all__, "panel", "pad"}
    assert [
        complaint for module, name in EXPLORE.items() for complaint in complaints(f"explore.{module}", {name})
    ] == []


def test_what_is_left_out_is_there_and_is_a_class():
    for module, names in LEFT_OUT.items():
        assert all(isinstance(public(module)[name], ast.ClassDef) for name in names), module


@pytest.mark.parametrize(
    ("docstring", "complaint"),
    [
        ("Words.", "has no >>>"),
        ("Words.\n\n    Example: f(1) is 1\n", "has no >>>"),
        ("Words.\n\n    >>> 1\n    1\n    >>> 2\n    2\n", "has no >>>"),
        ("Words.\n\n    Example:\n        >>> 1\n        1\n", "of 2 lines"),
        ("Words.\n\n    Example:\n" + "        >>> 1\n        1\n" * 3, "of 6 lines"),
    ],
)
def test_a_missing_example_is_named(tmp_path, monkeypatch, docstring, complaint):
    (tmp_path / "mine.py").write_text(f'def f():\n    """{docstring}"""\n\n\ndef _g():\n    pass\n')
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    (found,) = complaints("mine")
    assert found.startswith("xlib.mine.f ")
    assert complaint in found


# -- relations of xlib.space
# Elsewhere, in test_space.py: test_alignment_of_unit_vectors_is_two_minus_twice_the_cosine.


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(seed, *shape):
    return F.normalize(normal(seed, *shape), dim=1)


def white(z):
    """The same rows turned and stretched until their covariance is the identity."""
    z = z - z.mean(dim=0)
    return torch.linalg.svd(z, full_matrices=False)[0] * math.sqrt(len(z) - 1)


def mean_kernel(a, b, sigma, *, same=False):
    """The mean of exp(-|a[i] - b[j]|² / (2 σ²)), without i = j where a is b."""
    kernel = (-(torch.cdist(a, b) ** 2) / (2 * sigma**2)).exp()
    return kernel[~torch.eye(len(a), dtype=torch.bool)].mean() if same else kernel.mean()


def test_cosines_of_unit_vectors_are_a_product_and_the_diagonal_is_torchs():
    a, b = normal(0, 5, 3), normal(1, 5, 3)
    assert_close(cosine_similarity_matrix(a, b).diagonal(), F.cosine_similarity(a, b))
    a, b = unit(0, 5, 3), unit(1, 7, 3)
    assert_close(cosine_similarity_matrix(a, b), a @ b.T)


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity_is_the_term_inside_a_sample_of_mmd(t):
    x, y, sigma = normal(0, 6, 3), normal(1, 5, 3), 1 / math.sqrt(2 * t)
    within = uniformity(x, t=t).exp() + uniformity(y, t=t).exp()
    assert_close(mmd2(x, y, bandwidths=sigma), within - 2 * mean_kernel(x, y, sigma))


def test_the_gap_is_alignment_of_the_centroids_and_at_most_that_of_the_pairs():
    for seed in range(20):
        za, zb = normal(seed, 6, 3), normal(seed + 100, 6, 3)
        squared = modality_gap(za, zb).size ** 2
        assert_close(squared, alignment(za.mean(0, keepdim=True), zb.mean(0, keepdim=True)))
        assert squared <= alignment(za, zb)


def test_the_gap_is_what_a_wide_bandwidth_sees():
    x, y, sigma = normal(0, 6, 3), normal(1, 9, 3) + 1, 1e3
    assert_close(
        sigma**2 * mmd2(x, y, bandwidths=sigma, estimator="biased"), modality_gap(x, y).size ** 2, rtol=1e-4, atol=0
    )


def test_procrustes_is_cca_of_white_data():
    a, b = white(normal(0, 20, 3)), white(normal(0, 20, 3) @ normal(1, 3, 3) + normal(2, 20, 3))
    model = cca(a, b, dim=3, regularisation=0.0)
    assert_close(procrustes(a, b), model.weight_a @ model.weight_b.T)


def test_cca_of_two_columns_is_pearsons_r():
    a, b = normal(0, 9, 1), normal(1, 9, 1)
    r = np.corrcoef(a[:, 0], b[:, 0])[0, 1]
    assert cca(a, b, dim=1, regularisation=0.0).correlations.item() == pytest.approx(abs(r))


# -- of xlib.contrastive
# Elsewhere, in test_contrastive.py: test_a_batch_of_one_has_nothing_to_learn; the floor is info_nce of a regular
# simplex, test_a_regular_simplex_reaches_the_floor, and log n at a scale of 0,
# test_the_floor_takes_tensors_and_extremes.


def test_info_nce_is_cross_entropy_and_both_is_the_mean_of_the_directions():
    za, zb = normal(0, 6, 4), normal(1, 6, 4)
    logits, truth = 3 * za @ zb.T, torch.arange(6)
    there, back = (info_nce(za, zb, logit_scale=3.0, direction=way) for way in ("a_to_b", "b_to_a"))
    assert_close(there, F.cross_entropy(logits, truth))
    assert_close(back, F.cross_entropy(logits.T, truth))
    assert_close(info_nce(za, zb, logit_scale=3.0), (there + back) / 2)


def test_siglip_is_binary_cross_entropy_and_a_softmax_of_two():
    za, zb, bias = normal(0, 5, 4), normal(1, 5, 4), -2.0
    found = siglip(za, zb, logit_scale=3.0, logit_bias=bias)
    logits, yes = 3 * za @ zb.T, torch.eye(5, dtype=torch.float64)
    assert_close(found, 5 * F.binary_cross_entropy_with_logits(logits + bias, yes))
    against = torch.stack([torch.full_like(logits, -bias), logits], dim=2).flatten(0, 1)  # (25, 2)
    assert_close(found, F.cross_entropy(against, yes.flatten().long(), reduction="sum") / 5)


def test_the_gradient_of_a_logit_scale_is_the_scale_times_that_of_a_plain_one():
    za, zb, scale = unit(0, 6, 4), unit(1, 6, 4), LogitScale(init=5.0).double()
    plain = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    info_nce(za, zb, logit_scale=scale()).backward()
    info_nce(za, zb, logit_scale=plain).backward()
    assert_close(scale.log_scale.grad, 5 * plain.grad, rtol=1e-6, atol=0)


# -- of xlib.retrieval, xlib.clip and xlib.encoders
# Elsewhere, in test_clip.py: bootstrap is scipy's, test_interval_agrees_with_scipys_bootstrap; one template,
# test_one_template_gives_the_normalised_encoding; random_affine is torch's, and the identity without amounts,
# test_random_affine_moves_as_affine_grid_does and test_no_amount_changes_nothing_and_any_amount_stays_in_range.


def test_recall_at_1_of_zero_shot_weights_is_accuracy():
    vectors = unit(0, 12, 4)
    weights = zero_shot_weights(lambda texts: vectors[: len(texts)], ["cat", "dog", "cow"], ["{}", "a {}", "the {}"])
    images, labels = unit(1, 20, 4), torch.arange(20) % 3
    accuracy = ((images @ weights.T).argmax(dim=1) == labels).double().mean().item()
    assert 0 < accuracy < 1
    assert retrieval(images, weights, k=[1], targets=labels)[1].value == pytest.approx(accuracy)


def test_cosines_of_edges_and_colours_are_a_quarter_of_their_products():
    f = edges_and_colours(torch.rand(5, 3, 40, 32, generator=torch.Generator().manual_seed(0)))
    assert_close(f @ f.T / 4, cosine_similarity_matrix(f, f))
    blocks = [cosine_similarity_matrix(block, block) for block in f.split([512, 128, 256, 192], dim=1)]
    assert_close(f @ f.T / 4, sum(blocks) / 4)


def test_centring_on_nothing_is_normalising():
    features = normal(0, 2, 5, 3)
    assert_close(Centre(torch.zeros(3))(features), F.normalize(features, dim=-1))


# -- of xlib.mmd
# Elsewhere, in test_mmd.py: the median of pdist, test_median_of_all_pairs_of_different_rows; biased is unbiased and
# the diagonals, test_biased_is_not_negative_and_unbiased_plus_the_diagonals; rff tends to biased,
# test_random_features_approach_the_biased_estimator; a permutation test's values are mmd2,
# test_null_values_are_mmd2_of_the_rows_dealt_out; and the witness,
# test_witness_is_its_definition_and_gives_the_biased_mmd.


def test_mmd_by_label_is_mmd_of_the_parts_with_their_gradient():
    z, labels = normal(0, 11, 3).requires_grad_(), torch.arange(11) * 3 % 11 // 7
    by_label, of_parts = mmd2_by_label(z, labels), mmd2(z[labels == 0], z[labels == 1])
    assert_close(by_label, of_parts)
    assert_close(torch.autograd.grad(by_label, z), torch.autograd.grad(of_parts, z))


def test_coral_is_mmd_of_a_quadratic_kernel():
    x, y, d = normal(0, 7, 3), 2 * normal(1, 7, 3) + 5, 3
    x_off, y_off = x - x.mean(dim=0), y - y.mean(dim=0)

    def mean_k(a, b):
        return (a @ b.T).square().mean()

    squared = mean_k(x_off, x_off) + mean_k(y_off, y_off) - 2 * mean_k(x_off, y_off)
    assert_close(coral(x, y), (7 / 6) ** 2 / (4 * d**2) * squared)


# -- of xlib.dann
# Elsewhere, in test_dann.py: domain_loss is cross_entropy where N = M, test_domain_loss_is_balanced_cross_entropy;
# multilinear_map, test_multilinear_map_is_each_feature_times_each_probability; class_confusion,
# test_class_confusion_of_blind_of_sure_and_of_collapsed_predictions.


def test_reversal_twice_is_the_identity_and_with_0_nothing_passes():
    x = normal(0, 4, 3).requires_grad_()
    for layer, expected in (
        (lambda z: grad_reverse(grad_reverse(z)), 2 * x),
        (lambda z: grad_reverse(z, 0.0), 0 * x),
    ):
        assert torch.equal(layer(x), x)
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x)
        assert_close(gradient, expected)


@pytest.mark.parametrize("progress", [0.0, 0.03, 0.5, 1.0])
def test_the_schedule_is_half_a_tanh(progress):
    assert dann_coeff(progress) == pytest.approx(2 / (1 + math.exp(-10 * progress)) - 1, abs=1e-12)
    assert dann_coeff(progress, gamma=3.0) == pytest.approx(math.tanh(3 * progress / 2))


def test_domain_loss_is_weighted_cross_entropy():
    source, target = normal(0, 3, 2), normal(1, 8, 2)
    rows, labels = torch.cat([source, target]), torch.tensor([0] * 3 + [1] * 8)
    weight = torch.tensor([1 / 3, 1 / 8], dtype=torch.float64)
    assert_close(domain_loss(source, target), F.cross_entropy(rows, labels, weight=weight))


def test_proxy_a_distance_is_the_balanced_accuracy_of_the_probe():
    x, y = normal(0, 40, 3), normal(1, 20, 3) + 1
    probe = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)),
        {"logisticregression__C": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]},
        scoring="balanced_accuracy",
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
    )
    rows, domain = torch.cat([x, y]).numpy(), [0] * 40 + [1] * 20
    guess = cross_val_predict(probe, rows, domain, cv=StratifiedKFold(5, shuffle=True, random_state=0))
    found = proxy_a_distance(x, y)
    assert 0 < found < 2
    assert sklearn.metrics.balanced_accuracy_score(domain, guess) == pytest.approx(1 / 2 + found / 4)


def test_entropy_is_the_cross_entropy_with_itself():
    logits = normal(0, 5, 4)
    assert_close(entropy(logits), F.cross_entropy(logits, logits.softmax(dim=1)))


def test_information_maximisation_is_a_difference_of_entropies():
    logits = normal(0, 5, 4)
    of_mean = entropy(logits.softmax(1).mean(0, keepdim=True).log())
    assert_close(information_maximisation(logits), of_mean - entropy(logits))


def test_density_is_entropy_of_cosines_off_the_diagonal():
    logits = normal(0, 6, 4)
    p = logits.softmax(dim=1)
    others = cosine_similarity_matrix(p, p)[~torch.eye(6, dtype=torch.bool)].view(6, 5)
    assert_close(soft_neighbourhood_density(logits), entropy(others / 0.05))


# -- of xlib.combined
# Elsewhere, in test_combined.py: test_the_terms_are_what_they_are_called.


def test_self_training_on_sure_rows_is_cross_entropy():
    plain, changed = normal(0, 6, 4), normal(1, 6, 4)
    for logits, threshold in ((plain, 1 / 4), (99 * plain, 0.9)):
        expected = F.cross_entropy(changed, plain.argmax(dim=1))
        assert_close(self_training_loss(logits, changed, threshold=threshold), expected)


# -- of xlib.scale
# Elsewhere, values and gradients, in test_scale.py: test_tiled_info_nce_is_info_nce, test_tiled_siglip_is_siglip and
# test_cached_gradients_are_those_of_the_whole_batch; in test_processes.py, of several:
# test_every_process_has_the_loss_of_the_whole_batch, test_gathered_rows_stand_in_the_order_of_the_ranks and
# test_gradients_of_the_vectors_are_those_of_one_process_times_their_number; of one:
# test_alone_the_rows_are_ones_own and test_alone_it_is_info_nce.


# -- of xlib.bridge
# Elsewhere, in test_bridge.py: test_the_range_is_that_of_the_angles, test_the_middle_is_the_mean_of_the_range,
# test_from_the_hub_it_is_the_second_step, test_over_doubles_it_is_a_straight_search and
# test_with_all_anchors_it_is_a_power_of_cosines.


def test_the_tests_elsewhere_are_there():
    named = set(re.findall(r"^#.*", Path(__file__).read_text("utf-8"), re.MULTILINE))
    named = {name for comment in named for name in re.findall(r"\btest_\w+\b(?!\.py)", comment)}
    source = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert len(named) > 15
    assert [name for name in named if f"def {name}(" not in source] == []
