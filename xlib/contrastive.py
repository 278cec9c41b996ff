"""Contrastive losses: pull each pair together, push everything else in the batch apart.

Row i of `za` and row i of `zb` belong together (an image and its caption); every other row of `zb` is a *negative*
for row i of `za`, and the other way round. All of it rests on one (N, N) table of logits,

    logits[i, j] = logit_scale * <za[i], zb[j]>,

whose diagonal holds the N true pairs. InfoNCE reads each row (and each column) as a classification with N
classes; SigLIP reads each *entry* as a yes-or-no question.

Three things hold throughout. Nothing is normalised behind your back: for cosines, pass `F.normalize(z, dim=1)`.
`logit_scale` is the scale itself, 1 / temperature, and not its logarithm. And the table is computed in float32
when the embeddings have 16 bits, under autocast too: at a scale of 100, bfloat16 rounds logits near 100 to
multiples of one half, and a loss made of their differences is noise.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from xlib import _sizes, _validate


def info_nce(
    za: torch.Tensor,
    zb: torch.Tensor,
    *,
    logit_scale: float | torch.Tensor,
    direction: str = "both",
    reduction: str = "mean",
) -> torch.Tensor:
    """Which of the N rows of `zb` belongs to row i of `za`? The cross-entropy of that guess, and of its mirror image.

        a_to_b:  L[i] = -log( exp(logits[i, i]) / sum_j exp(logits[i, j]) )
        b_to_a:  L[i] = -log( exp(logits[i, i]) / sum_j exp(logits[j, i]) )
        both:    the mean of the two

    One direction alone leaves the other unconstrained: adding any constant to a row of logits does not change
    `a_to_b`, and can ruin `b_to_a`. Two rows with the same caption count as each other's negatives; draw batches
    without duplicates.

    Args:
        za, zb: (N, d), floating, same dtype and device; used as they come.
        logit_scale: above 0; a number or a one-element tensor, which then receives its gradient.
        direction: "both", "a_to_b" or "b_to_a".
        reduction: "mean" over the batch, or "none" for the N losses.
    Returns: a scalar, or (N,); float64 for float64 embeddings, else float32. Guessing blindly costs log N.
    Raises: TypeError or ValueError that names the argument.
    Relations: "a_to_b" is `F.cross_entropy(logits, arange(N))`; 0 for N = 1; `info_nce_floor` for a regular simplex.
    Source: van den Oord et al. 2018 (arXiv 1807.03748), eq. 4; both ways, Radford et al. 2021 (2103.00020), fig. 3.

    Example:
        >>> za, zb = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # two images, and one text twice
        >>> [info_nce(za, zb, logit_scale=10.0, direction=d).item() for d in ("a_to_b", "b_to_a", "both")]
        [0.693, 5.000, 2.847]
    """
    _validate.choice("direction", direction, ("both", "a_to_b", "b_to_a"))
    _validate.choice("reduction", reduction, ("mean", "none"))
    logits = _logits(za, zb, logit_scale)  # (N, N)
    # log_softmax takes a row's maximum out before exp, so that no logit is too large for it
    losses = []
    if direction != "b_to_a":
        losses.append(-logits.log_softmax(dim=1).diagonal())  # (N,)
    if direction != "a_to_b":
        losses.append(-logits.log_softmax(dim=0).diagonal())  # (N,)
    loss = sum(losses) / len(losses)
    return _sizes.held(loss.mean() if reduction == "mean" else loss, za=za, zb=zb, logit_scale=logit_scale)


def siglip(
    za: torch.Tensor,
    zb: torch.Tensor,
    *,
    logit_scale: float | torch.Tensor,
    logit_bias: float | torch.Tensor,
) -> torch.Tensor:
    """Do rows i and j belong together, yes or no? One logistic loss for each of the N² combinations.

        L = -1/N * sum_ij log sigmoid( y[i, j] * (logits[i, j] + logit_bias) ),   y = +1 on the diagonal, else -1

    No softmax ties a row together, so batches can be cut into blocks freely. The sum over N² is divided by N, not N²:
    of N² answers only N are yes. That imbalance is also why the bias starts at about -10 ("most are no").

    Args: za, zb (N, d) and logit_scale as in `info_nce`; logit_bias, any finite number or one-element tensor, which
    then receives its gradient.
    Returns: a scalar in float32, or float64 like the embeddings. Raises TypeError or ValueError naming the argument.
    Relations: N times the mean `F.binary_cross_entropy_with_logits(logits + logit_bias, eye(N))`. Each entry is the
        two-class softmax of `info_nce`, of its logit against a fixed -logit_bias in place of the other rows.
    Source: Zhai et al. 2023 (arXiv 2303.15343), eq. 1 and algorithm 1; there logit_scale starts at 10.

    Example:
        >>> z = torch.eye(4)
        >>> [siglip(z, z, logit_scale=10.0, logit_bias=bias).item() for bias in (0.0, -5.0, -10.0)]
        [2.079, 0.027, 0.693]
    """
    _validate.number("logit_bias", logit_bias)
    logits = _logits(za, zb, logit_scale) + _scalar(logit_bias)  # (N, N)
    signs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    loss = -F.logsigmoid(signs * logits).sum() / len(logits)
    return _sizes.held(loss, za=za, zb=zb, logit_scale=logit_scale, logit_bias=logit_bias)


class LogitScale(nn.Module):
    """A learned logit scale that stays positive: the parameter is its logarithm, and calling it gives the scale.

    Give `scale()` to the loss, and call `clamp_()` after every step of the optimiser, never before the loss:
    `min(scale, 100)` *inside* the loss has gradient zero above the cap, so a scale that once got there could never
    come back. Keep the parameter out of weight decay, which would pull the scale towards 1.

    Args: init, the scale to start from, 1 to maximum (1 / 0.07 is CLIP's); maximum, the largest scale, 1 to 1e38
    (CLIP found 100 necessary for stable training).
    Relations: the parameter's gradient is the scale times the gradient that a plain logit_scale tensor gets.
    Source: Radford et al. 2021 (arXiv 2103.00020), section 2.5.

    Example:
        >>> scale = LogitScale(init=50.0)
        >>> scale.log_scale.data += 1.0  # a step that went too far: the scale is multiplied by e
        >>> scale().item(), scale.clamp_(), scale().item()
        (135.9, None, 100.0)
    """

    def __init__(self, init: float = 1 / 0.07, maximum: float = 100.0):
        super().__init__()
        if not 1 <= _validate.number("maximum", maximum) <= 1e38:
            raise ValueError(f"maximum must be at least 1, and a number that float32 holds, got {maximum}")
        if not 1 <= _validate.number("init", init) <= maximum:
            raise ValueError(f"init must be from 1 to maximum ({maximum}), got {init}")
        self.maximum = float(maximum)
        self.log_scale = nn.Parameter(torch.tensor(math.log(init)))

    def forward(self) -> torch.Tensor:
        """The scale, a scalar tensor with a gradient."""
        return self.log_scale.exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the stored logarithm back into [0, ln maximum], in place."""
        self.log_scale.clamp_(0.0, math.log(self.maximum))

    def extra_repr(self) -> str:
        return f"scale={self.log_scale.exp().item():.4g}, maximum={self.maximum:g}"


def info_nce_floor(n: int, logit_scale: float | torch.Tensor) -> float:
    """The lowest InfoNCE loss (nats) that n pairs of *unit* vectors can reach at a fixed scale s:

        L >= log( 1 + (n - 1) * exp(-s * n / (n - 1)) )

    Cosines end at 1 and -1, so no softmax over them is ever certain; and n vectors cannot all be opposite to each
    other. Best is a regular simplex: each pair in one corner, all other cosines -1 / (n - 1), which takes n - 1
    dimensions or more. (The gaps between diagonal and off-diagonal cosines average n / (n - 1) at most, by
    Cauchy-Schwarz on the centred vectors; log-sum-exp is convex, so equal gaps are best.)

    Args: n, the number of pairs in the batch, 1 (floor 0) to 2^53; logit_scale above 0.
    Raises: TypeError or ValueError that names the argument.
    Relations: `info_nce` of a regular simplex; log n, a blind guess, as the scale goes to 0.

    Example:
        >>> best, blind = info_nce_floor(256, 1.0), math.log(256)
        >>> best, blind  # a loss "stuck" at 4.6 may already rank well
        (4.548, 5.545)
    """
    _validate.whole("n", n, least=1, most=2**53)
    scale = _validate.positive("logit_scale", logit_scale)
    return 0.0 if n == 1 else math.log1p((n - 1) * math.exp(-scale * n / (n - 1)))


def _logits(za: torch.Tensor, zb: torch.Tensor, logit_scale: float | torch.Tensor) -> torch.Tensor:
    """The (N, N) table logit_scale * za @ zb.T, after checking all three; in float32 at least."""
    _validate.embeddings("za", za)
    _validate.embeddings("zb", zb, like=za, like_name="za")
    _validate.positive("logit_scale", logit_scale)
    with torch.autocast(za.device.type, enabled=False):
        wide = torch.promote_types(za.dtype, torch.float32)
        # scaling za costs N·d products, and scaling the table would cost, and keep for backward, N·N
        return (_scalar(logit_scale) * za.to(wide)) @ zb.to(wide).T  # (N, N)


def _scalar(value: float | torch.Tensor) -> float | torch.Tensor:
    """A one-element tensor as a 0-dimensional one, which never changes its partner's shape or dtype; else a float."""
    return value.reshape(()) if isinstance(value, torch.Tensor) else float(value)
