"""Spoken numbers: voices that are kept apart, features against another library, and life without the engine."""

import ast
import inspect
import io
import os
import re
import signal
import sys
import threading
import time
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import speak_clips
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize
from torch.testing import assert_close
from transformers.audio_utils import mel_filter_bank, spectrogram

from xlib.data import numbers
from xlib.data import speech as S

KINDS = [kind for kind in S.VOICES if kind != "neural"]
SPOKEN_HERE = [("en", kind) for kind in KINDS] + [("zh", kind) for kind in KINDS if kind != "accents"]


@pytest.fixture
def engine():
    """espeakng_loader, and afterwards an engine that starts anew: tests may bend where its files lie."""
    yield pytest.importorskip("espeakng_loader")
    S._engine.cache_clear()


@pytest.fixture
def without_engine(monkeypatch):
    """As where the package is not installed."""
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    S._engine.cache_clear()
    S._say_once.cache_clear()


@cache
def loaded(kind, language="en"):
    pytest.importorskip("espeakng_loader")
    return S.load(kind, language=language)


@cache
def along(kind, language="en"):
    return S._along(kind, language)


def features(spoken):
    return S.log_mel([spoken.clip(i) for i in range(len(spoken.numbers))])


@cache
def centroids(language):
    """(90, 2560): the mean features of each number in the training voices that come along."""
    return mean_features(along("train", language))


def mean_features(spoken):
    found = features(spoken).flatten(1)
    return normalize(torch.stack([found[spoken.numbers == number].mean(dim=0) for number in S.NUMBERS]))


def read_numbers(found, language="en", *, means=None):
    """The number of the nearest centroid, by cosine similarity."""
    means = centroids(language) if means is None else means
    return (found.flatten(1) @ means.T).argmax(dim=1) + S.NUMBERS[0]


def seconds(clip):
    return len(clip) / S.RATE


def tone(hertz, length=8000, rate=S.RATE):
    return torch.sin(2 * torch.pi * hertz * torch.arange(length) / rate) / 2


# -- which voices


def test_no_voice_is_of_two_kinds_and_no_test_voice_is_trained_on():
    names = [name for names in S.VOICES.values() for name in names]
    assert len(names) == len(set(names))
    throats = {kind: {name.rpartition("+")[2] for name in names} for kind, names in S.VOICES.items()}
    for kind, throat in throats.items():
        if kind != "train":
            assert not throats["train"] & throat
    assert throats["accents"] == throats["test"]
    assert (len(S.VOICES["train"]), len(S.VOICES["test"])) == (8, 4)


def test_every_voice_is_one_of_the_engines_own(engine):
    """The engine takes a name that it does not know for its usual voice, without an error."""
    data = Path(engine.get_data_path())
    accents = {
        re.search(r"^language\s+(\S+)", p.read_text("utf-8", "ignore"), re.M)[1] for p in data.glob("lang/*/en*")
    }
    for kind in KINDS:
        for name in S.VOICES[kind]:
            accent, _, throat = name.rpartition("+")
            assert (data / "voices" / "!v" / throat).is_file(), name
            assert not accent or accent in accents, name


@pytest.mark.parametrize(("language", "text"), [("en", "seventy-six"), ("zh", "七十六")])
def test_voices_differ_from_each_other(engine, language, text):
    names = [name for kind in KINDS for name in S.VOICES[kind] if language == "en" or "+" not in name]
    found = S.log_mel([S.say(text, voice=name, language=language) for name in names]).flatten(1)
    alike = torch.corrcoef(found) - 2 * torch.eye(len(names))
    assert alike.max() < 0.985, [names[i] for i in (alike == alike.max()).nonzero()[0]]


