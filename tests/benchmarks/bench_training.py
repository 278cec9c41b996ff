"""Images a second of xlib's training beside what is usual: python tests/benchmarks/bench_training.py

The same models, loss, AdamW, schedule and batches everywhere, and augmentation of the same ranges. The others are fed
in the usual way: a Dataset that puts one picture together with PIL, moves it with torchvision's RandomAffine and
tokenises its caption, behind a DataLoader, in float32. xlib runs once with the threads that `runtime.start` sets and
once with one a core; the loop in three ways, and the other two as the loop was fastest. Each line comes from a fresh
process, after a warm-up. Needs the extra "bench"; takes three minutes, and more of them on a busy machine.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, SequentialSampler
from torchvision.transforms import v2

from xlib import encoders
from xlib.contrastive import LogitScale, info_nce
from xlib.course import runtime, training
from xlib.data import digits, emoji, numbers, text
from xlib.experiments.numbers import TEMPLATES, VOCABULARY, in_words, train_numbers

STEPS, WARM_UP, SECONDS = 120, 10, 2.0  # a contender that is slow stops early, some seconds after its warm-up
SIZES = {"numbers": 78, "emoji": 128}
RATES = {"numbers": {"rate": 3e-3, "decay": 0.01}, "emoji": {"rate": 2e-3, "decay": 0.1}}
NEEDS = {"Lightning": "lightning", "transformers Trainer": "accelerate"}
SLANT = math.degrees(math.atan(0.12))

# -- the two trainings as a lesson would have them


def emoji_tables():
    """RGBA (2, N, 4, 32, 32) float32 of the emoji to train on, in two styles, and their names' features (N, 384)."""
    icons = emoji.load(("openmoji", "twemoji"))
    seen, _ = emoji.split(icons)
    pictures = [F.avg_pool2d(icons.images[style][seen].float() / 255, 2) for style in icons.images]
    return torch.stack(pictures), text.minilm_features(icons.names["en"])[seen]


def emoji_model(names):
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "image": encoders.ImageEncoder((32, 32), channels=(32, 64, 64, 64), embed_dim=128),
            "text": nn.Sequential(encoders.Centre(names.mean(dim=0)), nn.Dropout(0.2), nn.Linear(384, 128)),
            "scale": LogitScale(),
        }
    )


def emoji_batch(pictures, photos, generator):
    """Which emoji, and their pictures in any style, on any patch of a photograph, moved."""
    chosen = torch.randperm(pictures.shape[1], generator=generator)[: SIZES["emoji"]]
    icons = pictures[torch.randint(len(pictures), chosen.shape, generator=generator), chosen]
    under = digits.random_patches(photos, len(chosen), height=32, width=32, generator=generator)
    images = torch.lerp(under, icons[:, :3], icons[:, 3:])
    return chosen, encoders.random_affine(images, generator=generator)


def contrast(model, images, words):
    za, zb = F.normalize(model["image"](images), dim=1), F.normalize(model["text"](words), dim=1)
    return info_nce(za, zb, logit_scale=model["scale"]())


def train_ours(name):
    stamps = []

    def stamp(*_):
        stamps.append(time.perf_counter())
        return torch.zeros(1)

    if name == "numbers":
        _, run = train_numbers(steps=STEPS, snapshot=stamp, every=WARM_UP)
    else:
        (pictures, names), photos = emoji_tables(), digits.photographs("train")
        model, generator = emoji_model(names), torch.Generator().manual_seed(0)

        def loss(step):
            chosen, images = emoji_batch(pictures, photos, generator)
            return contrast(model, images, names[chosen])

        run = training.fit_one_cycle(
            model, loss, steps=STEPS, generator=generator, snapshot=stamp, every=WARM_UP, **RATES[name]
        )
    return (STEPS - WARM_UP) / (stamps[-1] - stamps[1]), draw_ours(name), run.curve()


def draw_ours(name):
    """Batches a second, drawn and augmented."""
    generator = torch.Generator().manual_seed(0)
    if name == "numbers":
        pictures, seen = numbers.load("train"), torch.tensor(numbers.SEEN)

        def draw():
            return encoders.random_affine(pictures.draw(seen, generator=generator), generator=generator)
    else:
        (pictures, _), photos = emoji_tables(), digits.photographs("train")

        def draw():
            return emoji_batch(pictures, photos, generator)

    return rate_of(draw() for _ in range(STEPS))


# -- the same in the usual way


