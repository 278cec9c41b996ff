"""The trainings that several lessons and `make results` share. Lessons 03 and 05 build them step by step."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate, clip, combined, dann, mmd, space, training
from xlib.contrastive import LogitScale, info_nce
from xlib.data import digits, emoji, numbers
from xlib.runtime import to_device

TEMPLATES = ("{}", "the number {}", "a photo of {}", "{} written by hand", "数字{}", "手写的{}")


def in_words(number: int, template: str) -> str:
    """A number's caption: in Chinese where the template is Chinese."""
    language = "zh" if any(character >= "\u4e00" for character in template) else "en"
    return template.format(numbers.caption(number, language=language))


VOCABULARY = clip.Vocabulary([in_words(number, template) for number in numbers.NUMBERS for template in TEMPLATES])


def train_numbers(
    *,
    seed: int = 0,
    steps: int = 600,
    batch: int = 78,
    width: int = 1,
    temperature: float | None = None,
    device: torch.device | str = "cpu",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 60,
) -> tuple[nn.ModuleDict, training.Run]:
    """CLIP on captioned numbers: pictures from training handwriting, captions of seen numbers alone.

    seed, steps, batch: batches hold different numbers, so at most the 78 of `numbers.SEEN`. width: how many times as
    many channels and states as usual. temperature: fixed at this value; None learns it, from 0.07. snapshot: takes
    the model, see `training.fit`.

    Returns the model, with parts "image", "text" and "scale", in evaluation mode on `device`, and its Run.
    """
    torch.manual_seed(seed)
    model = nn.ModuleDict(
        {
            "image": clip.ImageEncoder((16, 32), channels=(32 * width, 64 * width, 64 * width)),
            "text": clip.TextEncoder(len(VOCABULARY), width=128 * width),
            "scale": LogitScale() if temperature is None else LogitScale(init=1 / temperature),
        }
    ).to(device)
    model["scale"].requires_grad_(temperature is None)
    pictures = numbers.load("train").to(device)
    seen = torch.tensor(numbers.SEEN, device=device)
    captions = [[in_words(number, template) for template in TEMPLATES] for number in numbers.NUMBERS]
    tokens = VOCABULARY([text for row in captions for text in row]).view(90, len(TEMPLATES), -1)
    tokens = to_device(tokens, device)
    generator = torch.Generator(device).manual_seed(seed)

    def loss(step: int) -> Tensor:
        chosen = seen[torch.randperm(len(seen), generator=generator, device=device)[:batch]]  # no caption twice
        images = clip.random_affine(pictures.draw(chosen, generator=generator), generator=generator)
        wording = torch.randint(len(TEMPLATES), (len(chosen),), generator=generator, device=device)
        za = F.normalize(model["image"](images), dim=1)
        zb = F.normalize(model["text"](tokens[chosen - 10, wording]), dim=1)
        return info_nce(za, zb, logit_scale=model["scale"]())

    return model, training.fit_one_cycle(
        model,
        loss,
        steps=steps,
        rate=3e-3,
        decay=0.01,
        generator=generator,
        snapshot=None if snapshot is None else lambda: snapshot(model),
        every=every,
        title="CLIP on numbers",
    )


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
) -> tuple[nn.ModuleDict, training.Run]:
    """CLIP on emoji: both towers stand on fixed features, and are small enough for a thousand pairs.

    features: (S, N, D) float32, `clip.edges_and_colours` of N emoji in S styles. names: (N, 384) float32, MiniLM's
    features of their names. Both of the emoji to train on, and no others.

    Returns the model, with parts "image", "text" and "scale", in evaluation mode on `device`, and its Run.
    """
    torch.manual_seed(seed)
    model = nn.ModuleDict(
        {
            "image": nn.Sequential(
                clip.Centre(features.mean(dim=(0, 1))),
                nn.Dropout(0.25),
                nn.Linear(features.shape[2], 512),
                nn.LayerNorm(512),
                nn.GELU(),
                nn.Dropout(0.5),
                nn.Linear(512, 128),
            ),
            "text": nn.Sequential(clip.Centre(names.mean(dim=0)), nn.Dropout(0.2), nn.Linear(names.shape[1], 128)),
            "scale": LogitScale(),
        }
    ).to(device)
    features, names = to_device(features, device), to_device(names, device)
    generator = torch.Generator(device).manual_seed(seed)

    def loss(step: int) -> Tensor:
        chosen = torch.randperm(len(names), generator=generator, device=device)[:batch]
        style = torch.randint(len(features), (len(chosen),), generator=generator, device=device)
        za = F.normalize(model["image"](features[style, chosen]), dim=1)
        zb = F.normalize(model["text"](names[chosen]), dim=1)
        return info_nce(za, zb, logit_scale=model["scale"]())

    return model, training.fit_one_cycle(
        model,
        loss,
        steps=steps,
        rate=2e-3,
        decay=0.1,
        generator=generator,
        snapshot=None if snapshot is None else lambda: snapshot(model),
        every=every,
        title="CLIP on emoji",
    )


