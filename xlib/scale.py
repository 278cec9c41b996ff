"""Bigger batches than memory holds: losses in tiles, gradients in chunks, rows in several processes.

The table of N² logits is what fills memory first, and the activations of the encoders come second. Neither is needed
whole. `info_nce_tiled` and `siglip_tiled` look at the table a square at a time; `cached_backward` runs the encoders a
chunk at a time; `info_nce_distributed` gives each process a part of the rows. All are exact: the loss and its
gradients are those of `xlib.contrastive` on the whole batch, up to rounding.
"""

import contextlib
import math
import threading
from collections.abc import Callable

import psutil
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from xlib import _sizes, _validate
from xlib.contrastive import info_nce, siglip

Scalar = float | Tensor


def info_nce_tiled(za: Tensor, zb: Tensor, *, logit_scale: Scalar, tile: int = 1024) -> Tensor:
    """`contrastive.info_nce` (both directions, mean over the batch) in O(N d + tile²) memory instead of O(N²).

    A softmax needs the sum of its exponentials, which can be made piece by piece. Usually each row and column then
    needs its own running maximum, so that no exponential overflows. Here one number serves all: no logit is above the
    largest |za[i]| times the largest |zb[j]| times the scale (Cauchy-Schwarz). Less that bound, all exponentials fit,
    and each gives to the sum of its row *and* of its column. Where a row would vanish so far below, all are summed
    again with maxima of their own, twice as many exponentials. On a GPU and under `torch.compile`, where a look would
    mean waiting, that is done at once. The backward pass makes each tile once more: 8 N² d operations in all, where
    keeping the table takes 6 N² d.

    Args: za, zb (N, d) and logit_scale as in `info_nce`; tile, rows and columns of the table that are in memory at a
        time, at least 1 (N need not be a multiple of it).
    Returns: a scalar, differentiable once; float64 for float64 embeddings, else float32, under autocast too.
    Raises: TypeError or ValueError that names the argument.
    Relations: `info_nce(za, zb, logit_scale=logit_scale)` for any tile, value and gradients, up to rounding.
    Source: tiles in place of a table, Cheng et al. 2024 (arXiv 2410.17243); recomputation, Dao et al. 2022
    (arXiv 2205.14135). The shared bound is ours.

    Example:
        >>> z = torch.eye(5)
        >>> [info_nce_tiled(z, z, logit_scale=3.0, tile=tile).item() for tile in (1, 2, 1024)]  # log(1 + 4 e^-3)
        [0.1816, 0.1816, 0.1816]
    """
    a, b = _scaled(za, zb, logit_scale, tile)
    if _validate.traced(a) or _validate.traced(b):  # torch.func cannot write into one memory again and again
        return info_nce(za, zb, logit_scale=logit_scale)
    with torch.autocast(za.device.type, enabled=False):
        return _sizes.held(_InfoNCE.apply(a, b, tile), za=za, zb=zb, logit_scale=logit_scale)


def siglip_tiled(za: Tensor, zb: Tensor, *, logit_scale: Scalar, logit_bias: Scalar, tile: int = 1024) -> Tensor:
    """`contrastive.siglip` in O(N d + tile²) memory. No softmax ties the logits together, so the gradient is made on
    the way and nothing is computed twice: 6 N² d operations.

    logit_bias: any finite number or one-element tensor, which then receives its gradient. The rest, and what is
    returned and raised, as in `info_nce_tiled`. Source: Zhai et al. 2023 (arXiv 2303.15343), section 3.3.
    Relations: `siglip` with the same arguments, for any tile, value and gradients, up to rounding.

    Example:
        >>> z = torch.eye(5)
        >>> [siglip_tiled(z, z, logit_scale=3.0, logit_bias=-1.0, tile=tile).item() for tile in (1, 2, 1024)]
        [1.380, 1.380, 1.380]
    """
    _validate.number("logit_bias", logit_bias)
    a, b = _scaled(za, zb, logit_scale, tile)
    if any(_validate.traced(part) for part in (a, b, logit_bias) if isinstance(part, Tensor)):
        return siglip(za, zb, logit_scale=logit_scale, logit_bias=logit_bias)
    bias = logit_bias.reshape(()).to(a) if isinstance(logit_bias, Tensor) else a.new_full((), float(logit_bias))
    wanted = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad or bias.requires_grad)
    with torch.autocast(za.device.type, enabled=False):
        loss = _SigLIP.apply(a, b, bias, tile, wanted)
    return _sizes.held(loss, za=za, zb=zb, logit_scale=logit_scale, logit_bias=logit_bias)


