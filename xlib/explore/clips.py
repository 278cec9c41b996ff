"""Sounds of items: a clip is checked, made a small file that all browsers play, and drawn as its spectrogram."""

import io

import numpy as np
import torch
from PIL import Image

from xlib.explore.pictures import THUMBNAIL, tensor

RATE = 16_000  # samples a second
SECONDS = 2  # of an item's clip, at most: as a file it then has less than 12 kB
SPOKEN = 20  # of a typed caption, at most: it goes into no page
WINDOW, HOP = 512, 64  # samples of a spectrogram's window, and from one to the next: 32 ms and 4 ms
RANGE = 55  # dB below the loudest, where a spectrogram's paper begins
INK = 26  # of a spectrogram, from 0 to 255: grey, since colours tell the classes


def checked(name, clip, seconds=SECONDS):
    """A clip as (samples,) float32: a float tensor or array of one dimension in [-1, 1] at 16,000 samples a second.
    Raises TypeError or ValueError with this name for anything else, and for one of more seconds than that."""
    if not isinstance(clip, torch.Tensor) and not hasattr(clip, "__array__"):
        raise TypeError(f"{name} must be a torch.Tensor or numpy array, got {type(clip).__name__}")
    x = tensor(clip) if isinstance(clip, torch.Tensor) else np.asarray(clip)
    if x.dtype.kind != "f":
        raise TypeError(f"{name} must hold floating-point samples in [-1, 1], got {x.dtype}")
    if x.ndim != 1 or not len(x):
        raise ValueError(f"{name} must have shape (samples,), one channel and not empty, got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity at sample {np.flatnonzero(~np.isfinite(x))[0]}")
    if np.abs(x).max() > 1.001:  # a last digit may be off
        raise ValueError(f"{name} must lie in [-1, 1], got {x.min():.4g} to {x.max():.4g}")
    if len(x) > seconds * RATE:
        raise ValueError(
            f"{name} must be at most {seconds} s, {seconds * RATE:,} samples at 16 kHz, got {len(x):,} samples"
        )
    return x.astype(np.float32)


def mp3(clip):
    """The bytes of an MP3 file of a clip (samples,), 40 kbit/s: Chromium, Firefox and Safari all play it, which they
    do not all do for Ogg."""
    import soundfile  # here, so that only who has sounds loads it

    file = io.BytesIO()
    constant = {"bitrate_mode": "CONSTANT", "compression_level": 0.8}
    soundfile.write(file, clip, RATE, format="MP3", subtype="MPEG_LAYER_III", **constant)
    return file.getvalue()


def spectrogram(clip):
    """(48, 48) uint8 of a clip (samples,): its whole time from left to right, 0 to 8 kHz from below on the mel scale,
    255 for the loudest and 0 for what is RANGE dB below that."""
    window = torch.hann_window(WINDOW)
    waves = torch.stft(torch.from_numpy(clip), WINDOW, HOP, window=window, pad_mode="constant", return_complex=True)
    power = waves.abs().square().numpy()  # (257, frames)
    mel = np.linspace(0, np.log1p(RATE / 2 / 700), THUMBNAIL + 1)
    bands = _means(power, 700 * np.expm1(mel) / (RATE / 2) * len(power))
    cells = _means(bands.T, np.linspace(0, power.shape[1], THUMBNAIL + 1)).T[::-1]
    loudest = cells.max()
    if loudest <= 0:
        return np.zeros(cells.shape, np.uint8)
    decibels = 10 * np.log10((cells / loudest).clip(1e-12))
    return ((1 + decibels / RANGE).clip(0, 1) * 255).round().astype(np.uint8)


def _means(x, edges):
    """(M, ...) means of x (N, ...) between M + 1 edges from 0 to N along its first axis, which may cut a row."""
    sums = np.concatenate([np.zeros_like(x[:1]), x.cumsum(0)])
    rows = edges.astype(int).clip(max=len(x) - 1)
    return np.diff(sums[rows] + (edges - rows)[:, None] * x[rows], axis=0) / np.diff(edges)[:, None]


def with_spectrograms(sprites, cells, sounds):
    """Thumbnails, as of `pictures.thumbnails`, with one more for each item that has a sound and no picture.

    A spectrogram gets the size of the pictures, so that these keep theirs on the map; small ones are enlarged first,
    pixel by pixel.
    """
    rows = [i for i, clip in enumerate(sounds) if clip is not None and sprites[i] < 0]
    if not rows:
        return sprites, cells
    if len(cells):
        times = max(1, 32 // max(cells.shape[1:3]))
        cells = cells.repeat(times, 1).repeat(times, 2)
    height, width = cells.shape[1:3] if len(cells) else (THUMBNAIL, THUMBNAIL)
    drawn = np.full((len(rows), height, width, 4), INK, np.uint8)
    for cell, i in zip(drawn, rows, strict=True):
        cell[..., 3] = Image.fromarray(spectrogram(sounds[i])).resize((width, height), Image.Resampling.BOX)
    sprites = sprites.copy()
    sprites[rows] = len(cells) + np.arange(len(rows))
    return sprites, np.concatenate([cells, drawn]) if len(cells) else drawn
