"""The measures of a space and its closed-form baselines, against loops over floats, numpy, scipy and scikit-learn."""

import dataclasses
import inspect
import math

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA as IterativeCCA
from torch.testing import assert_close

from xlib.space import alignment, cca, cosine_similarity_matrix, modality_gap, procrustes, uniformity

few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31)
sizes = st.integers(1, 7)
dtypes = st.sampled_from([torch.float32, torch.float64])


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def unit(seed, *shape):
    return F.normalize(normal(seed, *shape), dim=1)


def rotation(seed, d):
    return torch.linalg.qr(normal(seed, d, d))[0]


def shuffled(seed, n):
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def transposed(z):
    """The same numbers, laid out column by column."""
    return z.T.contiguous().T


def strided(z):
    """The same numbers, every second row and column of something bigger."""
    wide = torch.full((2 * z.shape[0], 2 * z.shape[1]), torch.nan, dtype=z.dtype)
    wide[::2, ::2] = z
    return wide[::2, ::2]


layouts = st.sampled_from([torch.clone, transposed, strided])


def near(dtype):
    return {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}


def distance(x, y):
    return math.sqrt(math.fsum((p - q) ** 2 for p, q in zip(x, y, strict=True)))


# -- cosine similarity


@few
@given(seeds, sizes, sizes, st.integers(1, 5), dtypes, layouts)
def test_cosines_are_their_definition(seed, n, m, d, dtype, layout):
    a, b = layout(normal(seed, n, d, dtype=dtype)), layout(normal(seed + 1, m, d, dtype=dtype))
    expected = [
        [math.fsum(p * q for p, q in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y)) for y in b.tolist()]
        for x in a.tolist()
    ]
    assert_close(cosine_similarity_matrix(a, b), torch.tensor(expected, dtype=dtype), **near(dtype))


@few
@given(seeds, st.floats(-30, 30), st.floats(-30, 30))
def test_cosines_do_not_depend_on_lengths(seed, one, other):
    """Also where the squares of float32 would overflow or vanish."""
    a, b = normal(seed, 4, 3, dtype=torch.float32), normal(seed + 1, 5, 3, dtype=torch.float32)
    lengths = torch.logspace(one, other, 4)[:, None]
    assert_close(cosine_similarity_matrix(a * lengths, b), cosine_similarity_matrix(a, b), **near(torch.float32))
    assert_close(cosine_similarity_matrix(b, a * lengths), cosine_similarity_matrix(b, a), **near(torch.float32))


@few
@given(seeds, sizes)
def test_cosine_symmetries(seed, n):
    a, b, turn = normal(seed, n, 4), normal(seed + 1, 6, 4), rotation(seed, 4)
    cosines = cosine_similarity_matrix(a, b)
    assert_close(cosine_similarity_matrix(b, a), cosines.T)
    assert_close(cosine_similarity_matrix(a @ turn, b @ turn), cosines)
    assert_close(cosine_similarity_matrix(a, -b), -cosines)
    assert_close(cosine_similarity_matrix(a, a).diagonal(), torch.ones(n, dtype=torch.float64))


def test_cosine_gradcheck():
    leaves = normal(0, 3, 4).requires_grad_(), normal(1, 2, 4).requires_grad_()
    assert torch.autograd.gradcheck(cosine_similarity_matrix, leaves)


def test_a_row_of_zeros_has_no_direction():
    good, dead = torch.ones(3, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"^a must have no rows of zeros.*row 2"):
        cosine_similarity_matrix(dead, good)
    with pytest.raises(ValueError, match=r"^b must have no rows of zeros.*row 2"):
        cosine_similarity_matrix(good, dead)


# -- alignment


@few
@given(seeds, sizes, st.integers(1, 5), st.floats(0.3, 4), dtypes, layouts)
def test_alignment_is_its_definition(seed, n, d, alpha, dtype, layout):
    za, zb = layout(normal(seed, n, d, dtype=dtype)), layout(normal(seed + 1, n, d, dtype=dtype))
    powers = [distance(x, y) ** alpha for x, y in zip(za.tolist(), zb.tolist(), strict=True)]
    expected = torch.tensor(math.fsum(powers) / n, dtype=dtype)
    assert_close(alignment(za, zb, alpha=alpha), expected, **near(dtype))


