"""The same matrix, laid out differently in memory: what property tests draw from."""

import torch
from hypothesis import strategies as st


def transposed(z):
    """The same numbers, laid out column by column."""
    return z.T.contiguous().T


def strided(z):
    """The same numbers, every second row and column of something bigger."""
    wide = torch.full((2 * z.shape[0], 2 * z.shape[1]), torch.nan, dtype=z.dtype)
    wide[::2, ::2] = z.detach()
    return wide[::2, ::2]


layouts = st.sampled_from([torch.clone, transposed, strided])
