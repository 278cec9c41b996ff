"""The numbers 10 to 99, spoken in English and Chinese in many voices, without a network.

eSpeak NG speaks them, a small engine of rules and formants that the package espeakng-loader brings (`missing` says
why it cannot be used). What it speaks is made once and kept in xlib's cache. Where it is missing, a few recorded
clips of each kind, which come along with xlib, take its place.
"""

import ctypes
import functools
import math
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import util
from importlib.metadata import version
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from xlib import _validate
from xlib.data.cache import cached
from xlib.data.numbers import LANGUAGES, NUMBERS, caption
from xlib.progress import tqdm

RATE = 16_000  # samples a second, of every clip here

# Voices by kind, as eSpeak NG names them: a variant such as "m3", or an accent and a variant. No voice is of two
# kinds. The accents have the test voices' throats, so that what differs from "test" is the accent alone.
VOICES = {
    "train": ("m1", "f1", "m3", "f3", "m5", "f5", "m7", "linda"),
    "test": ("m6", "f2", "m8", "f4"),
    "whisper": ("whisper", "whisperf", "croak", "grandpa"),
    "accents": ("en-gb-scotland+m6", "en-029+f2", "en-gb-x-gbclan+m8", "en-gb-x-gbcwmd+f4"),
    "neural": ("heart",),  # hibari-tts's own
}
TAKES = 2  # times that each voice says each number

ATTRIBUTION = (
    "Spoken by eSpeak NG (github.com/espeak-ng/espeak-ng), through the package espeakng-loader. The program is under "
    "the GNU General Public License, version 3 or later; the clips are its output, and no part of it. The neural "
    "voice, where it is installed: hibari-tts, Apache License 2.0, © Maureese Williams, distilled from Kokoro-82M, "
    "Apache License 2.0."
)

_SPEEDS, _PITCHES = (130, 210), (20, 80)  # words a minute; of eSpeak NG's 0 to 99
_ACCENTS = {"en": "en-us", "zh": "cmn"}  # eSpeak NG's names
_ENGLISH_ONLY = ("accents", "neural")
_PEAK = 0.7
_FRAME = RATE // 100  # samples in which loudness is measured, 10 ms
_QUIET = 1e-4  # of the loudest frame's power (−40 dB): quieter is silence around the word
_SILENT = 1e-3  # of full scale (−60 dB): a recording that is nowhere louder holds nothing
_LONGEST, _LETTERS = 5.0, 100  # seconds of a clip, characters of a text
_EDITION = "2"  # raise it when a clip is made in another way, so that caches made before are dropped

CLIPS = Path(__file__).with_name("spoken.safetensors")  # what comes along: tools/speak_clips.py makes it
ALONG = {  # how many voices of a kind it holds, the first ones
    ("en", "train"): 4,
    ("en", "test"): 2,
    ("en", "whisper"): 2,
    ("en", "accents"): 2,
    ("en", "neural"): 1,
    ("zh", "train"): 3,
    ("zh", "test"): 2,
    ("zh", "whisper"): 1,
}


@dataclass(frozen=True, eq=False, repr=False)  # tensors do not compare to one truth, and would fill the screen
class Spoken:
    """N spoken numbers, in the order of voices, and of numbers within a voice.

    Attributes:
        numbers: (N,) int64 from 10 to 99.
        voices: (N,) int64, index into voice_names.
        voice_names: V names out of VOICES.
        samples: (S,) int16, 16,000 a second: all clips, one after the other.
        starts: (N,) int64, where each clip begins in samples.
        lengths: (N,) int64, how many samples it has.

    Example:
        >>> one = torch.ones(1, dtype=torch.int64)
        >>> spoken = Spoken(one * 42, one * 0, ("m1",), torch.tensor([0, 16384], dtype=torch.int16), one, one)
        >>> spoken.clip(0)
        tensor([0.5])
    """

    numbers: Tensor
    voices: Tensor
    voice_names: tuple[str, ...]
    samples: Tensor
    starts: Tensor
    lengths: Tensor

    def clip(self, index: int) -> Tensor:
        """One clip, (n,) float32 in [-1, 1] at RATE. Raises IndexError where there is none of that number."""
        start = self.starts[index]
        return self.samples[start : start + self.lengths[index]] / 32768