def cached_backward(
    loss: Callable[..., Tensor], *towers: tuple[Callable[[Tensor], Tensor], Tensor], chunk: int
) -> Tensor:
    """The gradients of a loss of the whole batch, with the activations of one chunk in memory at a time.

        value = cached_backward(loss, (encode_image, images), (encode_text, tokens), chunk=256)  # loss(za, zb)

    Gradient accumulation cannot do this: it would let each row meet the negatives of its chunk alone. Here all chunks
    are encoded without a graph; the loss of all vectors gives a gradient for each; then every chunk is encoded again,
    with a graph, and handed its rows of that gradient. It costs one more forward pass. Both passes see the same
    random numbers (dropout) as long as they come from torch's global generators. Caveats: the masks are not those
    that one pass over the batch would have drawn; and BatchNorm in training normalises by its chunk, so that this is
    not the batch's gradient, and moves its running averages twice. GroupNorm, LayerNorm are safe.

    Args:
        loss: takes one (N, d) tensor of vectors a tower and returns a scalar. Parameters in it get their gradient.
        towers: pairs of an encoder, called with some rows of the inputs, and the inputs, N rows (of a table of
            tokens, or torch.arange(N), if the encoder looks its inputs up itself).
        chunk: rows to encode at a time, at least 1.
    Returns: the loss, without a graph. Gradients are *added* to `.grad`, as by `backward`.
    Raises: TypeError or ValueError that names the argument; RuntimeError if a tower gives other vectors the second
    time, for example because it augments its inputs (do that before).
    Relations: `loss(encode_image(images), encode_text(tokens)).backward()`, but for the caveats.
    Source: Gao et al. 2021 (arXiv 2101.06983).

    Example:
        >>> weight, x = torch.tensor(3.0, requires_grad=True), torch.tensor([[1.0], [2.0], [3.0]])
        >>> loss = cached_backward(lambda z: z.sum() ** 2, (lambda rows: weight * rows, x), chunk=1)
        >>> loss.item(), weight.grad.item()  # (6 w)² and 72 w
        (324.0, 216.0)
    """
    _validate.whole("chunk", chunk, least=1)
    if not callable(loss):
        raise TypeError(f"loss must be a function of the towers' vectors, got {loss!r}")
    _check_towers(towers)
    first = []  # of each chunk of each tower: the random state, and the vectors
    with torch.no_grad():
        for number, (encode, inputs) in enumerate(towers):
            first.append([(_random_state(), encode(part)) for part in inputs.split(chunk)])
            for part, (_, vectors) in zip(inputs.split(chunk), first[-1], strict=True):
                if not isinstance(vectors, Tensor) or vectors.shape[:1] != part.shape[:1]:
                    raise ValueError(f"towers[{number}] must return a tensor of {len(part)} rows for as many inputs")
                if _validate.reads_values(vectors) and not torch.isfinite(vectors).all():
                    raise ValueError(f"towers[{number}] must return finite vectors, got NaN or infinity")
    leaves = [torch.cat([vectors for _, vectors in chunks]).requires_grad_() for chunks in first]  # (N, d) each
    with torch.enable_grad():
        torch.clear_autocast_cache()  # older versions of torch would use weights again that were cast without a graph
        value = loss(*leaves)
        if not isinstance(value, Tensor):
            raise TypeError(f"loss must return a tensor, got {type(value).__name__}")
        if value.numel() != 1:
            raise ValueError(f"loss must return a scalar, got shape {tuple(value.shape)}")
        with torch.autocast(value.device.type, enabled=False):
            value.backward()
        for number, ((encode, inputs), leaf, chunks) in enumerate(zip(towers, leaves, first, strict=True)):
            gradients = (torch.zeros_like(leaf) if leaf.grad is None else leaf.grad).split(chunk)
            for part, (state, old), gradient in zip(inputs.split(chunk), chunks, gradients, strict=True):
                with _random_state_of(state):
                    new = encode(part)
                if not torch.allclose(new, old, rtol=1e-2, atol=1e-2 * old.abs().max().item()):
                    raise RuntimeError(
                        f"towers[{number}] gave other vectors the second time. Does it augment its inputs, or draw "
                        "from a generator of its own? Do that before, so that both passes see the same"
                    )
                if new.requires_grad:  # a frozen tower needs no gradient
                    with torch.autocast(new.device.type, enabled=False):
                        new.backward(gradient)
    return value.detach()


