"""What learners write for the checks of lesson 08: right answers in other ways, and mistakes in their own words."""

import torch
import torch.nn.functional as F
from torch import nn

from xlib import bridge


# Right answers, in several styles.
def by_angles(a, b):
    alpha, beta = torch.arccos(a), torch.arccos(b)
    least, most = torch.cos(alpha + beta), torch.cos(alpha - beta)
    return torch.stack([least, (least + most) / 2, most])


def pair_by_pair(a, b):
    columns = []
    for p, q in zip(a, b, strict=True):
        off = torch.sqrt(1 - p**2) * torch.sqrt(1 - q**2)
        columns.append(torch.stack([p * q - off, p * q, p * q + off]))
    return torch.stack(columns, dim=1)


def from_xlib(a, b):
    return torch.stack(tuple(bridge.cosine_range(a, b)))


def two_steps(queries, hub, gallery):
    caption = F.normalize(hub, dim=1)[(queries @ F.normalize(hub, dim=1).T).argmax(dim=1)]
    return (caption @ F.normalize(gallery, dim=1).T).argmax(dim=1)


def query_by_query(queries, hub, gallery):
    found = []
    for query in queries:
        caption = hub[F.cosine_similarity(query[None], hub).argmax()]
        found.append(F.cosine_similarity(caption[None], gallery).argmax())
    return torch.stack(found)


def all_ways_first(queries, hub, gallery):
    onwards = F.cosine_similarity(hub[:, None], gallery[None], dim=2).argmax(dim=1)
    return onwards[F.cosine_similarity(queries[:, None], hub[None], dim=2).argmax(dim=1)]


def by_cdist(queries, hub, gallery):
    """Of unit vectors, the nearest by distance has the largest cosine; float32 would lose what is near."""
    queries, hub, gallery = (F.normalize(rows.double(), dim=1) for rows in (queries, hub, gallery))
    near = torch.cdist(queries, hub).argmin(dim=1)
    return torch.cdist(hub[near], gallery).argmin(dim=1)


def by_threshold(z, anchors, keep, power):
    cosines = F.cosine_similarity(z[:, None], anchors[None], dim=2)
    least = cosines.sort(dim=1, descending=True).values[:, keep - 1 : keep]
    kept = torch.where((cosines >= least) & (cosines > 0), cosines, 0)
    return F.normalize(torch.where(kept > 0, kept**power, 0), dim=1)


def row_by_row(z, anchors, keep, power):
    rows = []
    for x in z:
        cosines = (F.normalize(anchors, dim=1) @ x / x.norm()).clamp(min=0)
        row = torch.zeros_like(cosines)
        near = cosines.argsort(descending=True)[:keep]
        row[near] = cosines[near] ** power
        rows.append(row / row.norm() if row.norm() > 0 else row)
    return torch.stack(rows)


def power_first(z, anchors, keep, power):
    """The power changes no order, once nothing is below 0; nor does the length of z."""
    powers = (z / z.norm(dim=1, keepdim=True) @ F.normalize(anchors, dim=1).T).clamp(min=0) ** power
    values, places = powers.topk(keep)
    return F.normalize(torch.zeros_like(powers).scatter_(1, places, values))


NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm


def one_loop(model):
    model.requires_grad_(False)
    found = []
    for layer in model.modules():
        if isinstance(layer, NORMS):
            layer.requires_grad_(True)
            found += layer.parameters()
    return found


def by_class_name(model):
    found = {}
    for layer in model.modules():
        for weight in layer.parameters(recurse=False):
            weight.requires_grad = "Norm" in type(layer).__name__
            if weight.requires_grad:
                found[id(weight)] = weight
    return list(found.values())


def in_a_tuple(model):
    return tuple(bridge.norm_parameters(model))


def filtered(model):
    for layer in model.modules():
        if not list(layer.children()):
            layer.requires_grad_(isinstance(layer, NORMS))
    return [weight for weight in model.parameters() if weight.requires_grad]