def numbers_model(seed: int) -> nn.ModuleDict:
    """A CLIP for 16×32 images with features to align: "features" (N, 192), "image" (features to (N, 64)), "text",
    "scale". LayerNorm keeps the features' lengths alike, so that they cannot flee from a domain head without end."""
    torch.manual_seed(seed)
    encoder = clip.ImageEncoder((16, 32), channels=(24, 48, 48), embed_dim=192)
    return nn.ModuleDict(
        {
            "features": nn.Sequential(encoder, nn.LayerNorm(192), nn.ReLU()),
            "image": nn.Linear(192, 64),
            "text": clip.TextEncoder(len(VOCABULARY)),
            "scale": LogitScale(),
        }
    )


def numbers_batches(
    strength: float, *, grey: float = 0.0, on_target: bool = False, device: torch.device | str = "cpu"
) -> combined.Batches:
    """Captioned numbers, clean with captions → on photographs without. In each step all 78 of `numbers.SEEN`, with
    any two scans of their digits and in any wording of TEMPLATES; in the target 78 of them at random.

    strength: of the photographs in the target, 0 to 1. grey: |image - u| with u from 0 to this, drawn for each image
    of both domains, as in `train_digits`. on_target: the oracle's, with captions for pictures on photographs.
    """
    clean, photos = (numbers.load("train", strength=s).to(device) for s in (0.0, strength))
    seen = torch.tensor(numbers.SEEN, device=device)
    captions = [[in_words(number, template) for template in TEMPLATES] for number in numbers.SEEN]
    tokens = VOCABULARY([text for row in captions for text in row]).view(len(seen), len(TEMPLATES), -1)
    tokens = to_device(tokens, device)

    def change(images: Tensor, generator: torch.Generator) -> Tensor:
        images = clip.random_affine(images, generator=generator)
        shade = grey * torch.rand(len(images), 1, 1, 1, generator=generator, device=device)
        return (images - shade).abs()

    def source(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        order = torch.randperm(len(seen), generator=generator, device=device)
        wording = torch.randint(len(TEMPLATES), (len(seen),), generator=generator, device=device)
        images = (photos if on_target else clean).draw(seen[order], generator=generator)
        return change(images, generator), tokens[order, wording]

    def target(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        unknown = torch.randint(len(seen), (len(seen),), generator=generator, device=device)
        images = photos.draw(seen[unknown], generator=generator)
        return images, change(images, generator)

    return combined.Batches(source, target)


def adapt_numbers(
    start: nn.ModuleDict, batches: combined.Batches, *, steps: int = 300, **options
) -> tuple[nn.ModuleDict, training.Run]:
    """`combined.adapt` of a `numbers_model` on `numbers_batches`, with the rate and decay of `train_numbers`. A first
    training on clean numbers alone is one as well, of 800 steps."""
    return combined.adapt(start, batches, steps=steps, rate=3e-3, decay=0.01, **options)


@torch.no_grad()
def measure_numbers(model: nn.ModuleDict, strength: float, *, each: int = 20) -> dict[str, float]:
    """Held-out handwriting, clean ("source") and on held-out photographs ("target"), `each` pictures of each number.

    Returns, for both domains, R@1 among 90 captions ("... seen", "... unseen", by whether the number was trained on),
    R@1 of a caption among 90 pictures ("... text to image"), and of the unseen numbers with four sentences a number
    as a classifier ("... zero-shot"). "A-distance" of the features, "modality gap" of the source. And of the target's
    predictions among the 78 captions trained on, without a label: "entropy", "information", "density".
    """
    model.eval()
    device = next(model.parameters()).device
    number = torch.arange(10, 100).repeat_interleave(each)
    is_seen = torch.isin(torch.arange(10, 100), torch.tensor(numbers.SEEN))

    def encode(texts: list[str]) -> Tensor:
        return model["text"](VOCABULARY(texts).to(device)).cpu()

    words = [numbers.caption(number) for number in numbers.NUMBERS]
    texts = F.normalize(encode(words), dim=1)
    classifier = clip.zero_shot_weights(encode, words, TEMPLATES[:4])  # the English ones
    result, features = {}, {}
    for domain, seed, s in (("source", 2, 0.0), ("target", 3, strength)):
        pictures = numbers.load("test", strength=s).draw(number, generator=torch.Generator().manual_seed(seed))
        features[domain] = torch.cat([model["features"](part).cpu() for part in pictures.to(device).split(500)])
        za = F.normalize(model["image"](features[domain].to(device)).cpu(), dim=1)
        images = za.view(90, each, -1)
        for name, chosen in (("seen", is_seen), ("unseen", ~is_seen)):
            result[f"{domain} {name}"] = _recall(
                images[chosen].flatten(0, 1), texts, chosen.nonzero().repeat_interleave(each)
            )
        found = [_recall(texts, images[:, i], torch.arange(90)) for i in range(each)]
        result[f"{domain} text to image"] = sum(found) / each
        unseen = (~is_seen).nonzero().repeat_interleave(each)
        result[f"{domain} zero-shot"] = _recall(images[~is_seen].flatten(0, 1), classifier, unseen)
        if domain == "source":
            result["modality gap"] = space.modality_gap(za, texts).size.item()
    logits = model["scale"]().cpu() * images[is_seen].flatten(0, 1) @ texts[is_seen].T
    result["entropy"] = dann.entropy(logits).item()
    result["information"] = dann.information_maximisation(logits).item()
    result["density"] = dann.soft_neighbourhood_density(logits).item()
    some = torch.arange(0, len(number), 4)
    result["A-distance"] = dann.proxy_a_distance(features["source"][some], features["target"][some + 2])
    return result


def _recall(queries: Tensor, gallery: Tensor, targets: Tensor, *, k: int = 1) -> float:
    return clip.retrieval(queries, gallery, k=(k,), targets=targets.flatten(), resamples=1)[k].value


EMOJI_SIDE = 32  # pixels of an emoji, each way, where domains are compared


def emoji_features(
    icons: emoji.Emoji, domain: str, *, split: str = "train", copies: int = 1, side: int = EMOJI_SIDE
) -> Tensor:
    """`clip.edges_and_colours` of all N emoji in one domain: (styles × copies, N, 1088).

    domain: "colour" (OpenMoji and Twemoji on white); "line" (OpenMoji's lines); "noto" (black and white);
    "photographs" (the two in colour, times .4 + .6 · a random patch of a photograph); or "clouds" (the same, with
    `clouds` in place of photographs). copies: of photographs and clouds, each on other backgrounds.
    split: which photographs, "train" or "test". side: of the pictures, 32 or 64 pixels.
    Some 0.4 s for each copy of a style at 32.
    Raises ValueError for another domain, split or side.
    """
    _validate.choice("side", side, (32, 64))
    _validate.choice("domain", domain, ("colour", "line", "noto", "photographs", "clouds"))
    _validate.choice("split", split, digits.SPLITS)
    styles = {"line": ("openmoji-line",), "noto": ("noto",)}.get(domain, ("openmoji", "twemoji"))
    generator = torch.Generator().manual_seed(digits.SPLITS.index(split))
    stripes = digits.photo_stripes(split)
    features = []
    for _ in range(copies):
        for style in styles:
            images = F.avg_pool2d(emoji.on_background(icons.images[style]), 64 // side)
            if domain == "photographs":
                under = digits.random_patches(stripes, len(images), height=side, width=side, generator=generator)
                images = images * (0.4 + 0.6 * under)
            if domain == "clouds":
                images = images * (0.4 + 0.6 * clouds(len(images), side, generator=generator))
            features.append(clip.edges_and_colours(images))
    return torch.stack(features)


def clouds(count: int, size: int, *, generator: torch.Generator) -> Tensor:
    """Random smooth pictures (count, 3, size, size) in [0, 1]: noise whose amplitude falls as 1 / frequency.

    That is how the amplitude falls in most photographs (Field 1987, J. Opt. Soc. Am. A 4), so clouds are a guess at a
    photograph's rough look by somebody who has none. Brightness and contrast are drawn for each picture.
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
    "text", "scale". features (..., 1088) and names (M, 384): those trained on, whose mean is taken off."""
    torch.manual_seed(seed)
    hidden = [nn.Linear(features.shape[-1], 512), nn.LayerNorm(512), nn.GELU()]
    return nn.ModuleDict(
        {
            "features": nn.Sequential(clip.Centre(features.flatten(0, -2).mean(dim=0)), nn.Dropout(0.25), *hidden),
            "image": nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 128)),
            "text": nn.Sequential(clip.Centre(names.mean(dim=0)), nn.Dropout(0.2), nn.Linear(names.shape[1], 128)),
            "scale": LogitScale(),
        }
    )


def train_emoji_across(
    source: Tensor,
    target: Tensor | None,
    names: Tensor,
    *,
    seed: int = 0,
    steps: int = 320,
    batch: int = 128,
    **options,
) -> tuple[nn.ModuleDict, training.Run]:
    """CLIP on emoji of one domain with names, and of another without: `combined.adapt` of an untrained `emoji_model`.

    source: (S, N, D), `emoji_features` of the N emoji to train on. target: (T, N, D), or None where no option needs
    it. names: (N, 384). options: align, coeff, information, guesses, as in `combined.adapt`.
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

    model = emoji_model(seed, source if target is None else torch.stack([source.mean(0), target.mean(0)]), names)
    return combined.adapt(
        model.to(device),
        combined.Batches(pairs, unpaired),
        steps=steps,
        rate=2e-3,
        decay=0.1,
        classes=names,
        seed=seed,
        **options,
    )


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
                found[name].append(_recall(z[rows], texts[rows], torch.arange(len(rows)), k=10))
            found["name to picture"].append(_recall(texts[unseen], z[unseen], torch.arange(len(unseen)), k=10))
            for name, rows in (("group seen", seen), ("group", unseen)):
                right = (z[rows] @ classifier.T).argmax(dim=1) == groups[rows]
                found[name].append(right.double().mean().item())
        result |= {f"{domain} {name}": sum(values) / len(values) for name, values in found.items()}
    first, *others = ((domain, model["features"](styles[0])) for domain, styles in domains.items())
    for domain, features in others:  # other emoji on either side, so that the probe cannot compare the same ones
        result[f"{domain} A-distance"] = dann.proxy_a_distance(first[1][unseen[::2]], features[unseen[1::2]])
    return result


SIDE = 16  # pixels of a digit, each way


def draw_digits(scans: Tensor, stripes: Tensor, strength: float, *, generator: torch.Generator) -> Tensor:
    """Scans (B, 1, 16, 16) on random patches of the stripes (S, 3, H, W), as `digits.photo_digits` blends them:
    (B, 3, 16, 16). At strength 0 they stay clean."""
    if not strength:
        return scans.expand(-1, 3, -1, -1)
    patches = digits.random_patches(stripes, len(scans), height=SIDE, width=SIDE, generator=generator)
    return patches.mul_(strength).sub_(scans).abs_()


def held_out_digits(strength: float, *, copies: int = 1) -> tuple[Tensor, Tensor]:
    """The 386 test scans, each on `copies` patches of the test photographs: (386 copies, 3, 16, 16) and labels."""
    scans, labels = digits.load("test")
    scans, labels = digits.enlarge(scans, SIDE).repeat(copies, 1, 1, 1), labels.repeat(copies)
    generator = torch.Generator().manual_seed(2)
    return draw_digits(scans, digits.photo_stripes("test"), strength, generator=generator), labels


def halves(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of two halves with as many of each digit: for a domain probe, which must see other scans in each domain
    and no other difference. Every other row would not do: scans come in the order 0 to 9, even and odd by turns."""
    order = labels.argsort(stable=True)
    return order[::2], order[1::2]


def digits_model(width: int = 1) -> nn.ModuleDict:
    """The article's three networks in small, for 16×16 images: "features" (N, 64), "label" (N, 10), "domain" (N, 2).
    width: how many times as many channels as usual.

    GroupNorm, as in `clip.ImageEncoder`: what one image becomes does not depend on the domain of its neighbours.
    """
    layers, before = [], 3
    for channels, stride in ((24 * width, 2), (48 * width, 2), (48 * width, 1)):
        layers += [
            nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
        ]
        before = channels
    features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * 4 * 4, 64), nn.LayerNorm(64), nn.ReLU())
    domain = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    return nn.ModuleDict({"features": features, "label": nn.Linear(64, 10), "domain": domain})


