"""CLIP + DANN

a domain head and a gradient reversal between it and the image features, λ = .3 for numbers and .1 for emoji
"""

from kit import train_as_lesson_06

STEPS = {"numbers": 480, "emoji": 480}
WEIGHT = {"numbers": 0.3, "emoji": 0.1}  # lesson 06's


def train(task, seed):
    return train_as_lesson_06(task, seed, steps=STEPS, align={"dann": WEIGHT[task.name]})