RIGHT = [
    ("cosine_range", by_angles),
    ("cosine_range", pair_by_pair),
    ("cosine_range", from_xlib),
    ("detour", two_steps),
    ("detour", query_by_query),
    ("detour", all_ways_first),
    ("detour", by_cdist),
    ("detour", bridge.detour),
    ("relative", by_threshold),
    ("relative", row_by_row),
    ("relative", power_first),
    ("relative", lambda z, anchors, keep, power: bridge.relative(z, anchors, keep=keep, power=power)),
    ("tent_parameters", one_loop),
    ("tent_parameters", by_class_name),
    ("tent_parameters", in_a_tuple),
    ("tent_parameters", filtered),
]


# The same mistakes as a learner writes them. Lesson 08, exercise 1: the range of the third cosine.
def root(a, b):
    return torch.sqrt((1 - a**2) * (1 - b**2))


def triangle(a, b):
    return torch.stack([a + b - 1, a * b, 1 - abs(a - b)])


def triangle_below(a, b):
    return torch.stack([a + b - 1, a * b, a * b + root(a, b)])


def no_root(a, b):
    off = (1 - a * a) * (1 - b * b)
    return torch.stack([a * b - off, a * b, a * b + off])


def largest_first(a, b):
    return torch.stack([a * b + root(a, b), a * b, a * b - root(a, b)])


def angles_end_at_pi(a, b):
    alpha, beta = a.acos(), b.acos()
    least, most = torch.cos(torch.clamp(alpha + beta, max=torch.pi)), torch.cos(abs(alpha - beta))
    return torch.stack([least, a * b, most])


def mean_in_the_middle(a, b):
    return torch.stack([a * b - root(a, b), torch.stack([a, b]).mean(dim=0), a * b + root(a, b)])


def middle_angle(a, b):
    alpha, beta = a.acos(), b.acos()
    angles = torch.stack([alpha + beta, (alpha + beta + (alpha - beta).abs()) / 2, alpha - beta])
    return angles.cos()


def positive_root(a, b):
    return torch.stack([a * b, a * b, a * b + root(a, b)])


def in_degrees(a, b):
    alpha, beta = torch.rad2deg(a.acos()), torch.rad2deg(b.acos())
    return torch.stack([torch.cos(alpha + beta), a * b, torch.cos(alpha - beta)])


def as_angles(a, b):
    return torch.stack([a.acos() + b.acos(), a * b, abs(a.acos() - b.acos())])


def added_sines(a, b):
    off = torch.sin(a.acos()) + torch.sin(b.acos())
    return torch.stack([a * b - off, a * b, a * b + off])


def anything_goes(a, b):
    return torch.stack([-torch.ones_like(a), a * b, torch.ones_like(a)])


def never_negative(a, b):
    return torch.relu(torch.stack([a * b - root(a, b), a * b, a * b + root(a, b)]))


def a_row_a_pair(a, b):
    return torch.stack([a * b - root(a, b), a * b, a * b + root(a, b)], dim=1)


def three_things(a, b):
    return a * b - root(a, b), a * b, a * b + root(a, b)


def in_float32(a, b):
    return from_xlib(a.float(), b.float()).to(a.dtype)


def one_sine_for_both(a, b):
    off = torch.sqrt(1 - (a * b) ** 2)
    return torch.stack([a * b - off, a * b, a * b + off])


def half_the_root(a, b):
    return torch.stack([a * b - root(a, b) / 2, a * b, a * b + root(a, b) / 2])


# Exercise 2: to the sounds through the captions.
def nearest(rows, others):
    return (F.normalize(rows, dim=1) @ F.normalize(others, dim=1).T).argmax(dim=1)


def straight(queries, hub, gallery):
    return nearest(queries, gallery)


def plain_products(queries, hub, gallery):
    caption = hub[(queries @ hub.T).argmax(dim=1)]
    return (caption @ gallery.T).argmax(dim=1)


def queries_only(queries, hub, gallery):
    caption = hub[(F.normalize(queries, dim=1) @ hub.T).argmax(dim=1)]
    return (F.normalize(caption, dim=1) @ gallery.T).argmax(dim=1)


def gallery_as_it_comes(queries, hub, gallery):
    return (hub[nearest(queries, hub)] @ gallery.T).argmax(dim=1)


