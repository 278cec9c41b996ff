"""The checks of lesson 08."""

import copy
import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn, tensor
from torch.nn.functional import normalize

from xlib.course.checks.engine import Result, check, through, unit_rows

WIDE, HALF = torch.float64, "float64 in, and nine digits are compared"
unit = partial(normalize, dim=1)


def cosine_range(answer: Callable) -> Result:
    """Check `cosine_range(a, b)`: (3, n), for cosines a and b (n,) of two unit vectors x and y with a third one, the
    least cosine that x and y can have, the mean over random directions of what is left of them, and the largest."""

    def right(a, b):
        angles = [(math.acos(p), math.acos(q)) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
        ends = [(math.cos(p + q), math.cos(p - q)) for p, q in angles]
        return tensor([[f(*pair) for pair in ends] for f in (min, lambda p, q: (p + q) / 2, max)], dtype=a.dtype)

    def made(a, b, middle=None, root=None, signs=(-1, 1)):
        root = ((1 - a**2) * (1 - b**2)).sqrt() if root is None else root(a, b)
        return torch.stack(
            [a * b + signs[0] * root, a * b if middle is None else middle(a, b), a * b + signs[1] * root]
        )

    def ends(a, b, least, most):
        return torch.stack([least(a, b), a * b, most(a, b)])

    def angles(a, b, of=torch.cos, clamp=math.inf):
        p, q = a.acos(), b.acos()
        return torch.stack([of((p + q).clamp(max=clamp)), a * b, of((p - q).abs())])

    middle = "What is left of x and y gives 0 on average, and the parts along t give a · b: the middle is {}"
    one_way = "The root goes both ways: what is left of x and y may point along each other, or against"
    triangle = "1 - cosine is no distance, and keeps to no triangle inequality: the angles do"
    mistakes = [
        (triangle, lambda a, b: ends(a, b, lambda a, b: a + b - 1, lambda a, b: 1 - (a - b).abs())),
        (triangle, lambda a, b: torch.stack([a + b - 1, *made(a, b)[1:]])),
        ("A length is a root: what is left of x is √(1 - a²) long",
         partial(made, root=lambda a, b: (1 - a**2) * (1 - b**2))),
        ("What is left of x is √(1 - a²) long, and not 1 - a", partial(made, root=lambda a, b: (1 - a) * (1 - b))),
        ("What is left of x is √(1 - a²) long: a is squared",
         partial(made, root=lambda a, b: ((1 - a) * (1 - b)).sqrt())),
        ("The two lengths are multiplied, as in every dot product, and not added",
         partial(made, root=lambda a, b: (1 - a**2).sqrt() + (1 - b**2).sqrt())),
        ("x and y have lengths of their own: one root for x and one for y",
         partial(made, root=lambda a, b: (1 - (a * b) ** 2).sqrt())),
        ("What is left of x has 1 - a² as its square, and not 1 + a²",
         partial(made, root=lambda a, b: ((1 + a**2) * (1 + b**2)).sqrt())),
        ("The least comes first, then the middle, then the largest", lambda a, b: made(a, b).flip(0)),
        (one_way, partial(made, signs=(1, 1))),
        (one_way, partial(made, signs=(-1, -1))),
        (one_way, partial(made, signs=(0, 1))),
        (one_way, partial(made, signs=(-1, 0))),
        ("Beyond 180° x and y come near again on the other side: the cosine of the sum is right there, too",
         partial(angles, clamp=math.pi)),
        ("acos gives radians, and cos takes them: nothing is in degrees",
         partial(angles, of=lambda angle: angle.rad2deg().cos())),
        ("Those are angles: cosines are asked for", partial(angles, of=torch.clone)),
        (middle.format("not their mean"), partial(made, middle=lambda a, b: (a + b) / 2)),
        (middle.format("not in the middle of the angles"), partial(made, middle=torch.minimum)),
        (middle.format("a · b, and not its root"), partial(made, middle=lambda a, b: (a * b).abs().sqrt())),
        ("What is left gives 0 on average, but the parts along t give a · b in all directions alike",
         partial(made, middle=lambda a, b: 0 * a)),
        ("Two cosines say more than nothing: not all is possible from -1 to 1",
         lambda a, b: ends(a, b, lambda a, b: a * 0 - 1, lambda a, b: a * 0 + 1)),
        ("A cosine may be below 0: nothing is to be cut off", lambda a, b: made(a, b).clamp(min=0)),
        ("The parts along t give a · b, which is missing",
         lambda a, b: made(a, b) - torch.stack([a * b, 0 * a, a * b])),
    ]  # fmt: skip
    table = unit_rows(6, 2, 3)
    cases = [
        ("four pairs", "the three cosines of four pairs", tensor([0.8, 0.6, 0.28, -0.6]),
         tensor([0.28, 0.96, 0.6, 0.96])),
        ("one pair", "the three cosines of a single pair", tensor([0.3]), tensor([0.9])),
        ("beyond 180°", "the three cosines, where both angles are larger than 90°", tensor([-0.8, -0.28, -0.1]),
         tensor([-0.6, -0.96, -0.3])),
        ("equal and opposite", "the three cosines, where x is t itself or its opposite",
         tensor([1.0, -1.0, 1.0, -1.0]), tensor([0.7, 0.4, -1.0, -1.0])),
        ("alike", "the three cosines, where x and y are equally near to t", tensor([0.5, 0.9, -0.7]),
         tensor([0.5, 0.9, -0.7])),
        ("float64", HALF, unit_rows(7, 5, 0, WIDE)[:, 0].contiguous(), unit_rows(7, 5, 1, WIDE)[:, 1].contiguous()),
        ("not contiguous", "the three cosines of six pairs that lie apart in memory", *table.unbind(dim=1)),
    ]  # fmt: skip
    return check("cosine_range a b", answer, right, cases, mistakes)


def _long(rows: Tensor) -> Tensor:
    """The rows at lengths from 0.1 to 10, the longest in the middle."""
    return rows * 10.0 ** torch.linspace(-1, 1, len(rows), dtype=rows.dtype).roll(len(rows) // 2)[:, None]


def detour(answer: Callable) -> Result:
    """Check `detour(queries, hub, gallery)`: (B,) int64, for each row of queries (B, d) the row of gallery (G, d)
    that has the largest cosine with that row of hub (H, d) that has the largest cosine with the query."""

    def right(queries, hub, gallery):
        def nearest(row, others):
            found = [sum(map(lambda p, q: p * q, row, other)) / math.hypot(*other) for other in others]
            return found.index(max(found))

        q, h, g = (rows.tolist() for rows in (queries, hub, gallery))
        return tensor([nearest(h[nearest(row, h)], g) for row in q])

    def step(rows, others, dim=1, least=False, alike=torch.mm):
        table = alike(rows, others.T)
        return table.argmin(dim=dim) if least else table.argmax(dim=dim)

    def made(queries, hub, gallery, first=unit, second=unit, then=lambda q, h, near: h[near], one=None, two=None):
        near = step(queries, first(hub), **(one or {}))
        return step(then(queries, hub, near), second(gallery), **(two or {}))

    def apart(rows, others):
        return -torch.cdist(rows, others.T)

    def all_ways(queries, hub, gallery, mix):
        q, h, g = unit(queries), unit(hub), unit(gallery)
        return mix(q @ h.T, h @ g.T).argmax(dim=1)

    plain = Tensor.clone
    straight = "That goes straight to the gallery: go to the hub first"
    hub_only = "Those are rows of the hub: from there, one more step leads to the gallery"
    all_at_once = "All rows of the hub have a say here: take the nearest one alone, and go on from it"
    best = "That is the best of all ways together: the first step goes to the nearest row, wherever that leads"
    long = "Long rows win: the cosine divides by the lengths of {}"
    mistakes = [
        (straight, lambda q, h, g: step(q, unit(g))),
        (straight + ", and divide by the lengths", lambda q, h, g: step(q, g)),
        (hub_only, lambda q, h, g: step(q, unit(h))),
        (hub_only, lambda q, h, g: step(unit(g)[step(q, unit(g))], unit(h))),
        (long.format("hub and of gallery"), partial(made, first=plain, second=plain)),
        (long.format("the hub's rows, too"), partial(made, first=plain)),
        (long.format("the gallery's rows, too"), partial(made, second=plain)),
        ("Nearest is the largest cosine, and not the smallest distance of rows as they are",
         partial(made, first=plain, second=plain, one={"alike": apart}, two={"alike": apart})),
        ("Those are the farthest in both steps: the largest cosine is the nearest",
         partial(made, one={"least": True}, two={"least": True})),
        ("The first step goes to the farthest row of the hub", partial(made, one={"least": True})),
        ("The second step goes to the farthest row of the gallery", partial(made, two={"least": True})),
        ("The first step looks for a query for each row of the hub: look along the other dimension",
         partial(made, one={"dim": 0}, then=lambda q, h, near: h)),
        ("The second step looks for a query for each row of the gallery: look along the other dimension",
         partial(made, two={"dim": 0})),
        (all_at_once, partial(all_ways, mix=lambda qh, hg: qh @ hg)),
        (all_at_once, partial(all_ways, mix=lambda qh, hg: qh.softmax(dim=1) @ hg)),
        (best, partial(all_ways, mix=lambda qh, hg: (qh[:, :, None] + hg).amax(dim=1))),
        (best, partial(all_ways, mix=lambda qh, hg: (qh[:, :, None] * hg).amax(dim=1))),
        ("Those are the rows of the gallery: their numbers are asked for", lambda q, h, g: g[made(q, h, g)]),
        ("Those are the cosines: the numbers of the rows are asked for",
         lambda q, h, g: (unit(h[step(q, unit(h))]) @ unit(g).T).amax(dim=1)),
    ]  # fmt: skip
    queries = tensor([[1.0, 0.1], [0.2, 1.0], [-0.5, 0.9]])
    hub = tensor([[0.8, 0.6], [0.28, 0.96], [-0.96, 0.28], [-0.3, -1.0]])
    gallery = tensor([[1.0, 0.0], [-0.6, 0.8], [0.1, 1.0], [0.5, 0.6], [-1.0, -0.1]])
    near = unit_rows(2, 6, 7, WIDE)
    near = torch.cat([near, near[:1] + 1e-6 * near[1:], near[:1] - 2e-6 * near[1:]])
    cases = [
        ("three queries", "three queries, four rows in the hub, five in the gallery", queries, hub, gallery),
        ("rows of all lengths", "rows between 0.1 and 10 long", _long(unit_rows(6, 4, 0)), _long(unit_rows(7, 4, 1)),
         _long(unit_rows(9, 4, 2))),
        ("one query", "a single query", unit_rows(1, 3, 3), _long(unit_rows(5, 3, 4)), _long(unit_rows(6, 3, 5))),
        ("a hub of one row", "a hub through which all go alike", queries, hub[1:2], gallery),
        ("a small gallery", "more queries than rows in the hub, and more there than in the gallery",
         unit_rows(12, 5, 8), _long(unit_rows(6, 5, 9)), _long(unit_rows(3, 5, 10))),
        ("float64", "rows so near to each other that float32 confuses them", near[[3, 0, 2, 1]], near[[2, 0, 3, 1]],
         near),
        ("not contiguous", "rows whose numbers lie apart in memory", unit_rows(40, 8, 11),
         _long(unit_rows(30, 8, 12)), _long(unit_rows(50, 8, 13))),
    ]  # fmt: skip
    return check("detour queries hub gallery", answer, right, cases, mistakes)


def relative(answer: Callable) -> Result:
    """Check `relative(z, anchors, keep, power)`: (B, N), the cosines of z's rows (B, d) with the anchors (N, d), but
    0 for those below 0 and for all but the `keep` largest of each row; to that power; then rows of length 1."""

    def right(z, anchors, keep, power):
        rows = []
        for row in z.tolist():
            products = [sum(map(lambda p, q: p * q, row, own)) / math.hypot(*own) for own in anchors.tolist()]
            found = [x / math.hypot(*row) for x in products]
            least = sorted(found)[-keep]
            kept = [x**power if x >= max(least, 0) else 0.0 for x in found]
            rows.append([x / (math.hypot(*kept) or 1) for x in kept])
        return tensor(rows, dtype=z.dtype)

    def cosines(z, anchors):
        return unit(z) @ unit(anchors).T

    def largest(table, keep, by=None, dim=1, least=False):
        """The table, with 0 for all but the largest of each row."""
        places = (table if by is None else by).topk(keep, dim=dim, largest=not least).indices
        return torch.zeros_like(table).scatter(dim, places, table.gather(dim, places))

    def made(z, anchors, keep, power, table=cosines, cut=torch.relu, kept=largest, to=torch.pow, last=unit):
        return last(to(kept(cut(table(z, anchors)), keep), power))

    def by_size(z, anchors, keep, power):
        table = cosines(z, anchors)
        return unit(largest(table, keep, by=table.abs()).relu() ** power)

    def in_order(z, anchors, keep, power):
        return unit(cosines(z, anchors).relu().topk(keep, dim=1).values ** power)

    def over_the_norm(table):
        return table / table.norm(dim=1, keepdim=True)

    def cut_last(z, anchors, keep, power):
        return unit((largest(cosines(z, anchors), keep) ** power).relu())

    def softmax(table, power):
        return (power * table).masked_fill(table == 0, -math.inf).softmax(dim=1).nan_to_num()

    def power_last(z, anchors, keep, power):
        return unit(largest(cosines(z, anchors).relu(), keep)) ** power

    def straight(z, anchors):
        return unit(-torch.cdist(z, anchors))

    negative = "What is below 0 counts as 0, before the power: an even power would make it positive"
    length = "The anchors' lengths count: a cosine divides by them"
    not_sum = "The rows have length 1, which is the root of the sum of squares, and not sum 1"
    exponent = "The power is the exponent of each cosine: {}"
    mistakes = [
        ("The largest are kept, and not the largest in absolute value: the opposite of near is not near", by_size),
        ("What is below 0 counts as 0, and not as its absolute value", partial(made, cut=torch.abs)),
        (negative, partial(made, cut=torch.clone)),
        (negative, cut_last),
        ("For each row its own largest are kept: these are the largest of each anchor",
         partial(made, kept=partial(largest, dim=0))),
        ("Those are the smallest of each row: the largest are kept",
         partial(made, kept=partial(largest, least=True))),
        ("All cosines are kept: the keep largest of each row are asked for", partial(made, kept=lambda t, keep: t)),
        ("Each number stays in the place of its anchor: these stand in the order of their size", in_order),
        ("The rows are not brought to length 1 at the end", partial(made, last=torch.clone)),
        (not_sum, partial(made, last=partial(normalize, p=1, dim=1))),
        ("The rows are divided by their largest: bring them to length 1",
         partial(made, last=partial(normalize, p=math.inf, dim=1))),
        ("Each column is brought to length 1, and not each row", partial(made, last=partial(normalize, dim=0))),
        ("Length 1 comes last, after the power", power_last),
        ("A row without a positive cosine has length 0, and 0 / 0 is nan: leave it 0",
         partial(made, last=over_the_norm)),
        (length, partial(made, table=lambda z, anchors: z @ anchors.T)),
        (length, partial(made, table=lambda z, anchors: unit(z) @ anchors.T)),
        ("Those are distances: cosines are asked for", partial(made, table=straight, cut=lambda t: 1 + t)),
        (exponent.format("this is a softmax"), partial(made, to=softmax)),
        (exponent.format("this is a softmax, and brought to sum 1"), partial(made, to=softmax, last=torch.clone)),
        (exponent.format("without it, or with a factor in its place, the rows point elsewhere"),
         partial(made, to=torch.mul)),
        (exponent.format("here it is the base"),
         partial(made, to=lambda table, power: (power**table).masked_fill(table == 0, 0))),
        (exponent.format("this is the root"), partial(made, to=lambda table, power: table ** (1 / power))),
    ]  # fmt: skip
    z = tensor([[1.0, 0.0], [0.6, 0.8], [-0.28, 0.96], [0.8, -0.6]])
    anchors = tensor([[0.8, 0.6], [-1.0, 0.0], [0.28, 0.96], [0.96, 0.28], [-0.6, -0.8], [0.6, 0.8]])
    away = tensor([[-3.0, -1.0], [1.0, 2.0], [-1.0, -1.0]])
    corner = tensor([[1.0, 0.2], [0.3, 2.0], [1.5, 0.9]])
    cases = [
        ("four and six", "the table of four rows and six anchors, of which two are kept", z, anchors, 2, 2),
        ("rows of all lengths", "the table of rows and anchors whose lengths differ", _long(unit_rows(6, 4, 0)),
         _long(unit_rows(8, 4, 1)), 3, 3.0),
        ("one row", "the table of a single row, of which one number is kept", unit_rows(1, 3, 2),
         unit_rows(5, 3, 3), 1, 8),
        ("all kept", "the table, where as many are kept as there are", _long(unit_rows(5, 4, 4)),
         unit_rows(6, 4, 5), 6, 4),
        ("far from all", "the table, where two rows have no positive cosine", away, corner, 2, 1.0),
        ("far from all again", "the table of one row without a positive cosine", away[:1].clone(), corner, 1, 2),
        ("power 0.5", "the table at a power below 1", _long(unit_rows(7, 3, 6)), unit_rows(9, 3, 7), 4, 0.5),
        ("float64", HALF, 3 * unit_rows(6, 5, 8, WIDE), 9 * unit_rows(12, 5, 9, WIDE), 4, 6.5),
        ("not contiguous", "the table of rows whose numbers lie apart in memory", unit_rows(20, 6, 10),
         _long(unit_rows(30, 6, 11)), 5, 8),
    ]  # fmt: skip
    return check("relative z anchors keep power", answer, right, cases, mistakes)


KINDS = nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm


class _Model(nn.Sequential):
    """Layers one after the other, shown by what is said of them, and equal to a copy: an answer gets one."""

    def __init__(self, said: str, *layers: nn.Module | OrderedDict):
        super().__init__(*layers)
        self.said = said

    def __repr__(self) -> str:
        return self.said

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Model) and self.said == other.said

    __hash__ = nn.Module.__hash__


def _told(answer: Callable, model: nn.Module) -> Tensor:
    """What an answer does with a model, in numbers, for the engine compares those: of each weight how often it is
    returned, and whether it can learn; last, how many tensors are returned that are none of the model's weights."""
    model = copy.deepcopy(model)
    weights = list(model.parameters())
    given = answer(model)
    if given is None or given is ... or isinstance(given, Tensor):
        return given
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"a list is to be returned, and this is: {type(given).__name__}")
    for one in given:
        if not isinstance(one, Tensor):
            raise TypeError(f"the list is to hold weights, and in it is: {type(one).__name__}")
    times = [sum(one is weight for one in given) for weight in weights]
    rows = [[count, weight.requires_grad] for count, weight in zip(times, weights, strict=True)]
    return tensor([*rows, [len(given) - sum(times), False]])


