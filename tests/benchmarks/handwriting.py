"""How much does a digit reader depend on whose hand it reads? Leave one form out in turn: python handwriting.py"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from xlib.data import digits

pixels, labels = load_digits(return_X_y=True)
opening = list(range(10)) * 3  # how every form begins; two forms lack it and are read together with the one before
starts = [i for i in range(len(labels)) if labels[i : i + 30].tolist() == opening]


def accuracy(test: np.ndarray) -> float:
    train = np.setdiff1d(np.arange(len(labels)), test)
    return SVC(C=10, gamma=0.05).fit(pixels[train] / 16, labels[train]).score(pixels[test] / 16, labels[test])


everything = np.arange(len(labels))
for start, end in zip(starts, [*starts[1:], len(labels)], strict=True):
    print(f"scans {start:4d} to {end - 1:4d} left out: {accuracy(everything[start:end]):.3f}")
print(f'the split "test" left out:     {accuracy(everything[digits.TEST_SCANS]):.3f}')
random = np.random.default_rng(0).permutation(everything)
print(f"as many random scans left out: {accuracy(random[: len(everything[digits.TEST_SCANS])]):.3f}")