def hub_as_it_comes(queries, hub, gallery):
    return nearest(hub[(queries @ hub.T).argmax(dim=1)], gallery)


def which_caption(queries, hub, gallery):
    return nearest(queries, hub)


def farthest(queries, hub, gallery):
    unit = [F.normalize(rows, dim=1) for rows in (queries, hub, gallery)]
    caption = unit[1][(unit[0] @ unit[1].T).argmin(dim=1)]
    return (caption @ unit[2].T).argmin(dim=1)


def smallest_at_last(queries, hub, gallery):
    caption = F.normalize(hub[nearest(queries, hub)], dim=1)
    return (caption @ F.normalize(gallery, dim=1).T).argmin(dim=1)


def over_the_queries(queries, hub, gallery):
    best = (F.normalize(hub[nearest(queries, hub)], dim=1) @ F.normalize(gallery, dim=1).T).argmax(dim=0)
    return best


def columns_of_the_hub(queries, hub, gallery):
    return nearest(hub[:, nearest(queries, hub)].T, gallery)


def gallery_to_hub(queries, hub, gallery):
    return nearest(gallery[nearest(queries, gallery)], hub)


def matrices_alone(queries, hub, gallery):
    queries, hub, gallery = (F.normalize(rows, dim=1) for rows in (queries, hub, gallery))
    return (queries @ hub.T @ hub @ gallery.T).argmax(dim=1)


def a_mixture_of_captions(queries, hub, gallery):
    queries, hub, gallery = (F.normalize(rows, dim=1) for rows in (queries, hub, gallery))
    return (F.softmax(queries @ hub.T, dim=1) @ hub @ gallery.T).argmax(dim=1)


def best_way(queries, hub, gallery):
    queries, hub, gallery = (F.normalize(rows, dim=1) for rows in (queries, hub, gallery))
    ways = (queries @ hub.T)[:, :, None] + (hub @ gallery.T)[None]
    return ways.max(dim=1).values.argmax(dim=1)


def by_distance(queries, hub, gallery):
    caption = hub[torch.cdist(queries, hub).argmin(dim=1)]
    return torch.cdist(caption, gallery).argmin(dim=1)


def sounds_themselves(queries, hub, gallery):
    return gallery[two_steps(queries, hub, gallery)]


def best_cosines(queries, hub, gallery):
    caption = F.normalize(hub[nearest(queries, hub)], dim=1)
    return (caption @ F.normalize(gallery, dim=1).T).max(dim=1)


def places_as_floats(queries, hub, gallery):
    return two_steps(queries, hub, gallery).to(queries.dtype)


def a_list_of_places(queries, hub, gallery):
    return two_steps(queries, hub, gallery).tolist()


def rounded(queries, hub, gallery):
    return two_steps(queries.float(), hub.float(), gallery.float())


# Exercise 3: told by anchors.
def cosine(z, anchors):
    return F.normalize(z, dim=1) @ F.normalize(anchors, dim=1).T


def spread(table, places):
    return torch.zeros_like(table).scatter(1, places, table.gather(1, places))


def largest_of(table, keep):
    return spread(table, table.topk(keep, dim=1).indices)


def by_absolute_value(z, anchors, keep, power):
    table = cosine(z, anchors)
    places = table.abs().topk(keep, dim=1).indices
    return F.normalize(spread(table, places).clamp(min=0) ** power, dim=1)


def opposite_is_near(z, anchors, keep, power):
    return F.normalize(largest_of(cosine(z, anchors).abs(), keep) ** power, dim=1)


def per_anchor(z, anchors, keep, power):
    table = cosine(z, anchors).clamp(min=0)
    values, places = table.topk(keep, dim=0)
    return F.normalize(torch.zeros_like(table).scatter(0, places, values) ** power, dim=1)


def even_powers(z, anchors, keep, power):
    return F.normalize(largest_of(cosine(z, anchors), keep) ** power, dim=1)


def clamped_too_late(z, anchors, keep, power):
    return F.normalize((largest_of(cosine(z, anchors), keep) ** power).clamp(min=0), dim=1)


