"""Emoji and their names: CLIP on fixed features, in one domain and across several, and how both are measured."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate, dann, encoders
from xlib.contrastive import LogitScale, info_nce
from xlib.course import training
from xlib.course.runtime import to_device
from xlib.data import digits, emoji
from xlib.experiments.adapt import Batches, adapt
from xlib.retrieval import hits


def train_emoji(
    features: Tensor,
    names: Tensor,
    *,
    seed: int = 0,
    steps: int = 320,
    batch: int = 128,
    device: torch.device | str = "cpu",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 40,
    live: Callable[[training.Run], None] | None = None,
) -> tuple[nn.ModuleDict, training.Run]:
    """CLIP on emoji: both towers stand on fixed features, and are small enough for a thousand pairs.

    features: (S, N, D) float32, `encoders.edges_and_colours` of N emoji in S styles. names: (N, 384) float32,
    MiniLM's features of their names. Both of the emoji to train on, and no others.
    Returns the model, with parts "image", "text" and "scale", in evaluation mode on `device`, and its Run.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> features, names = torch.rand(2, 8, 20, generator=generator), torch.rand(8, 384, generator=generator)
        >>> model, run = train_emoji(features, names, steps=2)  # 8 emoji in 2 styles
        >>> model["image"](features[0]).shape, run.step
        (torch.Size([8, 128]), 2)
    """
    towers = emoji_model(seed, features, names)
    image = nn.Sequential(*towers["features"], *towers["image"])
    model = nn.ModuleDict({"image": image, "text": towers["text"], "scale": towers["scale"]}).to(device)
    features, names = to_device(features, device), to_device(names, device)
    generator = torch.Generator(device).manual_seed(seed)

    def loss(step: int) -> Tensor:
        chosen = torch.randperm(len(names), generator=generator, device=device)[:batch]
        style = torch.randint(len(features), (len(chosen),), generator=generator, device=device)
        za = F.normalize(model["image"](features[style, chosen]), dim=1)
        zb = F.normalize(model["text"](names[chosen]), dim=1)
        return info_nce(za, zb, logit_scale=model["scale"]())

    watched = {"snapshot": None if snapshot is None else lambda: snapshot(model), "every": every, "live": live}
    return model, training.fit_one_cycle(
        model, loss, steps=steps, rate=2e-3, decay=0.1, generator=generator, title="CLIP on emoji", **watched
    )


EMOJI_GUESSES = ("clouds", "specks", "clouds behind")
EMOJI_SIDE = 32  # pixels of an emoji, each way, where domains are compared


def emoji_features(
    icons: emoji.Emoji, domain: str, *, split: str = "train", copies: int = 1, side: int = EMOJI_SIDE
) -> Tensor:
    """`encoders.edges_and_colours` of all N emoji in one domain: (styles × copies, N, 1088).

    domain: "colour" (OpenMoji and Twemoji on white); "line" (OpenMoji's lines); "noto" (black and white);
    "photographs" (the two in colour, times .4 + .6 · a random patch of a photograph). And three guesses at it, by
    somebody who has none: "clouds" (the same, with `clouds` in place of photographs); "specks" (the same, with
    a random number for each pixel and channel); "clouds behind" (the emoji covers what is behind it). copies: of
    photographs and guesses, each on other backgrounds.
    split: which photographs, "train" or "test". side: of the pictures, 32 or 64 pixels.
    Some 0.4 s for each copy of a style at 32.
    Raises ValueError for another domain, split or side.

    Example:
        >>> blank = dict.fromkeys(emoji.STYLES, torch.zeros(3, 4, 64, 64, dtype=torch.uint8))
        >>> emoji_features(emoji.Emoji([], {}, None, [], None, blank), "photographs", copies=2).shape
        torch.Size([4, 3, 1088])
    """
    _validate.choice("side", side, (32, 64))
    _validate.choice("domain", domain, ("colour", "line", "noto", "photographs", *EMOJI_GUESSES))
    _validate.choice("split", split, digits.SPLITS)
    styles = {"line": ("openmoji-line",), "noto": ("noto",)}.get(domain, ("openmoji", "twemoji"))
    generator = torch.Generator().manual_seed(digits.SPLITS.index(split))
    photos = digits.photographs(split)
    through = {  # what shines through an emoji, as through a slide
        "photographs": lambda n: digits.random_patches(photos, n, height=side, width=side, generator=generator),
        "clouds": lambda n: clouds(n, side, generator=generator),
        "specks": lambda n: torch.rand(n, 3, side, side, generator=generator),
    }
    features = []
    for _ in range(copies):
        for style in styles:
            rgba = icons.images[style]
            white = torch.ones(len(rgba), 1, 1, 1)
            behind = clouds(len(rgba), 64, generator=generator) if domain == "clouds behind" else white
            parts = zip(rgba.split(128), behind.split(128), strict=True)  # all at once take some 300 MB
            images = torch.cat([F.avg_pool2d(emoji.on_background(*part), 64 // side) for part in parts])
            if domain in through:
                images = images * (0.4 + 0.6 * through[domain](len(images)))
            features.append(torch.cat([encoders.edges_and_colours(part) for part in images.split(128)]))
    return torch.stack(features)


def clouds(count: int, size: int, *, generator: torch.Generator) -> Tensor:
    """Random smooth pictures (count, 3, size, size) in [0, 1]: noise whose amplitude falls as 1 / frequency.

    That is how the amplitude falls in most photographs (Field 1987, J. Opt. Soc. Am. A 4), so clouds are a guess at a
    photograph's rough look by somebody who has none. Brightness and contrast are drawn for each picture.

    Example:
        >>> pictures = clouds(100, 32, generator=torch.Generator().manual_seed(0))
        >>> power = torch.fft.rfft2(pictures).abs().mean(dim=(0, 1))[0]
        >>> (power[1] / power[4]).item()  # falls to a quarter at four times the frequency
        4.0
    """
    device = generator.device
    noise = torch.randn(count, 3, size, size, generator=generator, device=device)
    noise += 2 * torch.randn(count, 1, size, size, generator=generator, device=device)  # colours mostly agree
    down, across = torch.fft.fftfreq(size, device=device), torch.fft.rfftfreq(size, device=device)
    frequency = torch.hypot(down[:, None], across).clamp(min=1 / size)
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(size, size))
    smooth = smooth / smooth.std(dim=(1, 2, 3), keepdim=True)
    brightness, contrast = torch.rand(2, count, 1, 1, 1, generator=generator, device=device)
    return (brightness + 0.35 * contrast * smooth).clamp(0, 1)


def emoji_model(seed: int, features: Tensor, names: Tensor) -> nn.ModuleDict:
    """The towers of `train_emoji`, with features to align: "features" (N, 512), "image" (features to (N, 128)),
    "text", "scale". features (..., 1088) and names (M, 384): those trained on, whose mean is taken off.

    Example:
        >>> features, names = torch.rand(2, 5, 1088), torch.rand(5, 384)  # 5 emoji in 2 styles
        >>> model = emoji_model(0, features, names)
        >>> model["image"](model["features"](features[0])).shape
        torch.Size([5, 128])
    """
    torch.manual_seed(seed)
    hidden = [nn.Linear(features.shape[-1], 512), nn.LayerNorm(512), nn.GELU()]
    return nn.ModuleDict(
        {
            "features": nn.Sequential(
                encoders.Centre(features.flatten(0, -2).mean(dim=0)), nn.Dropout(0.25), *hidden
            ),
            "image": nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 128)),
            "text": nn.Sequential(
                encoders.Centre(names.mean(dim=0)), nn.Dropout(0.2), nn.Linear(names.shape[1], 128)
            ),
            "scale": LogitScale(),
        }
    )


def adapt_emoji(
    start: nn.ModuleDict,
    source: Tensor,
    target: Tensor | None,
    names: Tensor,
    *,
    seed: int = 0,
    steps: int = 320,
    batch: int = 128,
    **options,
) -> tuple[nn.ModuleDict, training.Run]:
    """`adapt` of an `emoji_model`, untrained or trained, on emoji of one domain with names and of another without.

    source: (S, N, D), `emoji_features` of the N emoji to train on. target: (T, N, D), or None where no option needs
    it. names: (N, 384). options: align, information, guesses, snapshot, every, as in `adapt`.

    Example:
        >>> line, photographs, names = torch.rand(1, 8, 20), torch.rand(2, 8, 20), torch.rand(8, 384)
        >>> start = emoji_model(0, line, names)
        >>> model, run = adapt_emoji(start, line, photographs, names, steps=2, align={"mmd": 1.0})
        >>> sorted(run.history[0])
        ['contrastive', 'loss', 'mmd', 'step']
    """
    count, device = len(names), source.device

    def some(features: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
        return features[torch.randint(len(features), chosen.shape, generator=generator, device=device), chosen]

    def pairs(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randperm(count, generator=generator, device=device)[:batch]
        return some(source, chosen, generator), names[chosen]

    def unpaired(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(count, (batch,), generator=generator, device=device)
        features = some(target, chosen, generator)
        return features, features  # the tower's dropout is all that changes them

    batches = Batches(pairs, unpaired)
    return adapt(start, batches, steps=steps, rate=2e-3, decay=0.1, classes=names, seed=seed, **options)


@torch.no_grad()
def emoji_recall(model: nn.ModuleDict, styles: Tensor, names: Tensor, rows: Tensor) -> float:
    """R@10 of pictures among the names of these rows, the mean over the styles. styles (S, N, D), names (N, 384).

    Example:
        >>> features, names = torch.rand(2, 20, 30), torch.rand(20, 384)
        >>> emoji_recall(emoji_model(0, features, names), features, names, torch.arange(10))  # ten names in all
        1.0
    """
    texts = F.normalize(model["text"](names[rows]), dim=1)
    found = [F.normalize(model["image"](model["features"](style[rows])), dim=1) for style in styles]
    return sum(hits(z, texts, k=(10,)).mean().item() for z in found) / len(found)


@torch.no_grad()
def measure_emoji(
    model: nn.ModuleDict, domains: dict[str, Tensor], names: Tensor, groups: Tensor, seen: Tensor, unseen: Tensor
) -> dict[str, float]:
    """R@10 of pictures among the names of their split, and of names among the pictures, the mean over the styles.

    domains: name to features (S, N, D) of all N emoji. names (N, 384); groups (N,) int64; seen, unseen: rows.
    Returns for each domain "... seen", "... unseen" (R@10, picture to name), "... name to picture" (R@10, unseen),
    "... group seen" and "... group" (accuracy over the eight groups, unseen). No group was ever trained on: each is
    described by the names of its members among the seen, and the classifier is their mean direction. For all domains
    but the first, "... A-distance": of the features of unseen emoji from those of the first domain.

    Example:
        >>> features, names, groups = torch.rand(1, 40, 20), torch.rand(40, 384), torch.arange(40) % 2
        >>> model, rows = emoji_model(0, features, names), torch.arange(40)
        >>> found = measure_emoji(model, {"colour": features}, names, groups, rows[:20], rows[20:])
        >>> list(found)
        ['colour seen', 'colour unseen', 'colour name to picture', 'colour group', 'colour group seen']
    """
    model.eval()
    texts = F.normalize(model["text"](names), dim=1)
    described = [texts[seen][groups[seen] == group].mean(dim=0) for group in range(int(groups.max()) + 1)]
    classifier = F.normalize(torch.stack(described), dim=1)
    result = {}
    for domain, styles in domains.items():
        found = {"seen": [], "unseen": [], "name to picture": [], "group": [], "group seen": []}
        for style in styles:
            z = F.normalize(model["image"](model["features"](style)), dim=1)
            for name, rows in (("seen", seen), ("unseen", unseen)):
                found[name].append(hits(z[rows], texts[rows], k=(10,)).mean().item())
            found["name to picture"].append(hits(texts[unseen], z[unseen], k=(10,)).mean().item())
            for name, rows in (("group seen", seen), ("group", unseen)):
                right = (z[rows] @ classifier.T).argmax(dim=1) == groups[rows]
                found[name].append(right.cpu().double().mean().item())  # MPS has no float64
        result |= {f"{domain} {name}": sum(values) / len(values) for name, values in found.items()}
    first, *others = ((domain, model["features"](styles[0])) for domain, styles in domains.items())
    for domain, features in others:  # other emoji on either side, so that the probe cannot compare the same ones
        result[f"{domain} A-distance"] = dann.proxy_a_distance(first[1][unseen[::2]], features[unseen[1::2]])
    return result
