"""A guess at the shift

no look at the target: numbers as |picture − u| with a random grey u, which is nearly how the target was made; emoji
in grey as well as in colour
"""

import torch
from kit import train_as_lesson_06

STEPS = {"numbers": 480, "emoji": 480}


def train(task, seed):
    images = task.source_images
    if task.name == "numbers":
        grey = torch.rand(len(images), 1, 1, 1, generator=torch.Generator().manual_seed(seed))
        task.source_images = (images - grey).abs()
    else:
        task.source_images = torch.cat([images, images.mean(dim=1, keepdim=True).expand_as(images)])
        task.source_captions = task.source_captions * 2
    return train_as_lesson_06(task, seed, steps=STEPS)