@few
@given(seeds, sizes)
def test_alignment_of_unit_vectors_is_two_minus_twice_the_cosine(seed, n):
    za, zb = unit(seed, n, 4), unit(seed + 1, n, 4)
    expected = 2 - 2 * cosine_similarity_matrix(za, zb).diagonal().mean()
    assert_close(alignment(za, zb), expected)
    assert_close(alignment(zb, za), expected)
    assert_close(alignment(za + 5, zb + 5), expected)
    turn, order = rotation(seed, 4), shuffled(seed, n)
    assert_close(alignment(za[order] @ turn, zb[order] @ turn), expected)


@pytest.mark.parametrize("alpha", [1, 2, 3.5])
def test_alignment_gradcheck(alpha):
    leaves = normal(0, 4, 3).requires_grad_(), normal(1, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda za, zb: alignment(za, zb, alpha=alpha), leaves)


@pytest.mark.parametrize("alpha", [1, 2])
def test_coinciding_pairs_are_perfectly_aligned_and_stay_where_they_are(alpha):
    z = normal(0, 4, 3).requires_grad_()
    loss = alignment(z, z.detach().clone(), alpha=alpha)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(z.grad, torch.zeros_like(z))


# -- uniformity


@few
@given(seeds, st.integers(2, 7), st.integers(1, 5), st.floats(0.1, 5), dtypes, layouts)
def test_uniformity_is_its_definition(seed, n, d, t, dtype, layout):
    z = layout(normal(seed, n, d, dtype=dtype))
    rows = z.tolist()
    terms = [-t * distance(rows[i], rows[j]) ** 2 for i in range(n) for j in range(i)]
    top = max(terms)
    expected = top + math.log(math.fsum(math.exp(x - top) for x in terms) / len(terms))
    assert_close(uniformity(z, t=t), torch.tensor(expected, dtype=dtype), **near(dtype))


@few
@given(seeds, st.integers(2, 7))
def test_uniformity_symmetries(seed, n):
    z = unit(seed, n, 4)
    expected = uniformity(z)
    assert_close(uniformity(z, t=2), expected)
    assert_close(uniformity(z[shuffled(seed, n)] @ rotation(seed, 4) + 3), expected)
    assert -8 <= expected.item() <= 0


def test_uniformity_of_known_spaces():
    point = unit(0, 1, 4)
    assert uniformity(point.expand(5, 4)).item() == pytest.approx(0.0, abs=1e-12)
    assert uniformity(torch.cat([point, -point]), t=3).item() == pytest.approx(-12.0)
    corners = torch.eye(6, dtype=torch.float64)  # all 15 squared distances are 2
    assert uniformity(corners, t=1.5).item() == pytest.approx(-3.0)
    assert uniformity(unit(1, 500, 200)).item() == pytest.approx(-4.0, abs=0.1)  # the docstring's -2t


def test_uniformity_does_not_underflow():
    z = torch.tensor([[0.0, 0.0], [100.0, 0.0]], requires_grad=True)
    loss = uniformity(z)
    loss.backward()
    assert loss.item() == pytest.approx(-20_000.0)
    assert_close(z.grad, torch.tensor([[400.0, 0.0], [-400.0, 0.0]]))


def test_uniformity_gradcheck():
    assert torch.autograd.gradcheck(lambda z: uniformity(z, t=1.5), [normal(0, 4, 3).requires_grad_()])
    same = torch.ones(3, 2, requires_grad=True)
    uniformity(same).backward()
    assert torch.equal(same.grad, torch.zeros(3, 2))


# -- the modality gap


@few
@given(seeds, sizes, sizes, st.integers(1, 5), dtypes, layouts)
def test_the_gap_is_its_definition(seed, n, m, d, dtype, layout):
    za, zb = layout(normal(seed, n, d, dtype=dtype)), layout(normal(seed + 1, m, d, dtype=dtype))
    expected = [math.fsum(x) / n - math.fsum(y) / m for x, y in zip(za.T.tolist(), zb.T.tolist(), strict=True)]
    gap = modality_gap(za, zb)
    assert_close(gap.vector, torch.tensor(expected, dtype=dtype), **near(dtype))
    assert_close(gap.size, torch.tensor(math.hypot(*expected), dtype=dtype), **near(dtype))