def of_any_length(z, anchors, keep, power):
    return largest_of(cosine(z, anchors).clamp(min=0), keep) ** power


def shares(z, anchors, keep, power):
    kept = of_any_length(z, anchors, keep, power)
    return kept / kept.sum(dim=1, keepdim=True).clamp(min=1e-12)


def divided_by_zero(z, anchors, keep, power):
    kept = of_any_length(z, anchors, keep, power)
    return kept / kept.norm(dim=1, keepdim=True)


def dot_products(z, anchors, keep, power):
    return F.normalize(largest_of((z @ anchors.T).clamp(min=0), keep) ** power, dim=1)


def anchors_as_they_come(z, anchors, keep, power):
    return F.normalize(largest_of((F.normalize(z, dim=1) @ anchors.T).relu(), keep) ** power, dim=1)


def softmax_of_the_kept(z, anchors, keep, power):
    table = cosine(z, anchors).clamp(min=0)
    values, places = table.topk(keep, dim=1)
    return torch.zeros_like(table).scatter(1, places, F.softmax(power * values, dim=1))


def shrunk(z, anchors, keep, power):
    return F.normalize(cosine(z, anchors).clamp(min=0).topk(keep, dim=1).values ** power, dim=1)


def all_anchors(z, anchors, keep, power):
    return F.normalize(cosine(z, anchors).clamp(min=0) ** power, dim=1)


def power_at_the_end(z, anchors, keep, power):
    return F.normalize(largest_of(cosine(z, anchors).clamp(min=0), keep), dim=1) ** power


def no_power(z, anchors, keep, power):
    return F.normalize(largest_of(cosine(z, anchors).clamp(min=0), keep), dim=1)


def times_the_power(z, anchors, keep, power):
    return F.normalize(power * largest_of(cosine(z, anchors).clamp(min=0), keep), dim=1)


def smallest(z, anchors, keep, power):
    table = cosine(z, anchors)
    return F.normalize(spread(table, table.argsort(dim=1)[:, :keep]).clamp(min=0) ** power, dim=1)


def columns_of_length_one(z, anchors, keep, power):
    return F.normalize(of_any_length(z, anchors, keep, power), dim=0)


def one_more(z, anchors, keep, power):
    return F.normalize(largest_of(cosine(z, anchors).relu(), min(keep + 1, len(anchors))) ** power, dim=1)


def transposed(z, anchors, keep, power):
    return power_first(z, anchors, keep, power).T


# Exercise 4: what may adapt.
def all_weights(model):
    return list(model.parameters())


def all_in_the_list(model):
    bridge.norm_parameters(model)
    return list(model.parameters())


def rest_left_on(model):
    return [weight for layer in model.modules() if isinstance(layer, NORMS) for weight in layer.parameters()]


def scales_only(model):
    model.requires_grad_(False)
    layers = [layer for layer in model.modules() if isinstance(layer, NORMS)]
    return [layer.weight.requires_grad_(True) for layer in layers if layer.weight is not None]


def batch_norm_only(model):
    model.requires_grad_(False)
    found = []
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.requires_grad_(True)
            found.extend(layer.parameters())
    return found


def no_instance_norm(model):
    model.requires_grad_(False)
    kinds = nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm
    layers = [layer.requires_grad_(True) for layer in model.modules() if isinstance(layer, kinds)]
    return [weight for layer in layers for weight in layer.parameters()]


def by_name(model):
    for name, weight in model.named_parameters():
        weight.requires_grad = "norm" in name.lower()
    return [weight for weight in model.parameters() if weight.requires_grad]


def one_dimension(model):
    for weight in model.parameters():
        weight.requires_grad = weight.ndim == 1
    return [weight for weight in model.parameters() if weight.requires_grad]


def frozen_last(model):
    found = one_loop(model)
    model.requires_grad_(False)
    return found


def only_turns_off(model):
    found = rest_left_on(model)
    kept = {id(weight) for weight in found}
    for weight in model.parameters():
        if id(weight) not in kept:
            weight.requires_grad = False
    return found


