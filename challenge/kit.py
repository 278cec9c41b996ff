"""What a submission is given, and lesson 06's towers and batches to start from."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xlib import encoders
from xlib.contrastive import LogitScale


def as_float(images: Tensor) -> Tensor:
    """uint8 from 0 to 255 as float32 from 0 to 1."""
    return images.to(torch.float32) / 255


class Task:
    """What there is to train on, of "numbers" or of "emoji" (`name`).

    source_images: (N, 3, H, W) float32 from 0 to 1, with N source_captions; a caption stands for several pictures.
    target_images: (M, 3, H, W), of another domain, without captions and in an order that says nothing.
    """

    def __init__(self, name: str, tensors: dict[str, Tensor], captions: list[str]):
        self.name = name
        self.source_images = as_float(tensors["source_images"])
        self.source_captions = [captions[row] for row in tensors["source_captions"].tolist()]
        self.target_images = as_float(tensors["target_images"])
        self._features: dict[str, Tensor] = {}
        self.learn(captions, tensors["features"])

    def learn(self, captions: list[str], features: Tensor) -> None:
        self._features |= dict(zip(captions, features, strict=True))

    def sentence_features(self, captions: list[str]) -> Tensor:
        """all-MiniLM-L6-v2's vectors of these captions, (n, 384): of the source's, and when it is tested of all."""
        return torch.stack([self._features[caption] for caption in captions])


class Towers:
    """The course's models and batches for one task, as `xlib.experiments.adapt` wants them.

    Numbers: small encoders of pixels and of words; all 78 captions in a batch, pictures turned and shifted. Emoji:
    layers on features made by hand and on MiniLM's; 128 captions in a batch. `options` are the training's.
    """

    def __init__(self, task: Task, seed: int):
        self.task, self.pixels = task, task.name == "numbers"
        self.captions = list(dict.fromkeys(task.source_captions))
        self.vocabulary = encoders.Vocabulary(self.captions)
        self.source = self.read_images(task.source_images)
        self.target = self.read_images(task.target_images)
        self.words = self.read_texts(self.captions)
        of_caption = torch.tensor([self.captions.index(caption) for caption in task.source_captions])
        self.pictures = of_caption.argsort(stable=True).view(len(self.captions), -1)  # rows of source, by caption
        self.options = {"rate": 3e-3, "decay": 0.01, "seed": seed}
        if not self.pixels:
            self.options = {"rate": 2e-3, "decay": 0.1, "seed": seed, "classes": self.words}
        torch.manual_seed(seed)
        self.model = self._numbers_model() if self.pixels else self._emoji_model()

    def read_images(self, images: Tensor) -> Tensor:
        """What the image tower takes."""
        return images if self.pixels else encoders.edges_and_colours(images)

    def read_texts(self, captions: list[str]) -> Tensor:
        """What the text tower takes."""
        return self.vocabulary(captions) if self.pixels else self.task.sentence_features(captions)

    def _numbers_model(self) -> nn.ModuleDict:
        encoder = encoders.ImageEncoder((16, 32), channels=(24, 48, 48), embed_dim=192)
        return nn.ModuleDict(
            {
                "features": nn.Sequential(encoder, nn.LayerNorm(192), nn.ReLU()),
                "image": nn.Linear(192, 64),
                "text": encoders.TextEncoder(len(self.vocabulary)),
                "scale": LogitScale(),
            }
        )

    def _emoji_model(self) -> nn.ModuleDict:
        hidden = [nn.Linear(self.source.shape[1], 512), nn.LayerNorm(512), nn.GELU()]
        return nn.ModuleDict(
            {
                "features": nn.Sequential(encoders.Centre(self.source.mean(dim=0)), nn.Dropout(0.25), *hidden),
                "image": nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 128)),
                "text": nn.Sequential(encoders.Centre(self.words.mean(dim=0)), nn.Dropout(0.2), nn.Linear(384, 128)),
                "scale": LogitScale(),
            }
        )

    def draw_source(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures of different captions, and these captions."""
        chosen = torch.randperm(len(self.captions), generator=generator)[:128]
        which = torch.randint(self.pictures.shape[1], chosen.shape, generator=generator)
        return self._changed(self.source[self.pictures[chosen, which]], generator), self.words[chosen]

    def draw_target(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As many pictures of the target, as they are and changed."""
        count = min(128, len(self.captions))
        images = self.target[torch.randint(len(self.target), (count,), generator=generator)]
        return images, self._changed(images, generator)

    def _changed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return encoders.random_affine(images, generator=generator) if self.pixels else images

    def encoders(self, model: nn.ModuleDict) -> tuple[Callable, Callable]:
        """The two functions that `train` returns."""

        def encode_images(images: Tensor) -> Tensor:
            parts = self.read_images(images).split(500)
            return torch.cat([model["image"](model["features"](part)) for part in parts])

        def encode_texts(captions: list[str]) -> Tensor:
            return model["text"](self.read_texts(captions))

        return encode_images, encode_texts


def train_as_lesson_06(task: Task, seed: int, *, steps: dict[str, int], **options) -> tuple[Callable, Callable]:
    """`adapt` of the course's towers, from nothing. steps: by task. options: of `adapt`, such as align."""
    from xlib.experiments.adapt import Batches, adapt

    towers = Towers(task, seed)
    batches = Batches(towers.draw_source, towers.draw_target)
    model, _ = adapt(towers.model, batches, steps=steps[task.name], **towers.options, **options)
    return towers.encoders(model)