# -- what load gives


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_voice_says_each_number_twice(language):
    spoken = loaded("test", language)
    assert spoken.voice_names == S.VOICES["test"]
    expected = [(voice, number) for voice in range(4) for number in range(10, 100) for _ in range(2)]
    assert list(zip(spoken.voices.tolist(), spoken.numbers.tolist(), strict=True)) == expected
    for index in (spoken.numbers, spoken.voices, spoken.starts, spoken.lengths):
        assert index.dtype == torch.int64
    assert set(numbers.UNSEEN) < set(spoken.numbers.tolist())
    assert spoken.samples.dtype == torch.int16
    assert torch.equal(spoken.starts[1:], spoken.lengths.cumsum(0)[:-1])
    assert (spoken.starts[0], spoken.lengths.sum()) == (0, len(spoken.samples))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_clips_are_cut_scaled_and_all_different(language):
    spoken = loaded("test", language)
    clips = [spoken.clip(i) for i in range(len(spoken.numbers))]
    assert all(clip.dtype == torch.float32 for clip in clips)
    assert_close(torch.stack([clip.abs().max() for clip in clips]), torch.full((720,), 0.7), atol=1e-4, rtol=0)
    assert 0.25 < min(map(seconds, clips)) < max(map(seconds, clips)) < 1.35
    for clip in clips:
        power = clip[: len(clip) // 160 * 160].view(-1, 160).square().mean(dim=1)
        assert min(power[0], power[-1]) > 0.9e-4 * power.max()  # no silence is left
    assert len({clip.numpy().tobytes() for clip in clips}) == 720
    assert torch.equal(spoken.clip(-1), clips[-1])


# Chance is 1/90. The centroids are of four English and three Chinese voices.
@pytest.mark.parametrize(("language", "floor"), [("en", 0.92), ("zh", 0.8)])
def test_new_voices_say_the_right_numbers(language, floor):
    spoken = loaded("test", language)
    right = read_numbers(features(spoken), language) == spoken.numbers
    assert right.float().mean() > floor
    for voice in range(4):
        assert right[spoken.voices == voice].float().mean() > 0.7


@pytest.mark.long
def test_kinds_of_voices_are_near_and_far():
    means = mean_features(loaded("train"))
    read = {
        kind: (read_numbers(features(loaded(kind)), means=means) == loaded(kind).numbers).float().mean()
        for kind in ("test", "whisper", "accents")
    }
    assert read["test"] > 0.95
    assert read["whisper"] > 0.93
    assert 0.65 < read["accents"] < 0.85


def speak_here(kind, language, monkeypatch):
    """What `load` has another process do, in this one."""
    with monkeypatch.context() as patch:
        patch.setattr(S, "load_file", lambda _: None)
        patch.setattr(S, "save_file", lambda *_: None)
        patch.setattr(S.os, "write", lambda *_: None)
        patch.setattr(S.subprocess, "Popen", Here)
        return S._say_anew(kind, language)


class Here:
    """A process that is this one."""

    returncode = 0

    def __init__(self, command, **_):
        exec(command[2])
        self.stdout = io.BytesIO()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_speed_and_pitch_are_drawn_evenly_and_the_same_each_time(monkeypatch):
    said = []

    def listen(*job):
        said.append(job)
        return np.ones(S._FRAME, dtype=np.float32)

    monkeypatch.setattr(S, "_say", listen)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    jobs = {}
    for language, kind in SPOKEN_HERE:
        for _ in "12":
            said.clear()
            speak_here(kind, language, monkeypatch)
            assert said == jobs.setdefault((language, kind), said.copy())
    for (language, kind), found in jobs.items():
        texts, voices, languages, rates, pitches = zip(*found, strict=True)
        assert texts == tuple(
            numbers.caption(n, language=language) for _ in S.VOICES[kind] for n in range(10, 100) for _ in "12"
        )
        assert voices == tuple(name for name in S.VOICES[kind] for _ in range(180))
        assert set(languages) == {language}
        assert set(rates) == set(range(130, 211))
        assert set(pitches) == set(range(20, 81))
    assert len({tuple(job[3:] for job in found[:720]) for found in jobs.values()}) == len(jobs)  # each draws its own


def test_spoken_once_with_a_bar_and_then_read(tmp_path, monkeypatch, engine, capfd):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))
    monkeypatch.setitem(S.VOICES, "test", ("m6",))
    bars = []
    monkeypatch.setattr(S, "tqdm", lambda steps, **how: bars.append((len(steps), how)) or steps)
    first = S.load("test")
    assert bars == [(180, {"desc": "speaking en", "leave": False})]
    monkeypatch.setattr(S, "_say_anew", lambda *_: pytest.fail("it speaks again"))
    again = S.load("test")
    assert torch.equal(first.samples, again.samples)
    assert torch.equal(first.lengths, again.lengths)
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["speech-en-test.safetensors"]
    monkeypatch.setitem(S.VOICES, "test", ("m8",))  # others are another key
    with pytest.raises(pytest.fail.Exception, match="speaks again"):
        S.load("test")