@few
@given(seeds, sizes)
def test_gap_symmetries(seed, n):
    za, zb, turn, shift = unit(seed, n, 4), unit(seed + 1, 6, 4), rotation(seed, 4), normal(seed + 2, 4)
    gap = modality_gap(za, zb)
    assert_close(modality_gap(zb, za), (-gap.vector, gap.size))
    assert_close(modality_gap(za + shift, zb).vector, gap.vector + shift)
    assert_close(modality_gap(za[shuffled(seed, n)] @ turn, zb @ turn), (gap.vector @ turn, gap.size))
    assert 0 <= gap.size.item() <= 2


def test_the_gap_of_opposite_points_is_two():
    point = unit(0, 1, 3)
    assert modality_gap(point.expand(4, 3), -point).size.item() == pytest.approx(2.0)
    assert torch.autograd.gradcheck(modality_gap, (unit(0, 3, 2).requires_grad_(), unit(1, 4, 2).requires_grad_()))


# -- Procrustes


@few
@given(seeds, st.integers(1, 12), st.integers(1, 6), st.integers(0, 3), dtypes, layouts)
def test_procrustes_fits_as_well_as_scipy(seed, n, d, extra, dtype, layout):
    """Residuals, not matrices: the best rotation is not unique for few rows. Scipy pads a with columns of zeros."""
    a, b = layout(normal(seed, n, d, dtype=dtype)), layout(normal(seed + 1, n, d + extra, dtype=dtype))
    r = procrustes(a, b)
    assert r.shape == (d, d + extra)
    assert_close(r @ r.T, torch.eye(d, dtype=dtype), **near(dtype))
    padded = np.pad(a.double().numpy(), ((0, 0), (0, extra)))
    theirs, _ = scipy.linalg.orthogonal_procrustes(padded, b.double().numpy())
    best = np.linalg.norm(padded @ theirs - b.double().numpy())
    assert torch.linalg.norm(a @ r - b).item() == pytest.approx(best, rel=1e-4, abs=1e-4)
    if n > d + 2 and extra == 0:
        assert_close(r.double(), torch.from_numpy(theirs), rtol=0, atol=1e-9 if dtype == torch.float64 else 1e-2)


@few
@given(seeds, st.integers(2, 6))
def test_procrustes_finds_a_hidden_rotation_and_applies_it_to_new_rows(seed, d):
    turn = rotation(seed, d)
    seen, new = normal(seed + 1, 3 * d, d), normal(seed + 2, 5, d)
    found = procrustes(seen, seen @ turn)
    assert_close(new @ found, new @ turn)
    assert_close(procrustes(seen @ turn, seen), found.T)


@few
@given(seeds, st.integers(2, 6))
def test_no_other_rotation_fits_better(seed, d):
    a, b = normal(seed, 9, d), normal(seed + 1, 9, d)
    best = torch.linalg.norm(a @ procrustes(a, b) - b)
    skew = normal(seed + 2, d, d)
    for size in (0.01, 0.3, 3.0):
        other = procrustes(a, b) @ torch.linalg.matrix_exp(size * (skew - skew.T))
        assert torch.linalg.norm(a @ other - b) >= best - 1e-9


def test_procrustes_reflects_where_that_fits_and_centres_nothing():
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    a = normal(0, 20, 3)
    assert_close(procrustes(a, a @ mirror), mirror)
    shifted = a @ rotation(1, 3) + 10
    assert (procrustes(a, shifted) - rotation(1, 3)).abs().max() > 0.01
    assert_close(procrustes(a - a.mean(0), shifted - shifted.mean(0)), rotation(1, 3))


# -- CCA


def reference_cca(a, b, regularisation):
    """Covariances, inverse square roots from their eigenvectors, and the singular values in between: the textbook."""

    def whiten(x):
        x = x - x.mean(0)
        covariance = x.T @ x / (len(x) - 1)
        values, vectors = np.linalg.eigh(
            covariance + regularisation * np.trace(covariance) / x.shape[1] * np.eye(x.shape[1])
        )
        return x, vectors @ np.diag(values**-0.5) @ vectors.T

    (a, wa), (b, wb) = whiten(a), whiten(b)
    p, correlations, qt = np.linalg.svd(wa @ a.T @ b @ wb / (len(a) - 1))
    return wa @ p, wb @ qt.T, correlations


def planted(seed, n, da, db, *, hidden=3, noise=0.5):
    """Two views of the same hidden variables, shifted off the origin."""
    z = normal(seed, n, hidden)
    mix_a, mix_b = normal(991, hidden, da), normal(992, hidden, db)
    return z @ mix_a + noise * normal(seed + 1, n, da) + 4, z @ mix_b + noise * normal(seed + 2, n, db) - 7