class Pictures(Dataset):
    """Item by item: one PIL picture, moved, as a tensor, and what the text tower takes. Every batch in a row of
    items holds different numbers, or emoji."""

    def __init__(self, size):
        self.order = [i for _ in range(STEPS) for i in random.sample(range(self.count), size)]
        self.move = v2.Compose(
            [
                v2.RandomAffine(
                    10,
                    translate=(0.1, 0.1),
                    scale=(0.88, 1.12),
                    shear=(-SLANT, SLANT),
                    interpolation=v2.InterpolationMode.BILINEAR,
                ),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )

    def __len__(self):
        return len(self.order)


class NumberPictures(Pictures):
    count = len(numbers.SEEN)

    def __init__(self, size):
        super().__init__(size)
        scans, labels = digits.load("train")
        grey = (digits.resized(scans, 16)[:, 0] * 255).byte().numpy()
        self.scans = [[Image.fromarray(scan) for scan in grey[(labels == digit).numpy()]] for digit in range(10)]

    def __getitem__(self, index):
        number = numbers.SEEN[self.order[index]]
        picture = Image.new("RGB", (32, 16))
        for place, digit in enumerate(divmod(number, 10)):
            picture.paste(random.choice(self.scans[digit]), (16 * place, 0))
        caption = in_words(number, random.choice(TEMPLATES))
        return {"images": self.move(picture), "words": VOCABULARY([caption])[0]}

    @staticmethod
    def collate(items):
        words = nn.utils.rnn.pad_sequence([item["words"] for item in items], batch_first=True)
        return {"images": torch.stack([item["images"] for item in items]), "words": words}


class EmojiPictures(Pictures):
    collate = staticmethod(torch.utils.data.default_collate)

    def __init__(self, size):
        pictures, self.names = emoji_tables()
        self.count = len(self.names)
        super().__init__(size)
        self.icons = [[to_pil(icon) for icon in style] for style in pictures]
        self.photos = [to_pil(photo) for photo in digits.photographs("train")]

    def __getitem__(self, index):
        number = self.order[index]
        icon, photo = random.choice(self.icons)[number], random.choice(self.photos)
        left, top = random.randint(0, photo.width - 32), random.randint(0, photo.height - 32)
        picture = photo.crop((left, top, left + 32, top + 32))
        picture.paste(icon, mask=icon)
        return {"images": self.move(picture), "words": self.names[number]}


def to_pil(image):
    return Image.fromarray(np.ascontiguousarray((image * 255).byte().permute(1, 2, 0).numpy()))


class Contrast(nn.Module):
    """The model with its loss inside, as `Trainer` wants it."""

    def __init__(self, name, dataset):
        super().__init__()
        torch.manual_seed(0)
        if name == "numbers":
            image, words = encoders.ImageEncoder((16, 32)), encoders.TextEncoder(len(VOCABULARY))
            self.parts = nn.ModuleDict({"image": image, "text": words, "scale": LogitScale()})
        else:
            self.parts = emoji_model(dataset.names)
        self.name, self.losses = name, []

    def forward(self, images, words):
        loss = contrast(self.parts, images, words)
        self.losses.append(loss.item())
        return {"loss": loss}

    def optimizer(self):
        parameters, options = list(self.parameters()), RATES[self.name]
        groups = [
            {"params": [p for p in parameters if p.ndim], "weight_decay": options["decay"]},
            {"params": [p for p in parameters if not p.ndim], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=options["rate"])
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(
            optimizer, options["rate"], total_steps=STEPS, pct_start=0.2
        )


def usual(name, workers):
    """Dataset, loader and model."""
    random.seed(0)
    dataset = {"numbers": NumberPictures, "emoji": EmojiPictures}[name](SIZES[name])
    loader = DataLoader(dataset, batch_size=SIZES[name], num_workers=workers, collate_fn=dataset.collate)
    return dataset, loader, Contrast(name, dataset)


def train_loop(name, workers):
    _, loader, model = usual(name, workers)
    optimizer, schedule = model.optimizer()
    model.train()

    def steps():
        for batch in loader:
            optimizer.zero_grad()
            model(**batch)["loss"].backward()
            optimizer.step()
            schedule.step()
            model.parts["scale"].clamp_()
            yield

    return rate_of(steps()), rate_of(loader), model.losses


def train_lightning(name, workers):
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self, model):
            super().__init__()
            self.model, self.stamps = model, []

        def training_step(self, batch, index):
            return self.model(**batch)["loss"]

        def configure_optimizers(self):
            optimizer, schedule = self.model.optimizer()
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

        def on_train_batch_end(self, *_):
            self.model.parts["scale"].clamp_()
            self.stamps.append(time.perf_counter())
            self.trainer.should_stop = enough(self.stamps)

    _, loader, model = usual(name, workers)
    module = Module(model)
    lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, loader)
    return steady(module.stamps), None, model.losses