@pytest.mark.long
def test_the_same_is_spoken_at_any_time_and_whatever_was_said_before(engine, tmp_path, monkeypatch):
    monkeypatch.setitem(S.VOICES, "test", ("m6",))
    found = []
    for name in "ab":
        monkeypatch.setenv("XLIB_CACHE", str(tmp_path / name))
        found.append(S.load("test"))
        S.say("something else", voice="whisper")
        time.sleep(1.1)  # the engine's noise would begin with the second of the day
    assert torch.equal(found[0].samples, found[1].samples)


def test_a_process_that_does_not_speak_is_an_error(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))
    monkeypatch.setitem(S.VOICES, "test", ("nobody+",))
    with pytest.raises(RuntimeError, match="the process that spoke ended with status 1"):
        S.load("test")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"voices": "men"}, "voices must be one of 'train', 'test', .* got 'men'"),
        ({"language": "de"}, "language must be one of 'en', 'zh', got 'de'"),
        ({"voices": "accents", "language": "zh"}, "language must be 'en' for the voices 'accents', got 'zh'"),
        ({"voices": "neural", "language": "zh"}, "language must be 'en' for the voices 'neural', got 'zh'"),
    ],
)
def test_load_says_what_is_wrong(arguments, said):
    with pytest.raises(ValueError, match=said):
        S.load(**arguments)


# -- the clips that come along


def test_without_the_engine_the_clips_that_come_along_are_taken_and_it_is_said_once(without_engine):
    assert S.missing() == "the package espeakng-loader is not installed (pip install espeakng-loader)"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spoken = S.load("test")
        S.load("train", language="zh")
    [said] = caught
    assert str(said.message).startswith(
        "Numbers are spoken by fewer voices, recorded before, because the package esp"
    )
    assert Path(said.filename).name == "test_speech.py"
    assert spoken.voice_names == S.VOICES["test"][:2]
    assert spoken.numbers.tolist() == [*range(10, 100)] * 2
    assert spoken.voices.tolist() == [0] * 90 + [1] * 90
    with pytest.raises(RuntimeError, match="espeakng-loader is not installed"):
        S.say("ten", voice="m1")