@few
@given(seeds, st.sampled_from([(40, 5, 4, 0.0), (40, 3, 6, 0.1), (12, 20, 30, 0.05), (12, 30, 4, 1.0)]), layouts)
def test_cca_is_the_textbook(seed, case, layout):
    n, da, db, regularisation = case
    a, b = planted(seed, n, da, db)
    dim = min(da, db, n - 1)
    weight_a, weight_b, correlations = reference_cca(a.numpy(), b.numpy(), regularisation)
    model = cca(layout(a), layout(b), dim=dim, regularisation=regularisation)
    assert_close(model.correlations, torch.from_numpy(correlations[:dim]), rtol=1e-7, atol=1e-7)
    assert_close(model.mean_a, a.mean(0))
    assert_close(model.mean_b, b.mean(0))
    ours = model.weight_a @ torch.diag(model.correlations) @ model.weight_b.T  # free of the arbitrary signs
    theirs = weight_a[:, :dim] @ np.diag(correlations[:dim]) @ weight_b[:, :dim].T
    assert_close(ours, torch.from_numpy(theirs), rtol=1e-6, atol=1e-7)
    new_a, new_b = normal(seed + 3, 2, da), normal(seed + 4, 1, db)  # the fitted means count, not those of new rows
    assert_close(model.project_a(layout(new_a)), (new_a - a.mean(0)) @ model.weight_a)
    assert_close(model.project_b(layout(new_b)), (new_b - b.mean(0)) @ model.weight_b)


@few
@given(seeds)
def test_without_regularisation_projections_are_white_and_correlate_as_stated(seed):
    a, b = planted(seed, 50, 5, 4)
    model = cca(a, b, dim=3, regularisation=0.0)
    together = torch.cat([model.project_a(a), model.project_b(b)], dim=1)
    expected = torch.eye(6, dtype=torch.float64)
    expected[:3, 3:] = expected[3:, :3] = torch.diag(model.correlations)
    assert_close(together.T.cov(), expected)
    assert (model.correlations.diff() <= 0).all()
    assert 0 <= model.correlations.min() <= model.correlations.max() <= 1


@few
@given(seeds)
def test_rounding_lifts_no_correlation_above_one(seed):
    a = normal(seed, 20, 5, dtype=torch.float32)
    correlations = cca(a, a, dim=5, regularisation=0.0).correlations
    assert_close(correlations, torch.ones(5))
    assert correlations.max() <= 1


def test_cca_agrees_with_scikit_learn():
    a, b = planted(0, 200, 6, 5)
    theirs = IterativeCCA(n_components=3, max_iter=20_000, tol=1e-12).fit(a.numpy(), b.numpy())
    new_a, new_b = planted(7, 50, 6, 5)
    model = cca(a, b, dim=3, regularisation=0.0)
    for ours, other in zip(
        (model.project_a(new_a), model.project_b(new_b)), theirs.transform(new_a.numpy(), new_b.numpy()), strict=True
    ):
        for i in range(3):
            assert abs(np.corrcoef(ours[:, i], other[:, i])[0, 1]) == pytest.approx(1.0, abs=1e-5)


@few
@given(seeds, st.floats(0.01, 100))
def test_cca_invariances(seed, size):
    a, b = planted(seed, 30, 5, 4)
    order = shuffled(seed, 30)
    for regularisation in (0.0, 0.2):  # the ridge is relative, so lengths do not matter and turns do not either
        expected = cca(a, b, dim=3, regularisation=regularisation).correlations
        for one, other in [
            (b, a),
            (a[order], b[order]),
            (size * a, b),
            (a, b / size),
            (a @ rotation(seed, 5) + 9, b @ rotation(seed, 4)),
        ]:
            assert_close(cca(one, other, dim=3, regularisation=regularisation).correlations, expected)
    mixed = a @ (normal(seed, 5, 5) + 5 * torch.eye(5))
    expected = cca(a, b, dim=3, regularisation=0.0).correlations
    assert_close(cca(mixed, b, dim=3, regularisation=0.0).correlations, expected, rtol=1e-6, atol=1e-6)


def recall(model, a, b):
    nearest = cosine_similarity_matrix(model.project_a(a), model.project_b(b)).argmax(dim=1)
    return (nearest == torch.arange(len(a))).double().mean().item()