def train_digits(
    strength: float,
    *,
    align: str | None = None,
    weight: float = 1.0,
    information: float = 0.0,
    grey: float = 0.0,
    reverse: Callable[[Tensor, float], Tensor] = dann.grad_reverse,
    on_target: bool = False,
    seed: int = 0,
    steps: int = 400,
    batch: int = 64,
    width: int = 1,
    device: torch.device | str = "cpu",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 40,
) -> tuple[nn.ModuleDict, training.Run]:
    """Digit classification, clean digits with labels → digits on photographs without.

    strength: of the photographs in the target domain, 0 to 1. align: what brings the features of the two domains
    together, "dann", "mmd" or "coral"; None for the source alone. weight: of that term at the end; `dann_coeff`
    raises it from 0. information: weight of `dann.information_maximisation` of the target's predictions, raised in
    the same way. grey: |image - u| with u from 0 to this, drawn for each image of both domains, in place of the
    image: it turns contrasts round, as a bright photograph does. That is a guess about the target, and not learned
    from it. reverse: stands between features and domain head; another function than `grad_reverse` shows what
    goes wrong. on_target: the oracle, which gets labelled photo digits in place of the clean ones. batch: images of
    each domain in a step; both go through the network together. width: as in `digits_model`.

    Returns the model of `digits_model`, in evaluation mode on `device`, and its Run with the terms "label",
    "domain" or the name of `align`, and "information".
    Raises ValueError for a bad strength or align.
    """
    digits.check_strength(strength)
    if align is not None:
        _validate.choice("align", align, ("dann", "mmd", "coral"))
    torch.manual_seed(seed)
    model = digits_model(width).to(device)
    scans, labels = digits.load("train")
    scans, labels = to_device(digits.enlarge(scans, SIDE), device), to_device(labels, device)
    stripes = to_device(digits.photo_stripes("train"), device)
    generator = torch.Generator(device).manual_seed(seed)

    def some(strength):
        chosen = torch.randint(len(labels), (batch,), generator=generator, device=device)
        return draw_digits(scans[chosen], stripes, strength, generator=generator), labels[chosen]

    def loss(step: int) -> dict[str, Tensor]:
        images, right = some(strength if on_target else 0)
        if align or information:
            images = torch.cat([images, some(strength)[0]])
        images = clip.random_affine(images, generator=generator)
        if grey:
            images = (images - grey * torch.rand(len(images), 1, 1, 1, generator=generator, device=device)).abs()
        features = model["features"](images)
        logits, ramp = model["label"](features), dann.dann_coeff(step / steps)
        source, target = features[:batch], features[batch:]
        terms = {"label": F.cross_entropy(logits[:batch], right)}
        if align == "dann":
            domain = model["domain"](reverse(features, ramp * weight))
            terms["domain"] = dann.domain_loss(domain[:batch], domain[batch:])
        elif align:
            terms[align] = ramp * weight * (mmd.mmd2 if align == "mmd" else mmd.coral)(source, target)
        if information:
            terms["information"] = -ramp * information * dann.information_maximisation(logits[batch:])
        return terms

    title = f"digits, {align or ('on the target' if on_target else 'source only')}"
    return model, training.fit_one_cycle(
        model,
        loss,
        steps=steps,
        rate=2e-3,
        decay=0.01,
        generator=generator,
        snapshot=None if snapshot is None else lambda: snapshot(model),
        every=every,
        title=title,
    )