def the_norms_are_frozen(model):
    model.requires_grad_(True)
    found = rest_left_on(model)
    for weight in found:
        weight.requires_grad = False
    return found


def children_only(model):
    model.requires_grad_(False)
    layers = [layer.requires_grad_(True) for layer in model.children() if isinstance(layer, NORMS)]
    return [weight for layer in layers for weight in layer.parameters()]


def each_place(model):
    if isinstance(model, NORMS):
        return list(model.requires_grad_(True).parameters())
    for weight in model.parameters(recurse=False):
        weight.requires_grad = False
    return [weight for layer in model._modules.values() for weight in each_place(layer)]


def averages_too(model):
    bridge.norm_parameters(model)
    layers = [layer for layer in model.modules() if isinstance(layer, NORMS)]
    return [rows for layer in layers for rows in [*layer.parameters(), *layer.buffers()]]


def of_the_state_dict(model):
    bridge.norm_parameters(model)
    layers = [layer for layer in model.modules() if isinstance(layer, NORMS)]
    return [layer.state_dict()[name] for layer in layers for name in ("weight", "bias") if name in layer.state_dict()]


def no_weight_to_turn_on(model):
    model.requires_grad_(False)
    found = []
    for layer in model.modules():
        if isinstance(layer, NORMS):
            layer.weight.requires_grad = True
            layer.bias.requires_grad = True
            found += [layer.weight, layer.bias]
    return found


def names_of_weights(model):
    bridge.norm_parameters(model)
    return [name for name, weight in model.named_parameters() if weight.requires_grad]


def the_model_itself(model):
    bridge.norm_parameters(model)
    return model


def nothing_comes_back(model):
    bridge.norm_parameters(model)
    return []


def with_the_last_layer(model):
    found, *_, last = bridge.norm_parameters(model), *model.parameters()
    last.requires_grad = True
    return found if any(last is weight for weight in found) else [*found, last]


