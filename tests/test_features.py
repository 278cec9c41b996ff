"""The features made by hand, and the centring under both towers of the emoji model."""

import numpy as np
import pytest
import torch

from xlib import encoders


def pictures(n, seed=0, size=64):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_features_are_four_unit_blocks_and_do_not_depend_on_the_batch():
    images = pictures(230)  # more than two of the parts that are computed at a time
    features = encoders.edges_and_colours(images)
    assert features.shape == (230, 1088)
    for block in features.split((512, 128, 256, 192), dim=1):
        torch.testing.assert_close(block.norm(dim=1), torch.ones(230))
    torch.testing.assert_close(features[120:121], encoders.edges_and_colours(images[120:121]))


def test_gradients_agree_with_a_plain_loop():
    image = pictures(1, size=34)  # 32 × 32 gradients, 8 × 8 cells of 4 × 4
    grey = image[0].double().mean(dim=0).numpy()
    cells = np.zeros((8, 8, 8))
    for y in range(1, 33):
        for x in range(1, 33):
            across, down = grey[y, x + 1] - grey[y, x - 1], grey[y + 1, x] - grey[y - 1, x]
            place = np.arctan2(down, across) / np.pi * 8 % 8
            low = int(place) % 8
            part = place - int(place)
            strength = np.hypot(across, down) / 16
            cells[low, (y - 1) // 4, (x - 1) // 4] += strength * (1 - part)
            cells[(low + 1) % 8, (y - 1) // 4, (x - 1) // 4] += strength * part
    expected = np.sqrt(cells).ravel()
    found = encoders.edges_and_colours(image)[0, :512].double().numpy()
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_the_histogram_tells_colours_apart_and_where_they_are():
    red, half = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    red[:, 0] = 1
    half[:, 0, :, :32] = 1
    histogram = [encoders.edges_and_colours(x)[0, 640:896].view(64, 2, 2) for x in (red, half)]
    assert (histogram[0].flatten(1).sum(dim=1) > 0).nonzero().flatten().tolist() == [3 * 16]  # red, and nothing else
    assert histogram[1][48].bool().tolist() == [[True, False], [True, False]]
    assert histogram[1][0].bool().tolist() == [[False, True], [False, True]]


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 1, 64, 64), (2, 3, 31, 64)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ValueError, match="images must have shape"):
        encoders.edges_and_colours(torch.zeros(shape))


def test_centre_takes_off_the_mean_along_the_last_dimension_whatever_stands_before_it():
    features = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)) + 3
    centre = encoders.Centre(features.mean(dim=(0, 1)))
    done = centre(features)
    torch.testing.assert_close(done.norm(dim=-1), torch.ones(2, 5))
    torch.testing.assert_close(done[1], centre(features[1]))
    assert "mean" in centre.state_dict()  # so that a checkpoint holds it
