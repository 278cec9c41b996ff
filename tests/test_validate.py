"""The shared argument checks: what they let through, and what their messages name."""

import re

import numpy as np
import pytest
import torch

from xlib import _validate

Z = torch.ones(3, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_embeddings_of_every_floating_type_pass(dtype):
    _validate.embeddings("z", Z.to(dtype), like=Z.to(dtype), like_name="other")


@pytest.mark.parametrize(("same", "shape"), [("rows", (3, 5)), ("width", (7, 2)), ("shape", (3, 2))])
def test_only_what_must_agree_must_agree(same, shape):
    _validate.embeddings("z", torch.ones(shape), like=Z, like_name="other", same=same)
    for wrong in {(3, 5), (7, 2), (7, 5)} - {shape}:
        with pytest.raises(ValueError, match=f"z must have other's {same}, got {re.escape(str(wrong))}"):
            _validate.embeddings("z", torch.ones(wrong), like=Z, like_name="other", same=same)


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        (np.ones((3, 2)), TypeError, "ndarray"),
        (None, TypeError, "NoneType"),
        (torch.ones(3, 2, dtype=torch.long), TypeError, "int64"),
        (torch.ones(3, 2, dtype=torch.complex64), TypeError, "complex64"),
        (torch.ones(3), ValueError, r"shape \(3,\)"),
        (torch.ones(1, 3, 2), ValueError, r"shape \(1, 3, 2\)"),
        (torch.ones(0, 2), ValueError, r"non-empty.*shape \(0, 2\)"),
        (torch.ones(3, 0), ValueError, r"non-empty.*shape \(3, 0\)"),
        (torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]), ValueError, "finite.*row 1"),
        (torch.tensor([[0.0, torch.inf], [1.0, 0.0]]), ValueError, "finite.*row 0"),
        (torch.tensor([[0.0], [torch.nan], [2.0], [torch.inf]]), ValueError, "finite.*first in row 1"),
        (torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -torch.inf]]), ValueError, "finite.*row 2"),
    ],
)
def test_bad_embeddings_are_named(bad, error, says):
    with pytest.raises(error, match=f"(?s)^z must.*{says}"):
        _validate.embeddings("z", bad)


def test_dtypes_and_devices_must_agree():
    with pytest.raises(TypeError, match=r"^z must have other's dtype torch.float32, got torch.float64"):
        _validate.embeddings("z", Z.double(), like=Z, like_name="other")
    with pytest.raises(ValueError, match=r"^z must be on other's device meta, got cpu"):
        _validate.embeddings("z", Z, like=Z.to("meta"), like_name="other")


def test_choice():
    _validate.choice("how", "up", ("up", "down"))
    with pytest.raises(ValueError, match=r"^how must be one of 'up', 'down', got 'sideways'"):
        _validate.choice("how", "sideways", ("up", "down"))


@pytest.mark.parametrize(
    "value",
    [2, 2.0, np.float32(2), np.int64(2), torch.tensor(2), torch.tensor([2.0]), torch.tensor([[2.0]]).half()],
)
def test_numbers_come_back_as_floats(value):
    for check in (_validate.number, _validate.positive):
        found = check("x", value)
        assert type(found) is float
        assert found == 2.0


def test_a_tensor_with_gradient_is_read_without_a_warning(recwarn):
    assert _validate.positive("x", torch.tensor(2.0, requires_grad=True)) == 2.0
    assert not recwarn.list


@pytest.mark.parametrize("check", [_validate.number, _validate.positive])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("2", TypeError),
        (None, TypeError),
        ([2.0], TypeError),
        (2j, TypeError),
        (torch.tensor(2j), ValueError),
        (torch.ones(2), ValueError),
        (torch.ones(0), ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (torch.tensor(-torch.inf), ValueError),
    ],
)
def test_what_is_not_a_number_is_named(check, bad, error):
    with pytest.raises(error, match=r"^x must"):
        check("x", bad)


def test_positive_means_above_zero():
    assert _validate.number("x", -1) == -1.0
    for bad in (0, -1e-9, torch.tensor(-3.0)):
        with pytest.raises(ValueError, match=r"^x must be above 0, got"):
            _validate.positive("x", bad)


def test_whole():
    for good in (1, 3, np.int64(2)):
        _validate.whole("n", good, least=1, most=3)
    _validate.whole("n", 10**9, least=1)
    for bad in (2.0, "2", True, None, torch.tensor(2)):
        with pytest.raises(TypeError, match=r"^n must be a whole number"):
            _validate.whole("n", bad, least=1)
    with pytest.raises(ValueError, match=r"^n must be at least 1, got 0"):
        _validate.whole("n", 0, least=1)
    for bad in (0, 4):
        with pytest.raises(ValueError, match=f"^n must be from 1 to 3, got {bad}"):
            _validate.whole("n", bad, least=1, most=3)