def train_transformers(name, workers):
    from transformers import Trainer, TrainerCallback, TrainingArguments

    stamps = []

    class Stamp(TrainerCallback):
        def on_step_end(self, _, __, control, *, model, **___):
            model.parts["scale"].clamp_()
            stamps.append(time.perf_counter())
            control.should_training_stop = enough(stamps)

    class InOrder(Trainer):
        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)  # the batches are made up already

    dataset, _, model = usual(name, workers)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=STEPS,
            per_device_train_batch_size=SIZES[name],
            dataloader_num_workers=workers,
            remove_unused_columns=False,
            max_grad_norm=0,
            use_cpu=True,
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
        )
        InOrder(
            model=model,
            args=arguments,
            train_dataset=dataset,
            data_collator=dataset.collate,
            callbacks=[Stamp()],
            optimizers=model.optimizer(),
        ).train()
    return steady(stamps), None, model.losses


# -- measuring


def rate_of(steps):
    stamps = []
    for _ in steps:
        stamps.append(time.perf_counter())
        if enough(stamps):
            break
    return steady(stamps)


def enough(stamps):
    return len(stamps) >= 2 * WARM_UP and stamps[-1] - stamps[WARM_UP - 1] > SECONDS


def steady(stamps):
    """Steps a second after the warm-up."""
    return (len(stamps) - WARM_UP) / (stamps[-1] - stamps[WARM_UP - 1])


CONTENDERS = {
    "xlib": lambda name, _: train_ours(name),
    "loop": train_loop,
    "Lightning": train_lightning,
    "transformers Trainer": train_transformers,
}


def one(what, name, workers, threads):
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print
        if what == "xlib":
            runtime.start()
        if threads:
            torch.set_num_threads(threads)
        rate, alone, losses = CONTENDERS[what](name, workers)
    batches = alone and alone * SIZES[name]
    return {"rate": rate * SIZES[name], "alone": batches, "loss": sum(losses[WARM_UP : 2 * WARM_UP]) / WARM_UP}


def fresh(what, name, workers=0, threads=0, **variables):
    command = [sys.executable, __file__, "--one", json.dumps([what, name, workers, threads])]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
    if done.returncode:
        sys.exit(f"{what} on {name} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def table(name, every, few):
    """every: torch's default of threads, one a core; few: what `runtime.start` makes of it."""
    rows = {f"xlib, {few} thread(s)": fresh("xlib", name), f"xlib, {every} threads": fresh("xlib", name, 0, every)}
    ours = [found["rate"] for found in rows.values()]
    if can_bf16():
        rows[f"xlib, {every} threads, XLIB_BF16=1"] = fresh("xlib", name, 0, every, XLIB_BF16="1")
    loops = {how: fresh("loop", name, *how) for how in ((0, every), (0, few), (every, few))}
    rows |= {f"loop over a DataLoader, {described(*how)}": found for how, found in loops.items()}
    best = max(loops, key=lambda how: loops[how]["rate"])
    for other, package in NEEDS.items():
        if importlib.util.find_spec(package):
            rows[f"{other}, {described(*best)}"] = fresh(other, name, *best)
        else:
            print(f"{other} is left out: {package} is not installed")
    heads = f"xlib on {few} is faster by | xlib on {every} is"
    print(f"\n| {name}, batches of {SIZES[name]} | images/s | {heads} | batches alone | loss |")
    print("|---|--:|--:|--:|--:|--:|")
    for label, found in rows.items():
        ratios = ["" if label.startswith("xlib") else f"{rate / found['rate']:.1f} ×" for rate in ours]
        alone = f"{found['alone']:,.0f}/s" if found["alone"] else ""
        print(f"| {label} | {found['rate']:,.0f} | {' | '.join(ratios)} | {alone} | {found['loss']:.2f} |")
    share = loops[0, few]["rate"] / loops[0, few]["alone"]
    print(f"\nIn the loop with no workers, {few} thread(s), batches take {share:.0%} of the time: if they cost")
    print(f"nothing it would be {1 / (1 - share):.1f} times as fast. The rest is the model's arithmetic.")


def described(workers, threads):
    return f"{workers} workers, {threads} thread{'s' if threads > 1 else ''}"


def can_bf16():
    return getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16", False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*json.loads(options.one))))
        return
    emoji_tables()  # drawn and encoded once, into xlib's cache
    found = {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "transformers")}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["lightning"] = importlib.metadata.version("lightning")
    default = torch.get_num_threads()
    with contextlib.redirect_stdout(None):
        runtime.start()
    print(f"{STEPS} steps or {SECONDS:.0f} s, the first {WARM_UP} not timed, loss over the next {WARM_UP}; ", end="")
    print(", ".join(f"{name} {version}" for name, version in found.items()))
    for name in SIZES:
        table(name, default, torch.get_num_threads())


if __name__ == "__main__":
    main()