def test_what_comes_along_is_small_and_says_the_right_numbers():
    assert S.CLIPS.stat().st_size < 2.8e6
    assert set(S.ALONG) == {*SPOKEN_HERE, ("en", "neural")}
    stored = load_file(S.CLIPS)
    assert set(stored) == {f"{la}-{kind}{end}" for la, kind in S.ALONG for end in ("", "-lengths")}
    for (language, kind), count in S.ALONG.items():
        assert len(stored[f"{language}-{kind}-lengths"]) == 90 * count
    for language in ("en", "zh"):
        assert len(along("train", language).voice_names) >= 3
        spoken = along("test", language)
        assert len(spoken.voice_names) >= 2
        assert len(spoken.samples) == spoken.lengths.sum()
        assert (read_numbers(features(spoken), language) == spoken.numbers).float().mean() > 0.9


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_comes_along_is_what_the_engine_says(language):
    here, there = loaded("test", language), along("test", language)
    rows = range(0, 360, 20)  # every tenth number of the first take
    ours = S.log_mel([here.clip(i) for i in rows]).flatten(1)
    theirs = S.log_mel([there.clip(i // 2) for i in rows]).flatten(1)
    assert [torch.corrcoef(torch.stack(pair))[0, 1] > 0.95 for pair in zip(ours, theirs, strict=True)] == [True] * 18


def test_the_script_packs_clips_so_that_they_come_out_in_their_places():
    clips = [tone(440, 5000), tone(880, 7001), tone(220, 4321)]
    stream = speak_clips.encoded(clips)
    assert stream.dtype == torch.uint8
    samples, rate = soundfile.read(io.BytesIO(stream.numpy().tobytes()), dtype="float32")
    assert (rate, len(samples)) == (S.RATE, 5000 + 7001 + 4321)
    for clip, found in zip(clips, np.split(samples, [5000, 12001]), strict=True):
        middle = slice(1000, -1000)
        assert np.corrcoef(clip[middle], found[middle])[0, 1] > 0.95


# -- the engine, well and ill


@pytest.mark.parametrize(
    ("name", "place", "said"),
    [
        ("get_library_path", "/nowhere/lib.so", "brings no engine that loads here"),
        ("get_library_path", __file__, "brings no engine that loads here"),
        ("get_data_path", "/nowhere", "lacks its data, which should be in .*nowhere"),
        ("get_data_path", "x" * 160, "takes no folder with a name as long as that"),
    ],
)
def test_an_engine_that_does_not_load_is_described(engine, monkeypatch, name, place, said):
    with monkeypatch.context() as patch:
        patch.setattr(engine, name, lambda: place)
        S._engine.cache_clear()
        assert re.search(said, S.missing())
        with pytest.raises(RuntimeError, match=said):
            S.say("ten", voice="m1")
    assert S.missing() == ""  # a failure is not kept


def test_an_engine_that_does_not_speak_is_noticed(engine, monkeypatch, tmp_path):
    (tmp_path / "phontab").touch()
    with monkeypatch.context() as patch:
        patch.setattr(engine, "get_data_path", lambda: str(tmp_path))
        S._engine.cache_clear()
        assert "does not speak" in S.missing()
    assert seconds(S.say("ten", voice="m1")) > 0.2


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_the_engine_may_lie_in_a_folder_of_any_name(engine, monkeypatch, tmp_path):
    odd = tmp_path / "Zoë's 数据 100%"
    odd.symlink_to(Path(engine.get_data_path()).parent)
    monkeypatch.setattr(engine, "get_data_path", lambda: str(odd / "espeak-ng-data"))
    S._engine.cache_clear()
    assert S.missing() == ""
    assert seconds(S.say("ten", voice="m1")) > 0.2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no such timer there")
def test_an_interrupt_is_not_lost_in_the_engine(engine):
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals go to the main thread")

    def stop(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        for wait in (0.05, 0.0613, 0.0721):
            signal.setitimer(signal.ITIMER_REAL, wait)
            with pytest.raises(KeyboardInterrupt):
                S._say_all(S.VOICES["test"], "en", 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seconds(S.say("ten", voice="m1")) > 0.2


def test_threads_do_not_mix_their_clips(engine):
    texts = ["ten", "ninety-nine", "ninety-nine thousand", "one"]
    alone = [len(S.say(text, voice="m3")) for text in texts]
    found = [[] for _ in texts]

    def speak(index):
        for _ in range(10):
            found[index].append(len(S.say(texts[index], voice="m3")))

    threads = [threading.Thread(target=speak, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lengths, length in zip(found, alone, strict=True):
        assert len(lengths) == 10
        assert max(abs(other - length) for other in lengths) <= S._FRAME * 2


# -- any text


def test_say_reads_text_in_both_languages(engine, capfd):
    clips = [S.say(numbers.caption(n), voice="m6") for n in (42, 17, 99)]
    assert read_numbers(S.log_mel(clips)).tolist() == [42, 17, 99]
    clips = [S.say(numbers.caption(n, language="zh"), voice="m6", language="zh") for n in (42, 17, 99)]
    assert read_numbers(S.log_mel(clips), "zh").tolist() == [42, 17, 99]
    for clip in clips:
        assert clip.dtype == torch.float32
        assert clip.abs().max() == pytest.approx(0.7, abs=1e-4)
    assert_close(S.say("  ten\n", voice="m3").shape, S.say("ten", voice="m3").shape)
    assert capfd.readouterr() == ("", "")


def test_rate_and_pitch_do_what_they_say(engine):
    slow, fast = (seconds(S.say("seventy-six", voice="m3", rate=rate)) for rate in (110, 220))
    assert 1.5 < slow / fast < 2.5

    def hertz(clip):
        """Of the voice: where the autocorrelation is greatest."""
        power = torch.fft.rfft(clip, n=2 * len(clip)).abs().square()
        return S.RATE / (torch.fft.irfft(power)[40:260].argmax().item() + 40)

    low, high = (hertz(S.say("one", voice="f1", pitch=pitch)) for pitch in (10, 90))
    assert 2 < high / low < 3


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"text": 42}, TypeError, "text must be a string, got int"),
        ({"text": " \n"}, ValueError, "text must hold letters or digits to say.* got ''"),
        (
            {"text": "..."},
            ValueError,
            "text must hold letters or digits to say, got '...', of which nothing is heard",
        ),
        ({"text": "ten\0twenty"}, ValueError, r"no control characters, got 'ten\\x00twenty'"),
        ({"text": "ten\ud800"}, ValueError, "no control characters"),
        ({"text": "a" * 101}, ValueError, "text must have at most 100 characters, got 101"),
        (
            {"text": "ninety-nine thousand " * 4, "rate": 80},
            ValueError,
            r"text must take at most 5 seconds to say, got one of [5-9]\.\d",
        ),
        ({"voice": "nobody"}, ValueError, "voice must be one of 'm1', .* got 'nobody'"),
        ({"voice": "heart"}, ValueError, "voice must be one of 'm1', .* got 'heart'"),
        ({"language": "de"}, ValueError, "language must be one of 'en', 'zh', got 'de'"),
        (
            {"voice": "en-029+f2", "language": "zh"},
            ValueError,
            "language must be 'en' for the voice 'en-029.f2', got 'zh'",
        ),
        ({"rate": 1.5}, TypeError, "rate must be a whole number, got 1.5"),
        ({"rate": 301}, ValueError, "rate must be from 80 to 300, got 301"),
        ({"pitch": -1}, ValueError, "pitch must be from 0 to 99, got -1"),
    ],
)
def test_say_says_what_is_wrong(engine, arguments, error, said):
    with pytest.raises(error, match=said):
        S.say(**({"text": "ten", "voice": "m1"} | arguments))


# -- the learner's own recording


@pytest.mark.parametrize(
    ("name", "rate", "subtype"),
    [
        ("a.wav", 16000, "PCM_16"),
        ("a.wav", 44100, "PCM_24"),
        ("a.wav", 48000, "FLOAT"),
        ("Zoë's 数据.flac", 8000, "PCM_16"),
        ("a.ogg", 48000, "OPUS"),
        ("a.mp3", 44100, "MPEG_LAYER_III"),
    ],
)
def test_a_recording_is_resampled_cut_and_scaled(tmp_path, name, rate, subtype):
    wave = np.zeros(2 * rate, dtype=np.float32)
    wave[rate // 2 : rate] = 0.4 * tone(500, rate // 2, rate)
    soundfile.write(tmp_path / name, wave, rate, subtype=subtype)
    clip = S.read(tmp_path / name)
    assert clip.dtype == torch.float32
    assert seconds(clip) == pytest.approx(0.5, abs=0.03)
    assert clip.abs().max() == pytest.approx(0.7, abs=1e-3)
    assert torch.fft.rfft(clip).abs().argmax() * S.RATE / len(clip) == pytest.approx(500, rel=0.01)
    assert torch.equal(S.read(str(tmp_path / name)), clip)


def test_a_clip_that_was_saved_is_heard_as_before(tmp_path):
    spoken = along("test")
    found = []
    for index in (32, 7, 89):
        soundfile.write(tmp_path / "clip.wav", np.pad(spoken.clip(index).numpy() / 3, 3000), S.RATE)
        found.append(S.read(tmp_path / "clip.wav"))
    assert read_numbers(S.log_mel(found)).tolist() == [42, 17, 99]


@pytest.mark.parametrize(
    ("wave", "options", "said"),
    [
        (np.zeros(0), {}, "is empty: it holds no samples"),
        (np.zeros(8000), {}, "is silent"),
        (np.full(8000, 9e-4), {}, "is silent"),
        (np.ones((8000, 2)) / 2, {}, r"has 2 channels: save it with one \(mono\)"),
        (np.ones(8000) / 2, {"subtype": "PCM_U8"}, "has 8 bits a sample, which hiss: save it with 16"),
        (np.ones(96_001) / 2, {}, "is 6.0 seconds long: cut it to one word, 5 at most"),
        (np.ones(800) / 2, {"samplerate": 4000}, "has 4000 samples a second"),
        (np.full(8000, np.nan), {"subtype": "FLOAT"}, "is damaged: it holds samples that are no numbers"),
    ],
)
def test_a_recording_that_will_not_do_is_named_with_what_to_do(tmp_path, wave, options, said):
    soundfile.write(tmp_path / "mine.wav", wave, **({"samplerate": S.RATE, "subtype": "PCM_16"} | options))
    with pytest.raises(ValueError, match=rf"^mine\.wav {said}"):
        S.read(tmp_path / "mine.wav")


def test_a_file_that_is_no_recording_is_named(tmp_path, monkeypatch):
    (tmp_path / "mine.wav").write_text("forty-two")
    with pytest.raises(
        ValueError, match=r"^mine\.wav is not a sound file that can be read \(Format not rec.*\)\. Save"
    ):
        S.read(tmp_path / "mine.wav")
    for place in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"^there is no file {re.escape(str(place))}$"):
            S.read(place)
    monkeypatch.setattr(os.path, "expanduser", lambda path: str(path).replace("~", str(tmp_path)))
    soundfile.write(tmp_path / "home.wav", tone(500).numpy(), S.RATE)
    assert len(S.read("~/home.wav")) == 8000


# -- features


def test_features_against_transformers():
    """Where the 64 moments are a whole number of samples apart, they are those of an ordinary spectrogram."""
    generator = torch.Generator().manual_seed(0)
    waves = [
        torch.randn(400 + 63 * hop, generator=generator) * torch.logspace(-5, 0, 400 + 63 * hop) for hop in (160, 101)
    ]
    bank = mel_filter_bank(257, 40, 150.0, 8000.0, 16000, norm=None, mel_scale="htk")
    for wave, hop, found in zip(waves, (160, 101), S.log_mel(waves), strict=True):
        window = torch.hann_window(400, dtype=torch.float64).numpy()
        power = spectrogram(
            wave.double().numpy(), window, 400, hop, fft_length=512, power=2.0, center=False, mel_filters=bank
        )
        level = np.log10(np.maximum(power / power.max(), 1e-6))
        assert level.min() == -6  # the floor is reached
        expected = (level - level.mean()) / level.std(ddof=1)
        assert found.shape == (1, 40, 64)
        assert_close(found[0], torch.from_numpy(expected).float(), atol=1e-3, rtol=0)


def test_features_do_not_depend_on_loudness_length_or_company():
    clip = along("test").clip(32)
    found = S.log_mel([clip])
    assert_close(S.log_mel([clip / 300]), found, atol=1e-3, rtol=0)
    assert_close(S.log_mel([tone(440, 4000), clip, tone(440)])[1:2], found)
    assert_close(S.log_mel([clip.double()]), found)
    assert found.dtype == torch.float32
    assert_close(torch.tensor([found.mean(), found.std()]), torch.tensor([0.0, 1.0]), atol=1e-5, rtol=0)
    twice = S.log_mel([torch.from_numpy(S._resampled(clip.numpy(), 8000))])  # half as fast, and an octave lower
    moments = torch.corrcoef(torch.stack([found.sum(dim=2).flatten(), twice.sum(dim=2).flatten()]))[0, 1]
    assert moments > 0.9
    assert S.log_mel(torch.rand(3, 5000)).shape == (3, 1, 40, 64)
    assert S.log_mel([torch.rand(20)]).isfinite().all()  # shorter than a window


def test_low_bands_come_first_and_time_runs_to_the_right():
    for hertz in (300, 1000, 4000):
        band = S.log_mel([tone(hertz)])[0, 0].mean(dim=1).argmax().item()
        edges = [2595 * np.log10(1 + edge / 700) for edge in (150, 8000)]
        expected = (2595 * np.log10(1 + hertz / 700) - edges[0]) / (edges[1] - edges[0]) * 41 - 1
        assert abs(band - expected) < 1
    later = torch.cat((torch.zeros(6000), tone(1000, 2000)))
    level = S.log_mel([later])[0, 0].amax(dim=0)
    assert level[60:].min() > level[:40].max()


@pytest.mark.parametrize(
    ("waves", "error", "said"),
    [
        ([], ValueError, "waves must hold at least one clip, got none"),
        ([np.ones(9)], TypeError, r"waves\[0\] must be a floating-point torch.Tensor, got ndarray"),
        ([torch.ones(9, dtype=torch.int16)], TypeError, r"waves\[0\] must be .* got torch.int16"),
        (torch.ones(9), ValueError, r"waves\[0\] must be one clip of shape \(n,\).* got shape \(\)"),
        ([torch.rand(9), torch.empty(0)], ValueError, r"waves\[1\] must be one clip .* got shape \(0,\)"),
        ([torch.tensor([0.1, np.nan])], ValueError, r"waves\[0\] must be finite"),
        ([torch.rand(9), torch.zeros(9)], ValueError, r"waves\[1\] is silent"),
    ],
)
def test_log_mel_says_what_is_wrong(waves, error, said):
    with pytest.raises(error, match=said):
        S.log_mel(waves)


# -- the rest


def neural(monkeypatch, package):
    """The neural voice with its package, which may be missing here, or the clips that come along."""
    if package:
        pytest.importorskip("hibari")
    else:
        monkeypatch.setattr(S.util, "find_spec", lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return S.load("neural")


@pytest.mark.parametrize("package", [True, False])
def test_the_neural_voice_is_far(monkeypatch, package):
    spoken = neural(monkeypatch, package)
    assert spoken.voice_names == ("heart",)
    assert spoken.numbers.tolist() == [number for number in range(10, 100) for _ in range(1 + package)]
    assert len({spoken.clip(i).numpy().tobytes() for i in range(len(spoken.numbers))}) == len(spoken.numbers)
    right = (read_numbers(features(spoken)) == spoken.numbers).float().mean()
    assert 5 / 90 < right < 0.5


def test_nothing_that_may_be_missing_or_is_slow_is_imported_at_the_top():
    top = [node for node in ast.parse(inspect.getsource(S)).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in top}
    assert not {name.partition(".")[0] for name in names} & {"espeakng_loader", "hibari", "soundfile", "scipy"}


def test_attribution():
    for words in ("eSpeak NG", "GNU General Public License, version 3", "hibari-tts", "Apache License 2.0"):
        assert words in S.ATTRIBUTION


def test_loading_warns_of_nothing(engine):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        S.load("test")