def _check_towers(towers: tuple) -> None:
    if not towers:
        raise ValueError("towers must hold at least one pair of an encoder and its inputs, got none")
    for number, tower in enumerate(towers):
        if not isinstance(tower, tuple | list) or len(tower) != 2:
            raise TypeError(f"towers[{number}] must be a pair (encoder, inputs), got {type(tower).__name__}")
        encode, inputs = tower
        if not callable(encode) or not isinstance(inputs, Tensor):
            got = f"{type(encode).__name__} and {type(inputs).__name__}"
            raise TypeError(f"towers[{number}] must hold a function and a tensor of its inputs, got {got}")
        if not inputs.ndim or not len(inputs):
            raise ValueError(f"towers[{number}] must have inputs of at least one row, got {tuple(inputs.shape)}")


def all_gather_with_grad(z: Tensor) -> Tensor:
    """The rows of all processes, one below the other in the order of their ranks, as a differentiable function.

    Backward: what *any* process's loss asks of my rows is added up, and comes back to me. If the mean of W processes'
    losses is meant, my gradient is W times that of the mean, and the mean that DistributedDataParallel takes over
    parameter gradients puts this right. (A gather without gradients drops W - 1 of the W terms.)
    z: (n, d), floating, finite; n may differ between processes, d and dtype may not, and either all or none of them
    take part in the backward pass: a process waits for the others. Returns (sum of n, d). Without a process group, z.
    Raises: TypeError or ValueError that names the argument.
    Relations: forward, `torch.cat` of what `dist.all_gather` fills, for even rows; alone, the identity.

    Example:
        >>> z = torch.eye(2)
        >>> all_gather_with_grad(z) is z  # no process group
        True
    """
    _validate.embeddings("z", z)
    return _AllGather.apply(z) if _in_a_group() else z


def info_nce_distributed(za: Tensor, zb: Tensor, *, logit_scale: Scalar) -> Tensor:
    """`contrastive.info_nce` of the batch that all processes hold together, each n of its N rows.

    A process computes the 2 n N logits of its own rows against everybody's. What is returned is the loss of the whole
    batch, the same number everywhere; its gradient is such that the mean over the processes, which
    DistributedDataParallel takes, is the gradient of that loss. Processes may hold different numbers of rows.

    Args: as in `contrastive.info_nce`; za and zb hold this process's rows, row i of both a pair.
    Returns: a scalar. Raises TypeError or ValueError naming the argument.
    Relations: `info_nce` of the rows that `all_gather_with_grad` gathers, value and gradients; alone, of one's own.
    Source: Radford et al. 2021 (arXiv 2103.00020), section 2.5; the local loss of open_clip.

    Example:
        >>> z = torch.eye(5)
        >>> info_nce_distributed(z, z, logit_scale=3.0).item()  # no process group: log(1 + 4 e^-3)
        0.1816
    """
    own_a, own_b = _scaled(za, zb, logit_scale, 1)  # (n, d) each
    with torch.autocast(za.device.type, enabled=False):
        all_a, all_b = all_gather_with_grad(own_a), all_gather_with_grad(own_b)  # (N, d) each
        target = torch.arange(len(za), device=za.device) + _first_row(len(za), za.device)
        sums = [F.cross_entropy(x @ y.T, target, reduction="sum") for x, y in ((own_a, all_b), (own_b, all_a))]
        mine = sum(sums) / (2 * len(all_a))  # the loss is the sum of these over the processes
        if not _in_a_group():
            return _sizes.held(mine, za=za, zb=zb, logit_scale=logit_scale)
        total = mine.detach().clone()
        dist.all_reduce(total)
        _sizes.held(total, za=za, zb=zb, logit_scale=logit_scale)  # the same everywhere: none waits for another
        mine = mine * dist.get_world_size()  # DDP takes the mean
        return (mine - mine.detach()) + total  # the zero comes first, so that no rounding differs between processes


