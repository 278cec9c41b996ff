"""Run the trainings whose numbers the lessons quote, with five seeds each: make results

Writes notebooks/results/<lesson>.json with the settings beside the numbers. About seven minutes on one core.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

from xlib import clip, recipes, runtime, space
from xlib.data import emoji, numbers, text

FOLDER = Path(__file__).resolve().parent.parent / "notebooks" / "results"
SEEDS = range(5)


# Lesson 03, section 8: 90 steps under another temperature or batch size.
SHORT = {
    "learned, from .07": {},
    "fixed at 1": {"temperature": 1.0},
    "fixed at .01": {"temperature": 0.01},
    "learned, batch of 8": {"batch": 8},
}


def one_numbers_run(seed: int, **options) -> dict[str, float]:
    """Lesson 03, sections 3 and 4: R@1 of held-out handwriting among all 90 captions."""
    model, _ = recipes.train_numbers(seed=seed, **options)
    pictures = numbers.load("test")
    tokens = recipes.VOCABULARY([numbers.caption(number) for number in numbers.NUMBERS])
    result = {}
    for name, asked, each in (("seen", numbers.SEEN, 40), ("unseen", numbers.UNSEEN, 240)):
        queries = torch.tensor(asked).repeat_interleave(each)
        images = pictures.draw(queries, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            za, zb = F.normalize(model["image"](images), dim=1), F.normalize(model["text"](tokens), dim=1)
        result[name] = round(clip.retrieval(za, zb, k=(1,), targets=queries - 10)[1].value, 4)
    return result


def one_short_run(seed: int) -> dict[str, float]:
    """R@1 of the seen numbers after each of the short trainings."""
    return {name: one_numbers_run(seed, steps=90, **options)["seen"] for name, options in SHORT.items()}


def emoji_inputs() -> tuple[emoji.Emoji, torch.Tensor, torch.Tensor]:
    """The emoji, their features in two styles (2, N, D), and the features of their names (N, 384)."""
    icons = emoji.load(("openmoji", "twemoji"))
    pictures = [emoji.on_background(rgba) for rgba in icons.images.values()]
    return icons, torch.stack([clip.edges_and_colours(p) for p in pictures]), text.minilm_features(icons.names["en"])


def one_emoji_run(seed: int, icons: emoji.Emoji, features: torch.Tensor, names: torch.Tensor) -> dict[str, float]:
    """Lesson 03, section 10, on another split by concept: R@10 among 300 unseen names, mean of both styles."""
    seen, unseen = emoji.split(icons, seed=seed)
    runs = []
    for run in range(3):
        model, _ = recipes.train_emoji(features[:, seen], names[seen], seed=3 * seed + run)
        with torch.no_grad():
            vectors = model["image"](features[:, unseen]), model["text"](names[unseen])
        runs.append([F.normalize(part, dim=-1) for part in vectors])
    side_by_side = [torch.cat(parts, dim=-1) for parts in zip(*runs, strict=True)]
    image_centre, text_centre = clip.Centre(features[:, seen].mean(dim=(0, 1))), clip.Centre(names[seen].mean(dim=0))
    x, y = image_centre(features), text_centre(names)
    cca = space.cca(torch.cat([*x[:, seen]]), torch.cat([y[seen], y[seen]]), dim=100, regularisation=1.0)
    by_cca = (
        torch.stack([cca.project_a(style[unseen]) * cca.correlations for style in x]),
        cca.project_b(y[unseen]) * cca.correlations,
    )
    result = {}
    for method, (pictures, texts) in {"clip": runs[0], "three clips": side_by_side, "cca": by_cca}.items():
        texts = F.normalize(texts, dim=1)
        recalls = [clip.retrieval(F.normalize(style, dim=1), texts, k=(10,), resamples=1)[10] for style in pictures]
        result[method] = round(sum(recall.value for recall in recalls) / len(recalls), 4)
    return result


def main() -> None:
    runtime.start(seed=0)
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    inputs = emoji_inputs()
    results = {
        "settings": {
            "numbers": "recipes.train_numbers(seed=0 to 4); test handwriting, captions as plain words",
            "short": "recipes.train_numbers(steps=90, seed=0 to 4); R@1 of the seen numbers",
            "emoji": "recipes.train_emoji on emoji.split(seed=0 to 4), 3 runs each; CCA dim 100, regularisation 1",
            "torch": torch.__version__.split("+")[0],
        },
        "numbers": [one_numbers_run(seed) for seed in SEEDS],
        "short": [one_short_run(seed) for seed in SEEDS],
        "emoji": [one_emoji_run(seed, *inputs) for seed in SEEDS],
    }
    path = FOLDER / "03_clip.json"
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(FOLDER.parent.parent)}")


if __name__ == "__main__":
    main()