def tent_parameters(answer: Callable) -> Result:
    """Check `tent_parameters(model)`: the weights and biases of the normalisation layers, each once, with
    requires_grad on, and off for all others."""

    def right(model):
        found = []
        for name, weight in model.named_parameters():
            of_norm = isinstance(model.get_submodule(name.rpartition(".")[0]), KINDS)
            weight.requires_grad = of_norm
            found += [weight] * of_norm
        return found

    def of_norms(model, kinds=KINDS, names=("weight", "bias")):
        layers = [layer for layer in model.modules() if isinstance(layer, kinds)]
        return [getattr(layer, name) for layer in layers for name in names if getattr(layer, name, None) is not None]

    def made(model, chosen=of_norms, off=True, on=True, give=lambda model, found: found):
        found = chosen(model)
        if off:
            model.requires_grad_(False)
        for weight in found:
            weight.requires_grad_(on or weight.requires_grad)
        return give(model, found)

    def all_of(model, found=()):
        return list(model.parameters())

    def by_name(model):
        return [weight for name, weight in model.named_parameters() if "norm" in name]

    def outermost(model):
        return [weight for layer in model.children() if isinstance(layer, KINDS) for weight in layer.parameters()]

    def each_use(model):
        layers = [layer for _, layer in model.named_modules(remove_duplicate=False) if isinstance(layer, KINDS)]
        return [weight for layer in layers for weight in layer.parameters()]

    def others_off(model):
        found = of_norms(model)
        for weight in model.parameters():
            if not any(weight is one for one in found):
                weight.requires_grad_(False)
        return found

    def other_way_round(model):
        found = of_norms(model)
        for weight in model.parameters():
            weight.requires_grad_(not any(weight is one for one in found))
        return found

    def with_buffers(model, found):
        return found + [rows for layer in model.modules() if isinstance(layer, KINDS) for rows in layer.buffers()]

    batch = nn.BatchNorm1d, nn.BatchNorm2d
    some = [tuple({*KINDS} - {kind}) for kind in KINDS[2:]]
    some += [(*batch, nn.LayerNorm)]
    everything = "The list holds all weights of the model: only those of its normalisation layers adapt"
    trainable = "The convolution's weight is still trainable: turn requires_grad off for all but what you return"
    only_batch = "Only BatchNorm is looked for: GroupNorm, LayerNorm and InstanceNorm normalise as well"
    missing = "A kind is missing: there are BatchNorm, InstanceNorm, GroupNorm, LayerNorm and RMSNorm"
    name = "A layer may have any name: ask for its class, with isinstance"
    copies = "Those are copies, which the model does not follow: return its own weights"
    mistakes = [
        (everything, partial(made, chosen=all_of)),
        (everything, partial(made, give=all_of)),
        (trainable, partial(made, off=False)),
        (trainable, partial(made, off=False, on=False)),
        ("Only the weights are there: a normalisation layer may have a bias, too",
         partial(made, chosen=partial(of_norms, names=["weight"]))),
        ("Only the biases are there: a normalisation layer may have a weight, too",
         partial(made, chosen=partial(of_norms, names=["bias"]))),
        *((only_batch, partial(made, chosen=partial(of_norms, kinds=kinds))) for kinds in (batch, batch[1])),
        *((missing, partial(made, chosen=partial(of_norms, kinds=kinds))) for kinds in some),
        (name, partial(made, chosen=by_name)),
        ("Biases of other layers have one dimension, too: ask for the class of the layer",
         partial(made, chosen=lambda model: [weight for weight in model.parameters() if weight.ndim == 1])),
        ("What is returned is frozen, and could not adapt: turn requires_grad on for it", partial(made, on=False)),
        ("A model may come frozen: turn requires_grad on for what you return", others_off),
        ("It is the other way round: what is returned is to learn, and nothing else", other_way_round),
        ("Layers lie within layers: children() are the outermost alone, modules() are all",
         partial(made, chosen=outermost)),
        ("A layer that is used twice is returned twice: give each weight once", partial(made, chosen=each_use)),
        ("Running averages are buffers and no weights: leave them out", partial(made, give=with_buffers)),
        (copies, partial(made, give=lambda model, found: [weight.detach() for weight in found])),
        ("The list is empty, and the model as it should be: return what you turned on",
         partial(made, give=lambda model, found: [])),
    ]  # fmt: skip

    def case(title, said, layers, *parts):
        model = _Model(layers, *parts)
        names = [*(name for name, _ in model.named_parameters()), "what is none of these"]
        rows = ", ".join(f"{at} is {name}" for at, name in enumerate(names))
        return title, f"{said}. Of the rows, {rows}; each says how often it is returned, and whether it learns", model

    with torch.random.fork_rng(devices=[]):
        norm, half = nn.LayerNorm(4), nn.Sequential(nn.Linear(4, 4), nn.GroupNorm(1, 4))
        head = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2))
        deep = nn.Sequential(nn.BatchNorm2d(4), nn.InstanceNorm2d(4, affine=True))
        named = OrderedDict(
            norm_in=nn.Linear(3, 4), scale=nn.LayerNorm(4), bn=nn.Linear(4, 4), end=nn.GroupNorm(1, 4)
        )
        cases = [
            case("a convolution", "What is left to learn beside a convolution", "Conv2d, BatchNorm2d, ReLU, Linear",
                 nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Linear(4, 2)),
            case("group norm", "What is left to learn in two other kinds", "Conv2d, GroupNorm, InstanceNorm2d",
                 nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)),
            case("two kinds", "What is left to learn in two kinds at once", "Linear, LayerNorm, Linear, BatchNorm1d",
                 nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3), nn.BatchNorm1d(3)),
            case("without weights", "What is left to learn, where there is no weight, or no bias",
                 "Conv2d, BatchNorm2d(affine=False), LayerNorm(bias=False)",
                 nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.LayerNorm(4, bias=False)),
            case("frozen before", "What learns in a model that was frozen", "Linear, LayerNorm, Linear, all frozen",
                 *nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).requires_grad_(False)),
            case("frozen in part", "What learns in a model of which a part was frozen",
                 "Linear, BatchNorm1d (frozen), Linear",
                 nn.Linear(3, 4), nn.BatchNorm1d(4).requires_grad_(False), nn.Linear(4, 2)),
            case("a layer used twice", "What is left to learn, where one layer stands in two places",
                 "Linear, LayerNorm, Linear, the same LayerNorm", nn.Linear(4, 4), norm, nn.Linear(4, 4), norm),
            case("a block used twice", "What is left to learn, where one block stands in two places",
                 "Sequential(Linear, GroupNorm), Linear, the same Sequential", half, nn.Linear(4, 4), half),
            case("blocks within blocks", "What is left to learn in blocks within blocks",
                 "Conv2d, Sequential(Conv2d, Sequential(BatchNorm2d, InstanceNorm2d)), Sequential(LayerNorm, Linear)",
                 nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 1), deep), head),
            case("names that mislead", "What is left to learn, where names say little",
                 "norm_in: Linear, scale: LayerNorm, bn: Linear, end: GroupNorm", named),
        ]  # fmt: skip
    told = [(says, partial(_told, mistake)) for says, mistake in mistakes]
    return check("tent_parameters model", through(_told, answer), partial(_told, right), cases, told)