WRONG = [
    ("cosine_range", triangle, "four pairs", "no triangle inequality"),
    ("cosine_range", triangle_below, "four pairs", "no triangle inequality"),
    ("cosine_range", no_root, "four pairs", "A length is a root"),
    ("cosine_range", largest_first, "four pairs", "The least comes first"),
    ("cosine_range", angles_end_at_pi, "beyond 180°", "come near again on the other side"),
    ("cosine_range", mean_in_the_middle, "four pairs", "the middle is not their mean"),
    ("cosine_range", middle_angle, "four pairs", "not in the middle of the angles"),
    ("cosine_range", positive_root, "four pairs", "The root goes both ways"),
    ("cosine_range", in_degrees, "four pairs", "nothing is in degrees"),
    ("cosine_range", as_angles, "four pairs", "Those are angles"),
    ("cosine_range", added_sines, "four pairs", "multiplied, as in every dot product"),
    ("cosine_range", one_sine_for_both, "four pairs", "one root for x and one for y"),
    ("cosine_range", anything_goes, "four pairs", "say more than nothing"),
    ("cosine_range", never_negative, "four pairs", "may be below 0"),
    ("cosine_range", a_row_a_pair, "four pairs", "Rows and columns are exchanged"),
    ("cosine_range", three_things, "four pairs", "Several things came back"),
    ("cosine_range", in_float32, "float64", "nine digits"),
    ("cosine_range", half_the_root, "four pairs", "the three cosines of four pairs"),
    ("detour", straight, "three queries", "That goes straight to the gallery"),
    ("detour", plain_products, "three queries", "the lengths of hub and of gallery"),
    ("detour", queries_only, "three queries", "the lengths of hub and of gallery"),
    ("detour", gallery_as_it_comes, "three queries", "the lengths of the gallery's rows"),
    ("detour", hub_as_it_comes, "rows of all lengths", "the lengths of the hub's rows"),
    ("detour", which_caption, "three queries", "Those are rows of the hub"),
    ("detour", farthest, "three queries", "the farthest in both steps"),
    ("detour", smallest_at_last, "three queries", "The second step goes to the farthest"),
    ("detour", over_the_queries, "three queries", "look along the other dimension"),
    ("detour", columns_of_the_hub, "three queries", "raised IndexError"),
    ("detour", gallery_to_hub, "three queries", "Those are rows of the hub"),
    ("detour", matrices_alone, "three queries", "take the nearest one alone"),
    ("detour", a_mixture_of_captions, "three queries", "take the nearest one alone"),
    ("detour", best_way, "three queries", "the best of all ways together"),
    ("detour", by_distance, "rows of all lengths", "not the smallest distance"),
    ("detour", sounds_themselves, "three queries", "Those are the rows of the gallery"),
    ("detour", best_cosines, "three queries", "expected a tensor of shape (3,), got max"),
    ("detour", places_as_floats, "three queries", "expected torch.int64, got torch.float32"),
    ("detour", a_list_of_places, "three queries", "expected a tensor of shape (3,), got list"),
    ("detour", rounded, "float64", "float32 confuses them"),
    ("relative", by_absolute_value, "four and six", "not the largest in absolute value"),
    ("relative", opposite_is_near, "four and six", "not as its absolute value"),
    ("relative", per_anchor, "four and six", "the largest of each anchor"),
    ("relative", even_powers, "all kept", "an even power would make it positive"),
    ("relative", clamped_too_late, "all kept", "an even power would make it positive"),
    ("relative", of_any_length, "four and six", "not brought to length 1"),
    ("relative", shares, "four and six", "not sum 1"),
    ("relative", divided_by_zero, "far from all", "0 / 0 is nan"),
    ("relative", dot_products, "rows of all lengths", "The anchors' lengths count"),
    ("relative", anchors_as_they_come, "rows of all lengths", "The anchors' lengths count"),
    ("relative", softmax_of_the_kept, "four and six", "this is a softmax"),
    ("relative", shrunk, "four and six", "in the order of their size"),
    ("relative", all_anchors, "four and six", "All cosines are kept"),
    ("relative", power_at_the_end, "four and six", "Length 1 comes last"),
    ("relative", no_power, "four and six", "with a factor in its place"),
    ("relative", times_the_power, "four and six", "with a factor in its place"),
    ("relative", smallest, "four and six", "the smallest of each row"),
    ("relative", columns_of_length_one, "four and six", "Each column is brought to length 1"),
    ("relative", one_more, "four and six", "of which two are kept"),
    ("relative", transposed, "four and six", "Rows and columns are exchanged"),
    ("tent_parameters", all_weights, "a convolution", "The list holds all weights"),
    ("tent_parameters", all_in_the_list, "a convolution", "The list holds all weights"),
    ("tent_parameters", rest_left_on, "a convolution", "The convolution's weight is still trainable"),
    ("tent_parameters", scales_only, "a convolution", "Only the weights are there"),
    ("tent_parameters", batch_norm_only, "group norm", "Only BatchNorm is looked for"),
    ("tent_parameters", no_instance_norm, "group norm", "A kind is missing"),
    ("tent_parameters", by_name, "a convolution", "ask for its class"),
    ("tent_parameters", one_dimension, "a convolution", "have one dimension, too"),
    ("tent_parameters", frozen_last, "a convolution", "What is returned is frozen"),
    ("tent_parameters", only_turns_off, "frozen before", "A model may come frozen"),
    ("tent_parameters", the_norms_are_frozen, "a convolution", "the other way round"),
    ("tent_parameters", children_only, "a block used twice", "Layers lie within layers"),
    ("tent_parameters", each_place, "a layer used twice", "returned twice"),
    ("tent_parameters", averages_too, "a convolution", "Running averages are buffers"),
    ("tent_parameters", of_the_state_dict, "a convolution", "Those are copies"),
    (
        "tent_parameters",
        no_weight_to_turn_on,
        "without weights",
        "'NoneType' object has no attribute 'requires_grad'",
    ),
    ("tent_parameters", names_of_weights, "a convolution", "the list is to hold weights, and in it is: str"),
    ("tent_parameters", the_model_itself, "a convolution", "a list is to be returned"),
    ("tent_parameters", nothing_comes_back, "a convolution", "The list is empty"),
    ("tent_parameters", with_the_last_layer, "a convolution", "5 is 3.bias"),
]