def missing() -> str:
    """Why eSpeak NG cannot be used here, in one sentence; "" where it can.

    Example:
        >>> reason = missing()
        >>> reason == "" or "espeakng-loader" in reason
        True
    """
    try:
        _engine()
    except _Missing as reason:
        return str(reason)
    return ""


def load(voices: str = "train", *, language: str = "en") -> Spoken:
    """The numbers 10 to 99, each said twice by each voice of one kind.

    All 90 numbers are in every kind: kinds keep voices apart, not numbers. That is for `numbers.SEEN` and `UNSEEN`,
    and who trains leaves out what is UNSEEN here too.

    Args:
        voices: "train"; "test", other voices of the same engine; "whisper", voices that whisper or creak; "accents",
            English of Scotland, the Caribbean, Lancaster and the West Midlands; "neural", the one voice of another
            engine, the package hibari-tts.
        language: "en" (American, but for the accents) or "zh" (Mandarin, not for "accents" and "neural").

    From clip to clip the speed is 130 to 210 words a minute and the pitch 20 to 80 of eSpeak NG's 0 to 99, drawn
    evenly, the same ones each time; the neural voice's speed is 0.8 to 1.3 of its own. Silence before and after is
    cut off: 10 ms with less than 1/10,000 of the loudest 10 ms's power (−40 dB). What is left takes 0.25 to 1.35 s.
    The greatest sample of each clip is 0.7, so that none is distorted and none is hard to hear.

    The first call speaks for some seconds, in a process of its own and with a progress bar; later ones read xlib's
    cache. The same call gives the same samples, whatever was said before.
    Where the engine is `missing` it warns once and gives what comes along: fewer voices, each number said once, and
    compressed, which moves the greatest sample a little. So it does for "neural" without hibari-tts, unwarned.
    Raises ValueError for another kind or language.

    Example:
        >>> spoken = load("test")
        >>> clip = spoken.clip(64)
        >>> int(spoken.numbers[64]), spoken.voice_names[spoken.voices[64]], clip.dtype, clip.abs().max()
        (42, 'm6', torch.float32, tensor(0.7))
    """
    _validate.choice("voices", voices, tuple(VOICES))
    _validate.choice("language", language, LANGUAGES)
    if language != "en" and voices in _ENGLISH_ONLY:
        raise ValueError(f"language must be 'en' for the voices {voices!r}, got {language!r}")
    if voices == "neural":
        if util.find_spec("hibari") is None:
            return _along(voices, language)
        package, say_all = "hibari-tts", _say_neural
    elif reason := missing():
        _say_once(reason)
        return _along(voices, language)
    else:
        package, say_all = "espeakng-loader", functools.partial(_say_anew, voices, language)
    key = f"{_EDITION} {package}={version(package)} {' '.join(VOICES[voices])}"
    stored = cached(f"speech-{language}-{voices}", key, say_all)
    return _spoken(VOICES[voices], stored["samples"], stored["lengths"], TAKES)