def test_wide_data_needs_the_ridge_and_carries_over_to_new_rows():
    a, b = planted(0, 60, 200, 150, hidden=8, noise=2.0)
    new_a, new_b = planted(10, 60, 200, 150, hidden=8, noise=2.0)
    overfitted, sound = (cca(a, b, dim=8, regularisation=strength) for strength in (0.0, 0.1))
    assert_close(overfitted.correlations, torch.ones(8, dtype=torch.float64))  # fewer rows than dimensions
    assert recall(overfitted, a, b) > 0.95
    assert (sound.correlations < 0.9999).all()
    assert (sound.project_a(a).var(dim=0) < 1).all()
    assert recall(sound, new_a, new_b) > 0.9
    assert recall(sound, new_a, new_b) > recall(overfitted, new_a, new_b) + 0.2


def test_the_default_ridge_is_on():
    a, b = planted(0, 20, 40, 30)
    default = inspect.signature(cca).parameters["regularisation"].default
    assert default > 0
    assert_close(cca(a, b, dim=2).correlations, cca(a, b, dim=2, regularisation=default).correlations, rtol=0, atol=0)


def test_directions_without_variance_are_left_out():
    a, b = planted(0, 30, 4, 4)
    expected = cca(a, b, dim=2, regularisation=0.0)
    constant_and_copy = torch.cat([a, a[:, :1], torch.full((30, 1), 0.1, dtype=torch.float64)], dim=1)
    model = cca(constant_and_copy, b, dim=2, regularisation=0.0)
    assert_close(model.correlations, expected.correlations)
    assert torch.isfinite(model.weight_a).all()
    with pytest.raises(ValueError, match=r"^dim must be at most 4,"):
        cca(constant_and_copy, torch.cat([b, b], dim=1), dim=5)
    with pytest.raises(ValueError, match=r"^dim must be at most 0,"):
        cca(torch.ones(30, 4), b.float(), dim=1)


def test_cca_in_float32_is_close_to_float64():
    a, b = planted(0, 80, 30, 20)
    wide, narrow = (cca(a.to(kind), b.to(kind), dim=3) for kind in (torch.float64, torch.float32))
    assert narrow.weight_a.dtype == torch.float32
    assert_close(narrow.correlations.double(), wide.correlations, rtol=1e-4, atol=1e-4)
    both = [
        m.project_a(a.to(m.mean_a.dtype)).double() @ m.project_b(b.to(m.mean_b.dtype)).double().T
        for m in (wide, narrow)
    ]
    assert_close(both[1], both[0], rtol=1e-2, atol=1e-3)


# -- all together


def test_closed_form_maps_are_constants_and_new_rows_keep_their_gradient():
    a, b = (x.requires_grad_() for x in planted(0, 30, 4, 4))
    assert not procrustes(a, b).requires_grad
    model = cca(a, b, dim=2)
    assert not any(value.requires_grad for value in vars(model).values())
    model.project_a(a).sum().backward()
    assert a.grad is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.mean_a = None