def extra_memory(call: Callable[[], object], *, device: torch.device | str = "cpu") -> float:
    """MB (10^6 bytes) that this process holds more, at the worst moment of a call, than before it.

    On a GPU it is what torch has allocated there. On a CPU it is the resident memory, looked at a thousand times a
    second: memory that the process held before and uses again does not count, so only a first call tells the truth.

    Example:
        >>> megabytes = extra_memory(lambda: torch.ones(25_000_000))  # of four bytes: some 100 in a new process,
        >>> 0 <= megabytes < 1000  # and less in one that has freed as much before
        True
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch():
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
        peak = max(peak, process.memory_info().rss)
    return (peak - before) / 1e6


# -- tiles


def _scaled(za: Tensor, zb: Tensor, logit_scale: Scalar, tile: int) -> tuple[Tensor, Tensor]:
    """Checked, in float32 at least, and with the scale in the first, so that logits are a @ b.T."""
    _validate.embeddings("za", za)
    _validate.embeddings("zb", zb, like=za, like_name="za")
    _validate.positive("logit_scale", logit_scale)
    _validate.whole("tile", tile, least=1)
    wide = torch.promote_types(za.dtype, torch.float32)
    scale = logit_scale.reshape(()) if isinstance(logit_scale, Tensor) else float(logit_scale)
    return za.to(wide) * scale, zb.to(wide)


def _tiles(a: Tensor, b: Tensor, tile: int, add: Tensor):
    """(rows, columns, a[rows] @ b[columns].T + add) for each tile. The next one is written over it."""
    memory = a.new_empty(min(tile, len(a)) ** 2)  # asking for it anew each time would cost more than filling it
    parts = [slice(start, min(start + tile, len(a))) for start in range(0, len(a), tile)]
    for i in parts:
        for j in parts:
            shape = i.stop - i.start, j.stop - j.start
            yield i, j, torch.addmm(add, a[i], b[j].T, out=memory[: shape[0] * shape[1]].view(shape))


class _InfoNCE(torch.autograd.Function):
    """The loss of logits a @ b.T."""

    @staticmethod
    def forward(ctx, a, b, tile):
        # Close to the largest float that a sum of N may reach, which leaves the most room below; not closer, because
        # the inverse of a sum above max / 4 is a denormal, and those may be flushed to 0.
        highest = math.log(torch.finfo(a.dtype).max) - math.log(len(a)) - 4
        bound = torch.linalg.vector_norm(a, dim=1).max() * torch.linalg.vector_norm(b, dim=1).max()
        add = highest - bound
        rows, columns, own = a.new_zeros(3, len(a))  # (N,) each
        shared = _validate.reads_values(a)  # or else no sum can be looked at, and maxima of their own are safe
        for i, j, logits in _tiles(a, b, tile, add) if shared else ():
            if i == j:
                own[i] = logits.diagonal()
            exp = logits.exp_()
            rows[i] += exp.sum(dim=1)
            columns[j] += exp.sum(dim=0)
        sums = torch.stack([rows, columns])
        info = torch.finfo(a.dtype)
        # Below, what was flushed to 0 could matter; above, a rounding lifted logits of 1e7 and more over the bound.
        shared = shared and bool(((sums > len(a) * info.tiny / info.eps) & (sums < info.max / 8)).all())
        if not shared:
            add = torch.zeros_like(add)
            rows, columns = torch.full_like(rows, -math.inf), torch.full_like(rows, -math.inf)
            for i, j, logits in _tiles(a, b, tile, add):
                if i == j:
                    own[i] = logits.diagonal()
                rows[i] = torch.logaddexp(rows[i], logits.logsumexp(dim=1))
                columns[j] = torch.logaddexp(columns[j], logits.logsumexp(dim=0))
        ctx.save_for_backward(a, b, rows, columns, add)
        ctx.tile, ctx.shared = tile, shared
        # A small loss is the difference of two large numbers. MPS has no float64: the CPU has.
        where = "cpu" if a.device.type == "mps" else a.device
        rows, columns, own = (part.to(where).double() for part in (rows, columns, own))
        logs = (rows.log() + columns.log()) if shared else (rows + columns)
        return (logs / 2 - own).clamp(min=0).mean().to(a)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        a, b, rows, columns, add = ctx.saved_tensors
        for_a, for_b = (
            torch.zeros_like(side) if wanted else None
            for side, wanted in zip((a, b), ctx.needs_input_grad, strict=False)
        )
        if ctx.shared:
            rows, columns = 1 / rows, 1 / columns
        weights = a.new_empty(min(ctx.tile, len(a)) ** 2)
        with torch.autocast(a.device.type, enabled=False):
            for i, j, logits in _tiles(a, b, ctx.tile, add):
                # p of the row's softmax plus p of the column's
                p = weights[: logits.numel()].view(logits.shape)
                if ctx.shared:
                    torch.add(rows[i, None], columns[None, j], out=p)
                    p.mul_(logits.exp_())
                else:
                    torch.sub(logits, rows[i, None], out=p).exp_()
                    p.add_(logits.sub_(columns[None, j]).exp_())
                if for_a is not None:
                    for_a[i].addmm_(p, b[j])
                if for_b is not None:
                    for_b[j].addmm_(p.T, a[i])
        factor = upstream / (2 * len(a))
        for gradient, other in ((for_a, b), (for_b, a)):
            if gradient is not None:
                gradient.sub_(other, alpha=2).mul_(factor)  # the right answers, once a row and once a column
        return for_a, for_b, None


class _SigLIP(torch.autograd.Function):
    """The loss of logits a @ b.T + bias."""

    @staticmethod
    def forward(ctx, a, b, bias, tile, wanted):
        total, for_a, for_b, for_bias = bias.new_zeros(()), *map(torch.zeros_like, (a, b, bias))
        for i, j, logits in _tiles(a, b, tile, bias):
            if i == j:
                logits.diagonal().neg_()  # here the answer is yes
            total += _sum_of_softplus(logits)
            if wanted:
                slope = logits.sigmoid_()
                if i == j:
                    slope.diagonal().neg_()
                for_bias += slope.sum()
                for_a[i].addmm_(slope, b[j])
                for_b[j].addmm_(slope.T, a[i])
        ctx.save_for_backward(*(part.div_(len(a)) for part in (for_a, for_b, for_bias)))
        return total / len(a)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        return *(upstream * gradient for gradient in ctx.saved_tensors), None, None


def _sum_of_softplus(x: Tensor) -> Tensor:
    """The sum of log(1 + e^x) = max(x, 0) + log(1 + u), u = e^-|x|, with a logarithm for one number in 32.

    On a CPU a logarithm costs ten times what an exponential does. log(1 + u) + log(1 + v) = log(1 + (u + v + u v)),
    which keeps all digits of a small u and v, and cannot overflow: 1 + u is at most 2.
    """
    total, u = x.clamp(min=0).sum(), x.abs().neg_().exp_().flatten()
    for _ in range(5):
        half = len(u) // 2
        a, b, odd = u[:half], u[half : 2 * half], u[2 * half :]
        total = total + odd.log1p().sum()
        u = a.addcmul_(a, b).add_(b)
    return total + u.log1p().sum()


# -- random numbers


def _random_state() -> tuple:
    """The state of torch's global generators, on all devices."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    return torch.get_rng_state(), cuda, mps


def _set_random_state(state: tuple) -> None:
    cpu, cuda, mps = state
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
    if mps is not None:
        torch.mps.set_rng_state(mps)


@contextlib.contextmanager
def _random_state_of(state: tuple):
    """Random numbers as from this state; afterwards they go on where they were."""
    before = _random_state()
    _set_random_state(state)
    try:
        yield
    finally:
        _set_random_state(before)


# -- processes


def _in_a_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def _rows_of_each(rows: int, device: torch.device) -> list[int]:
    """How many rows each process holds."""
    if not _in_a_group():
        return [rows]
    counts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([rows], device=device))
    return [int(count) for count in counts]


def _first_row(rows: int, device: torch.device) -> int:
    """Where this process's rows begin among all."""
    return sum(_rows_of_each(rows, device)[: dist.get_rank() if _in_a_group() else 0])


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        sizes = _rows_of_each(len(z), z.device)
        ctx.rows, ctx.first = len(z), sum(sizes[: dist.get_rank()])
        padded = F.pad(z, (0, 0, 0, max(sizes) - len(z)))  # all_gather wants equal shapes
        gathered = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(gathered, padded.contiguous())
        return torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[ctx.first : ctx.first + ctx.rows]
