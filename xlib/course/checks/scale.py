"""The checks of lesson 07."""

import math
import numbers
import weakref
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy, normalize
from torch.overrides import TorchFunctionMode

from xlib.course.checks.engine import Result, check, through, unit_rows

WIDE = torch.float64


def largest_batch(answer: Callable) -> Result:
    """Check `largest_batch(memory, d, tables)`: the largest N for which `tables` float32 tables (N, N) and two
    embeddings (N, d) take no more than `memory` bytes."""

    def right(memory, d, tables):
        fits, too_many = 0, memory
        while too_many - fits > 1:  # whole numbers of any size, nothing is rounded
            n = (fits + too_many) // 2
            fits, too_many = (n, too_many) if 4 * (tables * n * n + 2 * n * d) <= memory else (fits, n)
        return torch.tensor(fits, dtype=WIDE)

    def made(memory, d, tables, *, size=4, embeddings=2, by=math.floor):
        half = embeddings * d / 2
        return torch.tensor(by((math.sqrt(half**2 + tables * memory / size) - half) / tables), dtype=WIDE)

    def exact_root(memory, d, tables):
        return made(memory, d, tables, by=float)

    def one_pair(memory, d, tables):
        return torch.tensor(math.isqrt(max(0, memory // 4 - 2 * d) // tables), dtype=WIDE)

    def exact(answer, *given):
        """In float64, for one row of a hundred thousand is less than what the engine grants float32."""
        value = answer(*given)
        if isinstance(value, Tensor):
            return value.to(WIDE)
        return torch.tensor(float(value), dtype=WIDE) if isinstance(value, numbers.Real) else value

    mistakes = [
        ("A float32 number takes 4 bytes", partial(made, size=1)),
        ("That is for 8 bytes a number: float32 takes 4", partial(made, size=8)),
        ("That is for 2 bytes a number: float32 takes 4", partial(made, size=2)),
        ("The embeddings are missing: 2 · N · d more numbers", partial(made, embeddings=0)),
        ("That is with one embedding: there are za and zb", partial(made, embeddings=1)),
        ("The two embeddings are there once, not once a table", lambda m, d, t: made(m, d, t, embeddings=2 * t)),
        ("That is with one table: there are `tables` of them", lambda m, d, t: made(m, d, 1)),
        ("Their gradients are not asked for: count the two embeddings alone", partial(made, embeddings=4)),
        ("A table has N² entries, not N", lambda m, d, t: torch.tensor(m // (4 * (t + 2 * d)), dtype=WIDE)),
        ("Each of the N rows has an embedding: 2 · d numbers are those of one pair", one_pair),
        ("That is the other root: d is to be taken off", lambda m, d, t: torch.floor(made(m, d, t) + 2 * d / t)),
        (
            "That is N times the number of tables: one step is missing",
            lambda m, d, t: torch.floor(t * exact_root(m, d, t)),
        ),
        *(
            ("memory is in bytes already", lambda m, d, t, u=u: made(m * u, d, t))
            for u in (10**3, 2**10, 10**6, 2**20)
        ),
        ("memory is in bytes, not in bits", lambda m, d, t: made(m / 8, d, t)),
        ("What just fits, fits: 'no more than' is <=", partial(made, by=lambda n: math.ceil(n) - 1)),
        ("That is the first N that does not fit: the one before it", partial(made, by=lambda n: math.floor(n) + 1)),
        ("That is the largest power of two: any N will do", partial(made, by=lambda n: 2 ** int(math.log2(n or 1)))),
        ("Round down: one row more does not fit", partial(made, by=math.ceil)),
        ("Half a row is no row: round down to a whole number", partial(made, by=float)),
        ("Round down, not to the nearest: one row more does not fit", partial(made, by=round)),
    ]
    counted = "Counted up one row at a time, as long as it fits"
    digits = "float32 holds seven digits, and these numbers have more"
    cases = [
        ("exact fit", "Here tables and embeddings fill the memory to the last byte", 160_000, 50, 3),
        ("100 kB", counted, 100_000, 16, 3),
        ("one byte short", "This is one byte less than 100 rows take", 159_999, 50, 3),
        ("one table", counted, 1_000_000, 64, 1),
        ("long vectors", "Here the embeddings take nearly all", 2**26, 2**16, 2),
        ("room for one row", "Here one row just fits", 4 * (3 + 2 * 512), 512, 3),
        ("room for none", "Here not even one row fits", 4 * (3 + 2 * 512) - 1, 512, 3),
        ("80 GiB", digits, 80 * 2**30, 512, 3),
        ("exact fit of 100,000", digits, 4 * (2 * 10**10 + 2 * 10**5 * 512), 512, 2),
        ("one byte short of 100,000", digits, 4 * (2 * 10**10 + 2 * 10**5 * 512) - 1, 512, 2),
    ]
    return check("largest_batch memory d tables", through(exact, answer), right, cases, mistakes, number=True)


class _NoTable(TorchFunctionMode):
    """Raises as soon as a tensor is made that holds more than `tile` columns of the table a @ b.T."""

    def __init__(self, a: Tensor, b: Tensor, tile: int):
        super().__init__()
        self.table, self.tile = len(a) * len(b), len(a) * tile
        self.room = max(self.tile, a.numel(), b.numel())  # to copy an input is no mistake

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(made, Tensor) and made.is_floating_point() and made.numel() > self.room < self.table:
                what = "the whole table" if made.numel() == self.table else f"where N × tile is {self.tile}"
                raise ValueError(
                    f"look at `tile` rows of b at a time. A tensor with {made.numel()} entries, {what}, was made"
                )
        return result


def row_log_sums(answer: Callable) -> Result:
    """Check `row_log_sums(a, b, tile)`: (N,), log sum_j exp(a[i]·b[j]) of each row of the table a @ b.T, of which no
    more than N × tile entries may be in memory; a (N, d), b (M, d)."""

    def right(a, b, tile):
        rows = []
        for x in a.double().tolist():
            logits = [math.fsum(p * q for p, q in zip(x, y, strict=True)) for y in b.double().tolist()]
            rows.append(max(logits) + math.log(math.fsum(math.exp(z - max(logits)) for z in logits)))
        return torch.tensor(rows, dtype=a.dtype)

    def largest(top, logits):
        return torch.maximum(top, logits.amax(dim=1))

    def running(a, b, tile, *, highest=largest, start=-math.inf, rescale=1, back=True):
        top, total = a.new_full((len(a),), start), a.new_zeros(len(a))
        for part in b.split(tile):
            logits = a @ part.T
            new = highest(top, logits)
            old = torch.where(top.isinf(), new, top)
            total = total * (rescale * (old - new)).exp() + (logits - new[:, None]).exp().sum(dim=1)
            top = new
        return total.log() + top if back else total.log()

    def merged(a, b, tile, merge, full=False):
        parts = [part for part in b.split(tile) if len(part) == tile or not full]
        sums = [(a @ part.T).logsumexp(dim=1) for part in parts]
        return merge(torch.stack(sums or [a.new_full((len(a),), -math.inf)]))

    def together(sums):
        return sums.logsumexp(dim=0)

    def below_the_bound(a, b, tile, whole=True):
        longest = b.norm(dim=1).max()
        bound = a.norm(dim=1) * longest
        return running(
            a, b, tile, highest=lambda top, logits: (bound.max() if whole else bound).expand(len(a)), start=0.0
        )

    def highest_alone(a, b, tile):
        return torch.stack([(a @ part.T).amax(dim=1) for part in b.split(tile)]).amax(dim=0)

    add = "The sums are to be added, not their logarithms: torch.logaddexp"
    overflow = "exp(1000) is inf, and exp(-1000) is 0: subtract the row's maximum first, and add it to the logarithm"
    later = "A later tile can hold far larger logits: the maximum must grow from tile to tile"
    generous = (
        "The bound is too generous here: the logits lie so far below it that each exp is 0. Take out what was met, "
        "the row's largest logit so far"
    )
    zero = "The maximum starts at 0: where all logits are near -1000, each exp is 0. Start at -inf"
    far = "That is one maximum for all rows: a row far below it has nothing left. Each row has its own"
    mistakes = [
        ("That is the sum: take its logarithm", lambda a, b, t: running(a, b, t).exp()),
        ("That is the mean of the exp: take the sum", lambda a, b, t: running(a, b, t) - math.log(len(b))),
        (
            "Those are the sums of the columns: sum over the rows of b",
            lambda a, b, t: torch.cat([(a @ part.T).logsumexp(dim=0) for part in b.split(t)]),
        ),
        (
            "There is 1 too much in each sum: no row read yet is a sum of 0, and its logarithm is -inf",
            lambda a, b, t: torch.logaddexp(running(a, b, t), a.new_zeros(len(a))),
        ),
        ("The maximum was subtracted and not added again", partial(running, back=False)),
        (add, partial(merged, merge=lambda sums: sums.sum(dim=0))),
        (f"That is the mean of the tiles' log-sums. {add}", partial(merged, merge=lambda sums: sums.mean(dim=0))),
        ("That is the largest tile alone: add the sums of all", partial(merged, merge=lambda sums: sums.amax(dim=0))),
        ("That is the last tile alone: add the sums of all", partial(merged, merge=lambda sums: sums[-1])),
        ("When the maximum grows, the old sum must shrink: times exp(old - new)", partial(running, rescale=0)),
        ("The old sum is rescaled the wrong way round: times exp(old - new)", partial(running, rescale=-1)),
        ("The last tile, which may be shorter, is lost", partial(merged, merge=together, full=True)),
        (overflow, partial(running, highest=lambda top, logits: torch.zeros_like(top), start=0.0)),
        (zero, partial(running, start=0.0)),
        (far, partial(running, highest=lambda top, logits: torch.maximum(top, logits.max()))),
        (later, partial(running, highest=lambda top, logits: torch.where(top.isinf(), logits.amax(dim=1), top))),
        (generous, below_the_bound),
        (generous, partial(below_the_bound, whole=False)),
        ("That is each row's largest logit: the others add to the sum as well", highest_alone),
    ]
    a = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 1]])
    b = torch.tensor([[0.0, 4, 2], [1, 0, 1], [3, 2, 0], [2, 1, 1], [1, 1, 1]])

    def beside(rows, number):
        return torch.cat([rows, torch.full((len(rows), 1), number)], dim=1)

    tall = torch.tensor([[0.1], [0.2], [100]]) * torch.tensor([[1.0, 2.0]])
    small = "Compared with sums in Python's own numbers, of logits from 0 to 7"
    far_apart = "Here one row's logits lie a thousand and more below the other's"
    cases = [
        ("one tile", small, a.clone(), b[:4].clone(), 4),
        ("two tiles", small, a.clone(), b[:4].clone(), 2),
        ("a shorter last tile", "Five rows are two tiles of two and one of one", a.clone(), b.clone(), 2),
        ("a tile larger than b", "Three rows are one tile of ten as well", a.clone(), b[:3].clone(), 10),
        ("logits near 1000", "exp(1000) is inf in float32", beside(a, 1000.0), beside(b, 1.0), 2),
        ("logits near -1000", "exp(-1000) is 0 in float32", beside(a, -1000.0), beside(b, 1.0), 2),
        (
            "rows far apart",
            far_apart,
            torch.tensor([[500.0, 0], [-500, 0]]),
            torch.tensor([[2.0, 1], [2, 0], [2, 5]]),
            2,
        ),
        (
            "rows far apart, one tile",
            far_apart,
            torch.tensor([[900.0, 1], [-700, 2]]),
            torch.tensor([[1.0, 1], [1, 3]]),
            2,
        ),
        (
            "a towering last tile",
            "Here the last tile's logits are far above the others",
            torch.tensor([[1.0, 2], [2, 1]]),
            tall,
            2,
        ),
        (
            "growing tiles",
            "Here each tile's logits are far above the one before",
            torch.tensor([[1.0, 0], [3, 1]]),
            4 * tall,
            1,
        ),
        ("one row", "One row of a, and tiles of one row of b", a[1:2].clone(), b.clone(), 1),
        ("float64", "float64 in: float64 out", 5 * unit_rows(4, 6, 0, WIDE), unit_rows(9, 6, 1, WIDE), 4),
        (
            "not contiguous",
            "The numbers of a row lie apart in memory here",
            unit_rows(8, 9, 2),
            unit_rows(23, 9, 3),
            5,
        ),
        (
            "no room for the table",
            "Only a tile of the table has room",
            4 * unit_rows(40, 3, 4),
            3 * unit_rows(50, 3, 5),
            8,
        ),
    ]

    def guarded(answer, a, b, tile):
        with _NoTable(a, b, tile):
            return answer(a, b, tile)

    return check("row_log_sums a b tile", through(guarded, answer), right, cases, mistakes)


class _Held:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


def _encoder(whole: Callable, chunk: int) -> Callable:
    """`whole(rows, w)`, as long as the activations of no more than `chunk` rows are in memory."""
    kept = weakref.WeakSet()

    def keep(tensor):
        held = _Held(tensor.detach())  # an output with its graph would keep the graph that keeps it
        kept.add(held)
        return held

    def encode(rows, w):
        if not torch.is_grad_enabled() or not (rows.requires_grad or w.requires_grad):
            return whole(rows, w)
        if len(rows) > chunk:
            raise ValueError(
                f"a chunk is {chunk} rows. Without a graph (torch.no_grad) encode takes any number, with one it was "
                f"handed {len(rows)}"
            )
        if kept:
            raise ValueError(
                "take the gradient of a chunk before you encode the next one: all their graphs are as large as the "
                "batch's, and another one was in memory"
            )
        with saved_tensors_hooks(keep, lambda held: held.tensor):
            return whole(rows, w)

    encode.whole, encode.__name__ = whole, whole.__name__  # for the oracle and the mistakes; for the message
    return encode


def _linear(rows: Tensor, w: Tensor) -> Tensor:
    return normalize(rows @ w, dim=1)


def _curved(rows: Tensor, w: Tensor) -> Tensor:
    return normalize(torch.tanh(2 * rows @ w), dim=1)


_linear.__name__, _curved.__name__ = (
    "unit vectors of rows @ w",
    "unit vectors of tanh(2 rows @ w)",
)  # as they are shown


def cached_gradient(answer: Callable) -> Result:
    """Check `cached_gradient(encode, w, x, zb, scale, chunk)`: the gradient by w of symmetric InfoNCE of encode(x, w)
    and zb, with a graph for `chunk` rows at a time. The oracle is the whole batch at once, in float64."""

    def loss(za, zb, scale, rows=0.5, columns=0.5):
        table = za @ zb.T * scale
        own = table.diagonal()
        return (rows * (table.logsumexp(dim=1) - own) + columns * (table.logsumexp(dim=0) - own)).mean()

    def right(encode, w, x, zb, scale, chunk):
        leaf = w.detach().to(WIDE).requires_grad_()
        value = loss(encode.whole(x.to(WIDE), leaf), zb.to(WIDE), scale)
        return torch.autograd.grad(value, leaf)[0].to(w.dtype)

    def by_vector(encode, w, x, zb, scale, **shares):
        za = encode.whole(x, w.detach()).requires_grad_()
        return torch.autograd.grad(loss(za, zb, scale, **shares), za)[0]

    def by_chunk(encode, w, x, zb, scale, chunk, deal=None, **shares):
        parts = by_vector(encode, w, x, zb, scale, **shares).split(chunk)
        if deal:
            parts = [deal(parts, i) for i in range(len(parts))]
        return torch.stack(
            [
                torch.autograd.grad(encode.whole(rows, w), w, part)[0]
                for rows, part in zip(x.split(chunk), parts, strict=True)
            ]
        )

    def added(*given, **options):
        return by_chunk(*given, **options).sum(dim=0)

    def own_losses(encode, w, x, zb, scale, chunk, share=lambda rows, n, chunks: 1.0):
        parts = list(zip(x.split(chunk), zb.split(chunk), strict=True))
        losses = [share(len(r), len(x), len(parts)) * loss(encode.whole(r, w), own, scale) for r, own in parts]
        return torch.autograd.grad(sum(losses), w)[0]

    def all_full(encode, w, x, zb, scale, chunk):
        grads = by_chunk(encode, w, x, zb, scale, chunk)
        return grads[: len(x) // chunk].sum(dim=0)

    popular = (
        "Those are the losses of the chunks (gradient accumulation): each row has met the negatives of its own chunk "
        "alone. The loss must see all vectors at once"
    )
    adds = "backward adds to what w.grad held before: return this gradient alone, as torch.autograd.grad does"
    mistakes = [
        (popular, own_losses),
        (popular, partial(own_losses, share=lambda rows, n, chunks: 1 / chunks)),
        (popular, partial(own_losses, share=lambda rows, n, chunks: rows / n)),
        ("That is the last chunk's part alone: add up all chunks", lambda *g: by_chunk(*g)[-1]),
        ("That is the first chunk's part alone: add up all chunks", lambda *g: by_chunk(*g)[0]),
        (
            "The chunks' parts are to be added: the loss has taken the mean already",
            lambda *g: by_chunk(*g).mean(dim=0),
        ),
        ("Nothing is divided by N: the loss has taken the mean already", lambda *g: added(*g) / len(g[2])),
        ("That is N times the gradient: the loss is a mean over the batch", lambda *g: added(*g) * len(g[2])),
        ("The loss has two directions: zb asks for its row as well", partial(added, rows=1.0, columns=0.0)),
        ("The loss has two directions: each row of x asks as well", partial(added, rows=0.0, columns=1.0)),
        ("The two directions are averaged, not added", partial(added, rows=1.0, columns=1.0)),
        (
            "Each chunk got the first chunk's rows of the gradient: hand it its own",
            partial(added, deal=lambda parts, i: parts[0][: len(parts[i])]),
        ),
        ("That is the gradient by the vectors: hand it on to w", lambda *g: by_vector(*g[:5])),
        (
            "That goes past encode: more than a product lies between w and the vectors",
            lambda e, w, x, zb, scale, chunk: x.T @ by_vector(e, w, x, zb, scale),
        ),
        (
            "Each chunk got a gradient of ones: hand it its rows of the loss's",
            partial(added, deal=lambda parts, i: torch.ones_like(parts[i])),
        ),
        ("scale is not used: logit_scale=scale", lambda e, w, x, zb, scale, chunk: added(e, w, x, zb, 1.0, chunk)),
        (
            "scale multiplies the logits: this divides",
            lambda e, w, x, zb, scale, chunk: added(e, w, x, zb, 1 / scale, chunk),
        ),
        ("The sign is wrong: this is minus the gradient", lambda *g: -added(*g)),
        ("The last chunk, which may be shorter, is lost", all_full),
        (adds, lambda e, w, *g: added(e, w, *g) + (0 if w.grad is None else w.grad)),
    ]

    def case(title, hint, n, chunk, scale, seed, *, whole=_linear, dtype=torch.float32, held=False, apart=False):
        x, zb, w = (unit_rows(*shape, seed + i, dtype) for i, shape in enumerate([(n, 6), (n, 6), (6, 6)]))
        if not apart:
            x, zb, w = x.contiguous(), zb.contiguous(), w.contiguous()
        w.requires_grad_()
        if held:
            w.grad = torch.ones_like(w)
        encode = _encoder(whole, chunk)
        return title, hint, encode, w, 2 * x, zb, scale, chunk

    compared = "Compared with autograd through the whole batch at once, in float64"
    held = "What w held before is no part of this gradient"
    cases = [
        case("two chunks", compared, 8, 4, 3.1, 0),
        case("a shorter last chunk", "Seven rows are two chunks of three and one of one", 7, 3, 5.3, 10),
        case("chunk 1", "One row a chunk still meets all negatives", 5, 1, 5.3, 20, whole=_curved),
        case("one chunk", "A chunk may be larger than the batch", 6, 10, 5.3, 30, whole=_curved),
        case("one row", "One pair has no negatives: the gradient is 0", 1, 4, 5.3, 40),
        case("w.grad is in use", held, 6, 4, 5.3, 50, held=True),
        case("w.grad is in use again", held, 5, 2, 3.1, 55, whole=_curved, held=True),
        case("scale 50", "Here the scale is 50", 9, 4, 50.0, 60),
        case("float64", "float64 in: float64 out", 8, 3, 5.3, 70, dtype=WIDE),
        case(
            "not contiguous",
            "The numbers of a row lie apart in memory here",
            11,
            4,
            9.7,
            80,
            whole=_curved,
            apart=True,
        ),
    ]

    silent = [  # what torch says, and what it means here
        (
            "does not require grad and does not have a grad_fn",
            "nothing that this was made from asks for a gradient: a tensor made under no_grad does not until it is "
            "told to",
        ),
        (
            "appears to not have been used in the graph",
            "no path leads from this back to what the gradient is taken by",
        ),
    ]

    def restored(answer, encode, w, *given):
        """The mistakes are run on the same w: what the answer leaves in w.grad is taken off again."""
        before = w.grad
        w.grad = None if before is None else before.clone()
        try:
            return answer(encode, w, *given)
        except RuntimeError as error:
            for torchs, ours in silent:
                if torchs in str(error):
                    raise RuntimeError(ours).with_traceback(error.__traceback__) from None
            raise
        finally:
            w.grad = before

    signature = "cached_gradient encode w x zb scale chunk"
    return check(signature, through(restored, answer), right, cases, mistakes)


def share_of_loss(answer: Callable) -> Result:
    """Check `share_of_loss(all_a, all_b, sizes, rank, scale)`: what process `rank` returns, so that the mean over the
    processes is symmetric InfoNCE of all N rows, and the gradient of that mean is its gradient."""

    def rows_of(sizes, rank):
        return slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))

    def right(all_a, all_b, sizes, rank, scale):
        logits = scale * all_a @ all_b.T
        own = rows_of(sizes, rank)
        missed = logits.logsumexp(dim=1) + logits.logsumexp(dim=0) - 2 * logits.diagonal()
        return len(sizes) / 2 / len(all_a) * missed[own].sum()

    def made(
        all_a,
        all_b,
        sizes,
        rank,
        scale,
        *,
        first=lambda sizes, rank: sum(sizes[:rank]),
        label=lambda sizes, rank: sum(sizes[:rank]),
        by=lambda sizes, n: len(sizes) / 2 / sum(sizes),
        ways=(1, 1),
        others=lambda z: z,
        of_all=lambda z, own: z,
        temper=lambda scale: scale,
    ):
        at = first(sizes, rank)
        own = slice(at, at + sizes[rank])
        total = 0
        for weight, a, b in zip(ways, (all_a, all_b), (all_b, all_a), strict=True):
            logits = temper(scale) * a[own] @ of_all(others(b), own).T
            target = torch.arange(len(logits)) + (label(sizes, rank) if logits.shape[1] == len(a) else 0)
            total = total + weight * cross_entropy(logits, target.clamp(max=logits.shape[1] - 1), reduction="sum")
        return total * by(sizes, sizes[rank])

    def with_mine(z, own):
        return torch.cat([z[: own.start].detach(), z[own], z[own.stop :].detach()])

    no_gradient = "The others' rows get none from you, as after a gather without gradients: they were your negatives"
    even = "is your first row if all processes hold as many: count the rows before, sizes[:rank]"
    summed = "The mean over W processes is taken of what you return, and not the sum: yours is W times too small"
    mistakes = [
        (no_gradient, partial(made, others=torch.Tensor.detach)),
        (no_gradient, partial(made, of_all=with_mine)),
        (
            "Row i of your share is answered by row i of the whole batch: that is right for the first process alone. "
            "Where do your rows begin?",
            partial(made, label=lambda sizes, rank: 0),
        ),
        (summed, partial(made, by=lambda sizes, n: 1 / 2 / sum(sizes))),
        (
            "The mean over W processes divides by W already",
            partial(made, by=lambda sizes, n: 1 / 2 / sum(sizes) / len(sizes)),
        ),
        (
            "That is the mean over your own rows: where shares are unequal, the mean of such means is not that "
            "over all N rows",
            partial(made, by=lambda sizes, n: 1 / 2 / max(n, 1)),
        ),
        (
            "Divided by your own rows, and times W: one of the two is enough. Which one, for unequal shares?",
            partial(made, by=lambda sizes, n: len(sizes) / 2 / max(n, 1)),
        ),
        (
            "Nothing is divided by N: the loss is a mean over the batch",
            partial(made, by=lambda sizes, n: len(sizes) / 2),
        ),
        ("The two directions are averaged, not added", partial(made, by=lambda sizes, n: len(sizes) / sum(sizes))),
        ("One direction is missing: each row of all_b asks as well", partial(made, ways=(2, 0))),
        ("One direction is missing: each row of all_b asks as well", partial(made, ways=(1, 0))),
        ("One direction is missing: each row of all_a asks as well", partial(made, ways=(0, 2))),
        ("One direction is missing: each row of all_a asks as well", partial(made, ways=(0, 1))),
        (
            "Your rows have met your own share alone: the negatives of the other processes are missing",
            partial(made, of_all=lambda z, own: z[own]),
        ),
        (
            "That is the whole batch's loss: its mean is right, but each process does the work of all. Take the part "
            "of your own rows",
            lambda a, b, sizes, rank, scale: sum(made(a, b, sizes, p, scale) for p in range(len(sizes))) / len(sizes),
        ),
        ("scale is not used: it multiplies the logits", partial(made, temper=lambda scale: 1.0)),
        ("scale multiplies the logits: this divides", partial(made, temper=lambda scale: 1 / scale)),
        ("The sign is wrong: a loss is above 0", lambda *given: -made(*given)),
        (
            "Those are the rows of the first process: where do yours begin?",
            partial(made, first=lambda sizes, rank: 0, label=lambda sizes, rank: 0),
        ),
        *(
            (f"{start} {even}", partial(made, first=first, label=first))
            for start, first in (
                ("rank · sizes[rank]", lambda sizes, rank: rank * sizes[rank]),
                ("rank · N / W", lambda sizes, rank: rank * sum(sizes) // len(sizes)),
                ("rank · max(sizes)", lambda sizes, rank: rank * max(sizes)),
            )
        ),
    ]

    def case(title, hint, sizes, rank, scale, seed, dtype=torch.float32, apart=False):
        all_a, all_b = (unit_rows(sum(sizes), 4, seed + i, dtype) for i in range(2))
        if not apart:
            all_a, all_b = all_a.contiguous(), all_b.contiguous()
        return title, hint, all_a.requires_grad_(), all_b.requires_grad_(), sizes, rank, scale

    compared = "Compared with the part that these rows have in the whole table's loss, value and gradients"
    cases = [
        case("two processes", compared, [3, 3], 1, 3.1, 0),
        case("ragged", "Processes may hold different numbers of rows", [5, 1, 2], 2, 3.1, 10),
        case("ragged again", "Processes may hold different numbers of rows", [1, 3, 2], 1, 5.3, 20),
        case("the first process", compared, [2, 4, 1], 0, 3.1, 30),
        case("a short last process", "The last process often holds fewer rows", [4, 4, 4, 1], 3, 5.3, 40),
        case("one process", "One process alone has the whole loss", [4], 0, 3.1, 50),
        case("no rows", "A process without rows has no part in the loss: 0", [3, 0, 2], 1, 3.1, 60),
        case("scale 50", "Here the scale is 50", [2, 1, 3], 2, 50.0, 70),
        case("float64", "float64 in: float64 out", [2, 3], 1, 5.3, 80, WIDE),
        case("not contiguous", "The numbers of a row lie apart in memory here", [3, 4, 2], 1, 5.3, 90, apart=True),
    ]
    return check("share_of_loss all_a all_b sizes rank scale", answer, right, cases, mistakes)
