"""Write xlib/data/spoken.safetensors: the spoken numbers that come along with xlib, for where the engine is missing.

    python tools/speak_clips.py

Of each kind of voices the first few, as `ALONG` in xlib/data/speech.py says, each number once; Ogg Opus, one stream a
kind. Needs espeakng-loader.
"""

import io
import sys

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file

from xlib._files import written_whole
from xlib.data import speech

# Of 0 to 1: about 18 kbit/s, where features agree with the uncompressed clips' to a correlation of .99.
COMPRESSION = 0.95


def encoded(clips: list[torch.Tensor]) -> torch.Tensor:
    """Clips, one after the other, as the bytes of one Ogg Opus stream."""
    file = io.BytesIO()
    samples = np.concatenate([clip.numpy() for clip in clips])
    soundfile.write(file, samples, speech.RATE, format="OGG", subtype="OPUS", compression_level=COMPRESSION)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def tensors() -> dict[str, torch.Tensor]:
    """For each language and kind its stream, and the clips' lengths, (N,) int32."""
    found = {}
    for (language, kind), count in speech.ALONG.items():
        spoken = speech.load(kind, language=language)
        clips = [spoken.clip(i) for i in range(0, count * len(speech.NUMBERS) * speech.TAKES, speech.TAKES)]
        found[f"{language}-{kind}"] = encoded(clips)
        found[f"{language}-{kind}-lengths"] = torch.tensor([len(clip) for clip in clips], dtype=torch.int32)
    return found


if __name__ == "__main__":
    if reason := speech.missing():
        sys.exit(f"Nothing is written: {reason}.")
    with written_whole(speech.CLIPS) as beside:
        save_file(tensors(), beside)
    print(f"{speech.CLIPS}: {speech.CLIPS.stat().st_size / 1e6:.2f} MB")