def say(text: str, *, voice: str, language: str = "en", rate: int = 160, pitch: int = 50) -> Tensor:
    """Any short text, spoken: (n,) float32 at RATE, cut and scaled as the clips of `load`.

    Args:
        text: at most 100 characters, that take at most 5 seconds.
        voice: one of VOICES, but for the neural one.
        language: "en" or "zh": whose letters and sounds; an accent is one of English.
        rate: words a minute, from 80 to 300.
        pitch: from 0 to 99; 50 is the voice's own.
    Raises TypeError or ValueError for arguments out of range, for a text that holds nothing to say, such as "...",
    and for one that takes too long; RuntimeError where the engine is `missing`.

    Example:
        >>> clip = say("forty-two", voice="m1") if not missing() else torch.rand(9000)
        >>> 0.3 < len(clip) / RATE < 1.0
        True
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    text = " ".join(text.split())
    if not text or not text.isprintable():
        raise ValueError(f"text must hold letters or digits to say, and no control characters, got {text!r}")
    if len(text) > _LETTERS:
        raise ValueError(f"text must have at most {_LETTERS} characters, got {len(text)}")
    known = tuple(name for kind, names in VOICES.items() if kind != "neural" for name in names)
    _validate.choice("voice", voice, known)
    _validate.choice("language", language, LANGUAGES)
    if language != "en" and voice in VOICES["accents"]:
        raise ValueError(f"language must be 'en' for the voice {voice!r}, got {language!r}")
    _validate.whole("rate", rate, least=80, most=300)
    _validate.whole("pitch", pitch, least=0, most=99)
    wave = _say(text, voice, language, rate, pitch)
    if np.abs(wave).max(initial=0) < _SILENT:
        raise ValueError(f"text must hold letters or digits to say, got {text!r}, of which nothing is heard")
    clip = _cut(wave)
    if len(clip) > _LONGEST * RATE:
        raise ValueError(f"text must take at most {_LONGEST:g} seconds to say, got one of {len(clip) / RATE:.1f}")
    return torch.from_numpy(clip)


def read(path: str | os.PathLike) -> Tensor:
    """A recording of your own, such as a WAV file: (n,) float32 at RATE, cut and scaled as the clips of `load`.

    path: a sound file with one channel, of 16 bits or more, of any sampling rate from 8,000, at most 5 seconds long;
    WAV, FLAC, Ogg or MP3. "~" is the home folder.
    Raises FileNotFoundError, or ValueError that names the file and says what to do: for one that is no sound file,
    empty, silent, damaged, longer, in stereo or of 8 bits.

    Example:
        >>> import soundfile, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(f"{folder}/hum.wav", np.sin(np.arange(44100) / 50) / 10, 44100)
        ...     read(f"{folder}/hum.wav").shape
        torch.Size([16000])
    """
    import soundfile

    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with path.open("rb") as opened, soundfile.SoundFile(opened) as file:
            _check_sound(path.name, file)
            wave = file.read(dtype="float32")
            rate = file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{path.name} is not a sound file that can be read ({error.error_string.strip(' .')}). "
            "Save the recording as WAV, with one channel and 16 bits."
        ) from None
    if len(wave) == 0:
        raise ValueError(f"{path.name} is empty: it holds no samples. Record it again.")
    if not np.isfinite(wave).all():
        raise ValueError(f"{path.name} is damaged: it holds samples that are no numbers. Save it with 16 bits.")
    if np.abs(wave).max() < _SILENT:
        raise ValueError(f"{path.name} is silent. Was the microphone muted, or another one recorded?")
    return torch.from_numpy(_cut(_resampled(wave, rate)))


# What a net hears: the powers of 40 bands of pitch at 64 moments. Both are few: a picture no larger than an emoji.
BANDS, MOMENTS = 40, 64
_WINDOW, _POINTS = 400, 512  # samples, 25 ms, in which speech hardly changes; of the Fourier transform
_LOWEST, _HIGHEST = 150.0, RATE / 2  # Hz; below, there is the voice's pitch, which tells who speaks, not what
_RANGE = 1e-6  # of the greatest power (−60 dB): quieter counts as that


def log_mel(waves: Iterable[Tensor]) -> Tensor:
    """Log-mel features: how loud each of 40 bands of pitch is, at 64 moments of each clip.

    Moments are spread evenly over a clip, so that slow and fast speech come out alike; beyond 1.6 s there are gaps
    between them. At each, 25 ms under Hann's
    window have their power spectrum summed in 40 triangles, as wide as the ear's bands (mel scale of O'Shaughnessy,
    "Speech Communication", 1987, from 150 to 8,000 Hz). Of that, the logarithm, 60 dB down from the greatest; each
    clip's features then have mean 0 and standard deviation 1, which takes out how loud it is.

    waves: B clips in a list or tensor, each (n,) and floating, of any length, at RATE, as from `load`, `say`, `read`.
    Returns (B, 1, 40, 64) float32, low bands first. Raises TypeError or ValueError for what is no clip, and for one
    that is silent or not finite.

    Example:
        >>> hum = torch.sin(torch.arange(9000) / 5)  # of 509 Hz, in the sixth band
        >>> log_mel([hum, hum[:5000]]).shape, log_mel([hum])[0, 0].mean(dim=1).argmax()
        (torch.Size([2, 1, 40, 64]), tensor(5))
    """
    waves = list(waves)
    if len(waves) == 0:
        raise ValueError("waves must hold at least one clip, got none")
    for index, wave in enumerate(waves):
        _check_wave(f"waves[{index}]", wave)
    bands, window, steps = _triangles(), torch.hann_window(_WINDOW), torch.arange(_WINDOW)
    features = torch.empty(len(waves), 1, BANDS, MOMENTS)
    for index, wave in enumerate(waves):
        wave = torch.nn.functional.pad(wave.float(), (0, max(0, _WINDOW - len(wave))))  # one window at least
        starts = torch.arange(MOMENTS) * (len(wave) - _WINDOW) // (MOMENTS - 1)
        pieces = wave[starts[:, None] + steps] * window  # (64, 400)
        power = torch.fft.rfft(pieces, n=_POINTS).abs().square() @ bands  # (64, 257) @ (257, 40)
        if power.max() == 0:
            raise ValueError(f"waves[{index}] is silent")
        level = (power / power.max()).clamp(min=_RANGE).log10()
        features[index, 0] = ((level - level.mean()) / level.std()).T
    return features


@functools.cache
def _triangles() -> Tensor:
    """(257, 40): how much each frequency of the Fourier transform counts in each band."""

    def mel(hertz):
        return 2595 * math.log10(1 + hertz / 700)

    edges = 700 * (10 ** (torch.linspace(mel(_LOWEST), mel(_HIGHEST), BANDS + 2).double() / 2595) - 1)
    hertz = torch.linspace(0, RATE / 2, _POINTS // 2 + 1).double()[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0).float()


def _check_wave(name: str, wave: Tensor) -> None:
    if not isinstance(wave, Tensor) or not wave.is_floating_point():
        came = wave.dtype if isinstance(wave, Tensor) else type(wave).__name__
        raise TypeError(f"{name} must be a floating-point torch.Tensor, got {came}")
    if wave.ndim != 1 or len(wave) == 0:
        raise ValueError(f"{name} must be one clip of shape (n,), n at least 1, got shape {tuple(wave.shape)}")
    if not wave.isfinite().all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def _check_sound(name: str, file) -> None:
    """Raise where a recording is of the wrong kind, before its samples are read."""
    if file.channels != 1:
        raise ValueError(f"{name} has {file.channels} channels: save it with one (mono).")
    if file.subtype in ("PCM_U8", "PCM_S8"):
        raise ValueError(f"{name} has 8 bits a sample, which hiss: save it with 16.")
    if file.samplerate < 8000:
        raise ValueError(f"{name} has {file.samplerate} samples a second: save it with 16,000, or 8,000 at least.")
    if file.frames > _LONGEST * file.samplerate:
        seconds = file.frames / file.samplerate
        raise ValueError(f"{name} is {seconds:.1f} seconds long: cut it to one word, {_LONGEST:g} at most.")


# -- the engine


class _Missing(RuntimeError):
    """Why eSpeak NG cannot be used."""


_LOCK = threading.RLock()  # the engine's state is the process's own
_LONGEST_PATH = 159  # bytes, of the folder of the engine's data: with a longer one it is silent, and reports no error
_heard: list[bytes] = []


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
def _hear(wave, count, _):
    if wave and count > 0:
        _heard.append(ctypes.string_at(wave, 2 * count))
    return 0  # go on


@functools.cache  # a failure is not kept: the package may be installed while the kernel runs
def _engine() -> tuple[ctypes.CDLL, int]:
    """The library, ready to speak, and its sampling rate. Raises _Missing."""
    try:
        import espeakng_loader
    except ImportError:
        raise _Missing("the package espeakng-loader is not installed (pip install espeakng-loader)") from None
    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        folder = Path(espeakng_loader.get_data_path())
        initialize, set_seed = library.espeak_Initialize, library.espeak_ng_SetRandSeed
    except (OSError, RuntimeError, AttributeError) as error:
        raise _Missing(f"the package espeakng-loader brings no engine that loads here ({error})") from None
    data = os.fsencode(folder)
    if len(data) > _LONGEST_PATH:
        raise _Missing(
            f"the engine of espeakng-loader takes no folder with a name as long as that of its data, {folder}"
        )
    if not (folder / "phontab").is_file():
        raise _Missing(f"the package espeakng-loader lacks its data, which should be in {folder}")
    with _LOCK:
        rate = initialize(2, 0, data, 0x8000)  # samples go to the callback alone; an error does not end the process
        library.espeak_SetSynthCallback(_hear)
        set_seed(ctypes.c_long(0))  # of the noise in breath, which would begin with the time of day
        library.espeak_SetVoiceByName(b"en-us")
        _heard.clear()
        library.espeak_Synth(b"1\0", 2, 0, 1, 0, 1, None, None)
        if rate <= 0 or not b"".join(_heard).strip(b"\0"):  # where it cannot read its data it need not report that
            raise _Missing(f"the engine of espeakng-loader does not speak, with its data in {folder}")
    return library, rate


def _say(text: str, voice: str, language: str, rate: int, pitch: int) -> np.ndarray:
    """(n,) float32 at RATE, as the engine says it."""
    # In a thread of its own: an interrupt (Ctrl-C) is raised in the main thread, and would get lost in the callback.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_say_here, text, voice, language, rate, pitch).result()


def _say_here(text: str, voice: str, language: str, rate: int, pitch: int) -> np.ndarray:
    full_name = voice if "+" in voice else f"{_ACCENTS[language]}+{voice}"
    data = text.encode() + b"\0"
    with _LOCK:
        library, samples = _engine()
        _heard.clear()
        status = library.espeak_SetVoiceByName(full_name.encode())
        library.espeak_SetParameter(1, rate, 0)
        library.espeak_SetParameter(3, pitch, 0)
        status = status or library.espeak_Synth(data, len(data), 0, 1, 0, 1, None, None)  # UTF-8
        pcm = b"".join(_heard)
    if status:
        raise RuntimeError(f"eSpeak NG does not say {text!r} in the voice {full_name}: its error {status}")
    return _resampled(np.frombuffer(pcm, dtype=np.int16).astype(np.float32) / 32768, samples)


def _say_anew(voices: str, language: str) -> dict[str, Tensor]:
    """`_say_all` in a process of its own: the engine's tremor and breath go on from clip to clip, and so what it says
    depends on all that it has said before."""
    names, seed = VOICES[voices], crc32(f"{voices} {language}".encode())
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "clips.safetensors")
        code = f"from xlib.data import speech; speech._say_into({file!r}, {names!r}, {language!r}, {seed})"
        variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=variables) as child:
            for _ in tqdm(range(len(_jobs(names))), desc=f"speaking {language}", leave=False):
                child.stdout.read(1)
        if child.returncode:
            raise RuntimeError(f"the process that spoke ended with status {child.returncode}")
        return load_file(file)


def _say_into(file: str, names: tuple[str, ...], language: str, seed: int) -> None:
    save_file(_say_all(names, language, seed, said=lambda: os.write(1, b".")), file)


def _jobs(names: tuple[str, ...]) -> list[tuple[str, int]]:
    """Who says which number, in order."""
    return [(name, number) for name in names for number in NUMBERS for _ in range(TAKES)]


def _say_all(
    names: tuple[str, ...], language: str, seed: int, *, said: Callable[[], object] = lambda: None
) -> dict[str, Tensor]:
    generator, jobs, clips = torch.Generator().manual_seed(seed), _jobs(names), []
    rates = torch.randint(_SPEEDS[0], _SPEEDS[1] + 1, (len(jobs),), generator=generator).tolist()
    pitches = torch.randint(_PITCHES[0], _PITCHES[1] + 1, (len(jobs),), generator=generator).tolist()
    for (name, number), rate, pitch in zip(jobs, rates, pitches, strict=True):
        clips.append(_cut(_say(caption(number, language=language), name, language, rate, pitch)))
        said()
    return _packed(clips)


def _say_neural() -> dict[str, Tensor]:
    import hibari

    speak = hibari.Hibari()  # the one voice that is in the package
    jobs = [number for number in NUMBERS for _ in range(TAKES)]
    speeds = 0.8 + 0.5 * torch.rand(len(jobs), generator=torch.Generator().manual_seed(0))
    bar = tqdm(zip(jobs, speeds.tolist(), strict=True), total=len(jobs), desc="speaking, neural", leave=False)
    return _packed(
        _cut(_resampled(speak(caption(number) + ".", speed=speed, seed=index), hibari.SAMPLE_RATE))
        for index, (number, speed) in enumerate(bar)
    )


# -- clips


def _resampled(wave: np.ndarray, rate: int) -> np.ndarray:
    from scipy.signal import resample_poly

    if rate == RATE or len(wave) == 0:
        return wave
    common = math.gcd(RATE, rate)
    return resample_poly(wave, RATE // common, rate // common).astype(np.float32)


def _cut(wave: np.ndarray) -> np.ndarray:
    """Without the silence before and after, its greatest sample at _PEAK; float32."""
    power = np.square(np.pad(wave, (0, -len(wave) % _FRAME)).reshape(-1, _FRAME)).mean(axis=1)
    loud = np.flatnonzero(power > _QUIET * power.max())
    wave = wave[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME]
    return wave * np.float32(_PEAK / np.abs(wave).max())


def _packed(clips: Iterable[np.ndarray]) -> dict[str, Tensor]:
    """Clips one after the other as int16, and their lengths."""
    whole = [np.round(clip * 32767).astype(np.int16) for clip in clips]
    return {
        "samples": torch.from_numpy(np.concatenate(whole)),
        "lengths": torch.tensor([len(clip) for clip in whole]),
    }


def _spoken(names: tuple[str, ...], samples: Tensor, lengths: Tensor, takes: int) -> Spoken:
    each = len(NUMBERS) * takes
    return Spoken(
        numbers=torch.tensor(NUMBERS).repeat_interleave(takes).repeat(len(names)),
        voices=torch.arange(len(names)).repeat_interleave(each),
        voice_names=names,
        samples=samples,
        starts=lengths.cumsum(0) - lengths,
        lengths=lengths,
    )


def _along(voices: str, language: str) -> Spoken:
    """The clips that come along: of some voices of a kind, each number once."""
    import io

    import soundfile

    stored, label = load_file(CLIPS), f"{language}-{voices}"
    samples, _ = soundfile.read(io.BytesIO(stored[label].numpy().tobytes()), dtype="int16")
    names = VOICES[voices][: ALONG[language, voices]]
    return _spoken(names, torch.from_numpy(samples), stored[f"{label}-lengths"].long(), takes=1)


@functools.cache
def _say_once(reason: str) -> None:
    warnings.warn(f"Numbers are spoken by fewer voices, recorded before, because {reason}.", stacklevel=3)