def float32_results(a, b):
    model = cca(a, b, dim=2)
    return [
        cosine_similarity_matrix(a, b),
        alignment(a, b),
        uniformity(a),
        *modality_gap(a, b),
        procrustes(a, b),
        model.correlations,
        model.project_a(a),
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_computed_in_float32(dtype):
    a, b = normal(0, 9, 4, dtype=dtype), normal(1, 9, 4, dtype=dtype)
    for found, expected in zip(float32_results(a, b), float32_results(a.float(), b.float()), strict=True):
        assert found.dtype == torch.float32
        assert_close(found, expected, rtol=0, atol=0)


def test_arguments_are_left_as_they_were():
    a, b = normal(0, 9, 4), normal(1, 9, 4)
    before = a.clone(), b.clone()
    float32_results(a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


GOOD = normal(0, 4, 3, dtype=torch.float32)
BAD_EMBEDDINGS = [
    (GOOD.numpy(), TypeError),
    (torch.ones(4, 3, dtype=torch.long), TypeError),
    (torch.ones(3), ValueError),
    (torch.ones(4, 3, 1), ValueError),
    (torch.ones(0, 3), ValueError),
    (torch.ones(4, 0), ValueError),
    (torch.full((4, 3), torch.nan), ValueError),
    (torch.full((4, 3), -torch.inf), ValueError),
]
FITTED = cca(GOOD, GOOD[:, :2], dim=2)
CALLS = {  # every argument that holds embeddings: how to pass one in its place
    "cosine_similarity_matrix a": lambda z: cosine_similarity_matrix(z, GOOD),
    "cosine_similarity_matrix b": lambda z: cosine_similarity_matrix(GOOD, z),
    "alignment za": lambda z: alignment(z, GOOD),
    "alignment zb": lambda z: alignment(GOOD, z),
    "uniformity z": uniformity,
    "modality_gap za": lambda z: modality_gap(z, GOOD),
    "modality_gap zb": lambda z: modality_gap(GOOD, z),
    "procrustes a": lambda z: procrustes(z, GOOD),
    "procrustes b": lambda z: procrustes(GOOD, z),
    "cca a": lambda z: cca(z, GOOD, dim=1),
    "cca b": lambda z: cca(GOOD, z, dim=1),
    "project_a a": FITTED.project_a,
    "project_b b": FITTED.project_b,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("bad", "error"), BAD_EMBEDDINGS)
def test_bad_embeddings_are_named(call, bad, error):
    with pytest.raises(error, match=rf"^{call.split()[1]} must"):
        CALLS[call](bad)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: cosine_similarity_matrix(GOOD, torch.ones(4, 2)), ValueError, "b must have a's width"),
        (lambda: cosine_similarity_matrix(GOOD, GOOD.double()), TypeError, "b must have a's dtype"),
        (lambda: alignment(GOOD, torch.ones(5, 3)), ValueError, "zb must have za's shape"),
        (lambda: alignment(GOOD, torch.ones(4, 2)), ValueError, "zb must have za's shape"),
        (lambda: alignment(GOOD, GOOD.double()), TypeError, "zb must have za's dtype"),
        (lambda: alignment(GOOD, GOOD, alpha=0), ValueError, "alpha must"),
        (lambda: alignment(GOOD, GOOD, alpha=-2), ValueError, "alpha must"),
        (lambda: alignment(GOOD, GOOD, alpha="2"), TypeError, "alpha must"),
        (lambda: uniformity(GOOD[:1]), ValueError, "z must have at least 2 rows, got 1"),
        (lambda: uniformity(GOOD, t=0.0), ValueError, "t must"),
        (lambda: uniformity(GOOD, t=-2.0), ValueError, "t must"),
        (lambda: uniformity(GOOD, t=float("nan")), ValueError, "t must"),
        (lambda: modality_gap(GOOD, torch.ones(4, 2)), ValueError, "zb must have za's width"),
        (lambda: modality_gap(GOOD, GOOD.double()), TypeError, "zb must have za's dtype"),
        (lambda: procrustes(GOOD, torch.ones(5, 3)), ValueError, "b must have a's rows"),
        (lambda: procrustes(GOOD, GOOD.double()), TypeError, "b must have a's dtype"),
        (lambda: procrustes(GOOD, GOOD[:, :2]), ValueError, "a must have at most b's 2 dimensions, got 3"),
        (lambda: cca(GOOD, torch.ones(5, 3), dim=1), ValueError, "b must have a's rows"),
        (lambda: cca(GOOD, GOOD.double(), dim=1), TypeError, "b must have a's dtype"),
        (lambda: cca(GOOD[:1], GOOD[:1], dim=1), ValueError, "a must have at least 2 rows"),
        (lambda: cca(GOOD, GOOD, dim=0), ValueError, "dim must be from 1 to 3, got 0"),
        (lambda: cca(GOOD, GOOD[:, :2], dim=3), ValueError, "dim must be from 1 to 2, got 3"),
        (lambda: cca(GOOD[:2], GOOD[:2], dim=2), ValueError, "dim must be from 1 to 1, got 2"),
        (lambda: cca(GOOD, GOOD, dim=1.0), TypeError, "dim must"),
        (lambda: cca(GOOD, GOOD, dim=1, regularisation=-0.1), ValueError, "regularisation must be 0 or above"),
        (lambda: cca(GOOD, GOOD, dim=1, regularisation=float("nan")), ValueError, "regularisation must"),
        (lambda: cca(GOOD, GOOD, dim=1, regularisation=None), TypeError, "regularisation must"),
        (lambda: FITTED.project_a(GOOD[:, :2]), ValueError, "a must have the 3 dimensions that were fitted, got 2"),
        (lambda: FITTED.project_b(GOOD), ValueError, "b must have the 2 dimensions that were fitted, got 3"),
    ],
)
def test_other_bad_arguments_are_named(call, error, says):
    with pytest.raises(error, match=rf"^{says}"):
        call()
