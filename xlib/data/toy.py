"""Two sets of points small enough to think about: rotated moons, and two views of one hidden cause."""

import math

import torch

MOONS_CENTRE = (0.5, 0.25)


def moons(
    n: int, *, degrees: float = 0.0, noise: float = 0.1, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two interleaving half circles, rotated anticlockwise by `degrees` about their common centre (.5, .25).

    The usual toy for domain adaptation (Ganin et al., JMLR 17, 2016, section 5.1.1): the source as it is, the
    target rotated. The same state of the generator gives the same points, whatever the rotation.
    noise: standard deviation of the Gaussian noise on each coordinate; the circles have radius 1.
    Returns x, (n, 2) float32, and y, (n,) int64, 0 for the upper moon and 1 for the lower: half of each (one more
    0 where n is odd), taking turns. On the generator's device.
    Raises TypeError or ValueError for n below 2, degrees or noise not finite, or noise below 0.

    Example:
        >>> x, y = moons(4, noise=0.0, generator=torch.Generator().manual_seed(0))
        >>> y.tolist(), x[y == 0].norm(dim=1)  # the upper one is half of the unit circle
        ([0, 1, 0, 1], tensor([1., 1.]))
    """
    _check(n, least=2, noise=noise, generator=generator)
    if not math.isfinite(degrees):
        raise ValueError(f"degrees must be finite, got {degrees}")
    device = generator.device
    y = torch.arange(n, device=device) % 2
    angle = math.pi * torch.rand(n, generator=generator, device=device)
    upper = torch.stack((angle.cos(), angle.sin()), dim=1)
    centre = torch.tensor(MOONS_CENTRE, device=device)
    x = torch.where(y[:, None] == 0, upper, 2 * centre - upper)  # the lower moon mirrors the upper at the centre
    x = x + noise * torch.randn(n, 2, generator=generator, device=device)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (x - centre) @ torch.tensor([[cos, sin], [-sin, cos]], device=device) + centre, y


def paired_gaussians(
    n: int, *, dim: int, latent: int, noise: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two "modalities" of one hidden cause: a = z A + noise · e and b = z B + noise · e', where z, e and e' are
    standard normal (probabilistic CCA: Bach & Jordan, technical report 688, UC Berkeley, 2005).

    The maps A and B, (latent, dim) with columns of length 1, are fixed for given dim and latent, so that pairs from
    two generators can be training and held-out pairs. Without noise every coordinate has variance 1.
    Returns a and b, (n, dim) float32 each; row i of both comes from the same z. On the generator's device.
    Raises TypeError or ValueError for n, dim or latent below 1, latent above dim, or a bad noise.

    Example:
        >>> a, b = paired_gaussians(5, dim=3, latent=1, noise=0.0, generator=torch.Generator().manual_seed(0))
        >>> torch.linalg.matrix_rank(torch.cat([a, b], dim=1))  # one cause behind all six columns
        tensor(1)
    """
    _check(n, least=1, noise=noise, generator=generator)
    if not 1 <= latent <= dim:
        raise ValueError(f"latent must be from 1 to dim, got latent {latent} and dim {dim}")
    device = generator.device
    maps = torch.randn(2, latent, dim, generator=torch.Generator().manual_seed(0))  # fixed, not hidden: see above
    maps = (maps / maps.norm(dim=1, keepdim=True)).to(device)
    z = torch.randn(n, latent, generator=generator, device=device)
    a, b = z @ maps + noise * torch.randn(2, n, dim, generator=generator, device=device)
    return a, b


def _check(n: int, *, least: int, noise: float, generator: torch.Generator) -> None:
    if not isinstance(n, int) or n < least:
        raise ValueError(f"n must be a whole number of at least {least}, got {n!r}")
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise must be finite and at least 0, got {noise}")
    if noise > 1e30:  # coordinates are float32
        raise ValueError(f"noise must be at most 1e30, got {noise}")
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {type(generator).__name__}")
