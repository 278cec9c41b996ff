"""Toy data: moons with the shape that they are said to have, and pairs that share a hidden cause."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_moons
from test_digits import SEEDS, seeded

from xlib.data.toy import moons, paired_gaussians

SIZES = st.integers(2, 300)


@given(SIZES, st.floats(-720, 720), st.floats(0, 1), SEEDS)
def test_moons_are_balanced_and_repeat(n, degrees, noise, seed):
    x, y = moons(n, degrees=degrees, noise=noise, generator=seeded(seed))
    assert (x.shape, x.dtype) == ((n, 2), torch.float32)
    assert (y.shape, y.dtype) == ((n,), torch.int64)
    assert y.bincount().tolist() == [n - n // 2, n // 2]
    again, _ = moons(n, degrees=degrees, noise=noise, generator=seeded(seed))
    assert torch.equal(x, again)


@given(SIZES, SEEDS)
def test_without_noise_moons_are_half_circles(n, seed):
    x, y = moons(n, noise=0, generator=seeded(seed))
    upper, lower = x[y == 0], x[y == 1]
    torch.testing.assert_close(upper.norm(dim=1), torch.ones(len(upper)))
    torch.testing.assert_close((lower - torch.tensor([1, 0.5])).norm(dim=1), torch.ones(len(lower)))
    assert (upper[:, 1] >= -1e-6).all()
    assert (lower[:, 1] <= 0.5 + 1e-6).all()


def test_moons_are_those_of_scikit_learn():
    x, y = moons(4000, noise=0, generator=seeded(0))
    theirs, labels = make_moons(4000, shuffle=False)
    for moon in (0, 1):
        distance = torch.cdist(x[y == moon].double(), torch.from_numpy(theirs[labels == moon]))
        assert distance.min(dim=0).values.max() < 0.02  # ours are everywhere on theirs ...
        assert distance.min(dim=1).values.max() < 0.01  # ... and nowhere else


@given(SIZES, st.floats(-720, 720), SEEDS)
def test_degrees_rotate_the_same_points_anticlockwise_about_the_centre(n, degrees, seed):
    before, _ = moons(n, noise=0.2, generator=seeded(seed))
    after, _ = moons(n, noise=0.2, degrees=degrees, generator=seeded(seed))
    centre = 0.5 + 0.25j
    start, end = (x.double().numpy() @ [1, 1j] - centre for x in (before, after))
    np.testing.assert_allclose(end, start * np.exp(1j * np.pi * degrees / 180), atol=1e-5)


def test_the_centre_of_the_moons_stays_where_it_is():
    for degrees in (0, 35, 180):
        x, _ = moons(40_000, degrees=degrees, generator=seeded(0))
        torch.testing.assert_close(x.mean(0), torch.tensor([0.5, 0.25]), atol=0.02, rtol=0)


def test_noise_is_a_standard_deviation_on_each_coordinate():
    clean, _ = moons(20_000, noise=0, generator=seeded(0))
    noisy, _ = moons(20_000, noise=0.3, generator=seeded(0))
    torch.testing.assert_close((noisy - clean).std(0), torch.tensor([0.3, 0.3]), atol=0.01, rtol=0)
    default, _ = moons(20_000, generator=seeded(0))
    torch.testing.assert_close((default - clean).std(0), torch.tensor([0.1, 0.1]), atol=0.003, rtol=0)


DIMS = st.integers(1, 12).flatmap(lambda dim: st.tuples(st.just(dim), st.integers(1, dim)))


@given(st.integers(1, 50), DIMS, st.floats(0, 2), SEEDS)
def test_pairs_have_their_shapes_and_repeat(n, sizes, noise, seed):
    dim, latent = sizes
    a, b = paired_gaussians(n, dim=dim, latent=latent, noise=noise, generator=seeded(seed))
    assert a.shape == b.shape == (n, dim)
    assert a.dtype == b.dtype == torch.float32
    again = paired_gaussians(n, dim=dim, latent=latent, noise=noise, generator=seeded(seed))
    assert torch.equal(a, again[0])
    assert torch.equal(b, again[1])


@given(DIMS, SEEDS, SEEDS)
def test_without_noise_one_modality_tells_the_other_with_one_fixed_map(sizes, seed, other):
    dim, latent = sizes
    options = {"dim": dim, "latent": latent, "noise": 0.0}
    a, b = (x.double() for x in paired_gaussians(60, **options, generator=seeded(seed)))
    singular = torch.linalg.svdvals(a)
    assert int((singular > 1e-5 * singular[0]).sum()) <= latent
    a_to_b = torch.linalg.lstsq(a, b, rcond=1e-5, driver="gelsd").solution
    held_out, answer = (x.double() for x in paired_gaussians(30, **options, generator=seeded(other)))
    torch.testing.assert_close(held_out @ a_to_b, answer, atol=2e-2, rtol=0)


def test_pairs_have_the_variance_and_the_latent_dimensions_they_should():
    for noise in (0.0, 0.5):
        a, b = paired_gaussians(20_000, dim=6, latent=3, noise=noise, generator=seeded(0))
        for x in (a, b):
            torch.testing.assert_close(x.var(0), torch.full((6,), 1 + noise**2), atol=0.06, rtol=0)
            strong = torch.linalg.eigvalsh(x.T.cov()) > noise**2 + 0.1
            assert strong.sum() == 3
        assert (a - b).abs().mean() > 0.5  # two maps, not one
    residual_a, residual_b = (
        noisy - clean
        for noisy, clean in zip(
            (a, b), paired_gaussians(20_000, dim=6, latent=3, noise=0.0, generator=seeded(0)), strict=True
        )
    )
    assert torch.corrcoef(torch.cat((residual_a, residual_b), 1).T).triu(1).abs().max() < 0.04  # noise of their own


def test_a_generator_moves_on():
    generator = seeded(0)
    assert not torch.equal(moons(9, generator=generator)[0], moons(9, generator=generator)[0])
    options = {"dim": 3, "latent": 2, "noise": 0.1, "generator": generator}
    assert not torch.equal(paired_gaussians(9, **options)[0], paired_gaussians(9, **options)[0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": 1}, ValueError, "n must be a whole number of at least 2, got 1"),
        ({"n": 9.0}, ValueError, "n must be a whole number of at least 2, got 9.0"),
        ({"degrees": float("nan")}, ValueError, "degrees must be finite, got nan"),
        ({"noise": -0.1}, ValueError, "noise must be finite and at least 0, got -0.1"),
        ({"noise": float("inf")}, ValueError, "noise must be finite and at least 0, got inf"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator, got int"),
    ],
)
def test_bad_arguments_of_moons_are_named(change, error, message):
    arguments = {"n": 9, "generator": seeded(0)} | change
    with pytest.raises(error, match=message):
        moons(arguments.pop("n"), **arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": 0}, ValueError, "n must be a whole number of at least 1, got 0"),
        ({"latent": 0}, ValueError, "latent must be from 1 to dim, got latent 0 and dim 4"),
        ({"latent": 5}, ValueError, "latent must be from 1 to dim, got latent 5 and dim 4"),
        ({"dim": 0}, ValueError, "latent must be from 1 to dim, got latent 2 and dim 0"),
        ({"noise": -1.0}, ValueError, "noise must be finite and at least 0, got -1.0"),
        ({"generator": None}, TypeError, "generator must be a torch.Generator, got NoneType"),
    ],
)
def test_bad_arguments_of_paired_gaussians_are_named(change, error, message):
    arguments = {"n": 9, "dim": 4, "latent": 2, "noise": 0.1, "generator": seeded(0)} | change
    with pytest.raises(error, match=message):
        paired_gaussians(arguments.pop("n"), **arguments)
