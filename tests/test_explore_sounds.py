"""Sounds in the explorer, without a browser: what a clip becomes, who has one, a caption that is spoken, the page."""

import io

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import traitlets
from test_explore_page import Reader, unpacked, written

from xlib.explore import ExplorerModel, clips, explore, inputs

RATE, D = 16_000, 6
Z = np.random.default_rng(0).normal(size=(4, D))


def tone(frequency=440.0, samples=4_000, loud=0.5):
    return (loud * np.sin(2 * np.pi * frequency * np.arange(samples) / RATE)).astype(np.float32)


def noise(seconds, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, int(seconds * RATE)).astype(np.float32)


def decoded(file):
    clip, rate = soundfile.read(io.BytesIO(file), dtype="float32")
    assert rate == RATE
    assert clip.ndim == 1
    return clip


# ---- what a clip becomes


@pytest.mark.parametrize("clip", [tone(), noise(0.8), tone(samples=1)], ids=["tone", "noise", "one sample"])
def test_a_clip_comes_out_of_its_file_as_long_as_it_went_in(clip):
    assert len(decoded(clips.mp3(clip))) == len(clip)


def test_a_tone_sounds_as_it_did():
    clip = tone(samples=12_800)
    found = decoded(clips.mp3(clip))
    assert np.corrcoef(found, clip)[0, 1] > 0.99
    assert found.std() == pytest.approx(clip.std(), rel=0.05)


def test_no_clip_of_an_item_has_12_kb():
    assert len(clips.mp3(noise(2))) < 12_000
    assert len(clips.mp3(noise(0.8))) * 180 < 900_000  # of a page with 180 spoken captions


@pytest.mark.parametrize(("frequency", "row"), [(220, 42), (1_000, 31), (4_000, 11)])
def test_a_tone_lies_in_its_spectrogram_where_the_mel_scale_has_it(frequency, row):
    mel = np.log1p(frequency / 700) / np.log1p(8_000 / 700) * 48  # bands from below
    assert row == 47 - int(mel)
    loudest = clips.spectrogram(tone(frequency, 12_800)).argmax(0)
    assert np.abs(np.median(loudest) - row) <= 1


@pytest.mark.filterwarnings("error")
def test_time_runs_from_left_to_right_and_what_is_silent_is_paper():
    clip = noise(0.8)
    clip[:6_400] = 0
    found = clips.spectrogram(clip)
    assert (found.shape, found.dtype) == ((48, 48), np.uint8)
    assert found[:, :22].max() == 0  # 32 ms of a window reach over the beginning
    assert found[:, 26:].min() > 100
    assert found.max() == 255
    assert not clips.spectrogram(np.zeros(500, np.float32)).any()
    assert np.array_equal(clips.spectrogram(clip / 100), found)  # by its own loudest


def test_what_is_55_decibels_below_the_loudest_is_paper():
    two = tone(440, 12_800) + tone(4_000, 12_800, 0.5 * 10 ** (-30 / 20))
    high = clips.spectrogram(two)[11, 24]
    assert high / 255 == pytest.approx(1 - 30 / 55, abs=0.1)
    two = tone(440, 12_800) + tone(4_000, 12_800, 0.5 * 10 ** (-70 / 20))
    assert clips.spectrogram(two)[11, 24] == 0


# ---- what is given


@pytest.mark.parametrize(
    "given",
    [
        [tone(), None, np.nan, tone(880)],
        (torch.from_numpy(tone()), None, None, torch.from_numpy(tone(880)).double()),
        pd.Series([tone(), None, pd.NA, tone(880)], index=[3, 2, 1, 0]),
        pd.DataFrame({"sound": [tone(), None, None, tone(880)]}),
    ],
    ids=["list", "tensors", "series", "table"],
)
def test_clips_are_taken_as_they_come(given):
    found = inputs.sounds(given, 4)
    assert [clip is not None for clip in found] == [True, False, False, True]
    assert {clip.dtype.name for clip in found if clip is not None} == {"float32"}
    np.testing.assert_allclose(found[3], tone(880))


def test_rows_of_one_tensor_are_clips_and_what_is_given_stays_as_it_is():
    given = torch.from_numpy(np.stack([tone(), tone(880)])).bfloat16()
    before = given.clone()
    np.testing.assert_allclose(inputs.sounds(given, 2)[1], tone(880), atol=0.002)
    explore(Z[:2], sounds=given)
    assert torch.equal(given, before)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([0.1, 0.2], TypeError, r"sounds\[1\] must be a torch.Tensor or numpy array, got list"),
        ("a.wav", TypeError, r"sounds\[1\] must be a torch.Tensor or numpy array, got str"),
        (np.zeros(9, np.int16), TypeError, r"sounds\[1\] must hold floating-point samples in \[-1, 1\], got int16"),
        (np.zeros(9, complex), TypeError, r"sounds\[1\] must hold floating-point samples .* got complex128"),
        (np.zeros((2, 9)), ValueError, r"sounds\[1\] must have shape \(samples,\), one channel .*, got \(2, 9\)"),
        (np.zeros(0), ValueError, r"sounds\[1\] must have shape \(samples,\), .* not empty, got \(0,\)"),
        (np.array([0, 0, np.nan]), ValueError, r"sounds\[1\] must be finite, got NaN or infinity at sample 2"),
        (np.array([0, 0.5, -2]), ValueError, r"sounds\[1\] must lie in \[-1, 1\], got -2 to 0.5"),
        (noise(2.1), ValueError, r"sounds\[1\] must be at most 2 s, 32,000 samples at 16 kHz, got 33,600 samples"),
    ],
)
def test_a_clip_that_is_none_is_named_before_any_work(bad, error, message, monkeypatch):
    monkeypatch.setattr(clips, "mp3", lambda clip: pytest.fail("too early"))
    with pytest.raises(error, match=message):
        explore(Z, sounds=[tone(), bad, None, None])


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([tone()], ValueError, "sounds must have 4 entries, got 1"),
        ("abcd", TypeError, "sounds must be a sequence of 4 clips, got str"),
        (7, TypeError, "sounds must be a sequence of 4 clips, got int"),
    ],
)
def test_a_column_of_clips_that_is_none_is_named(bad, error, message):
    with pytest.raises(error, match=message):
        explore(Z, sounds=bad)


# ---- who has one


def test_what_has_only_a_sound_is_one_and_its_spectrogram_is_its_picture():
    picture = np.ones((24, 20, 3))
    m = ExplorerModel(Z, sounds=[tone(), tone(1_000), None, None], images=[picture, None, None, picture])
    assert m.modality == ["image", "sound", "text", "image"]
    assert [bool(file) for file in m.sounds] == [True, True, False, False]
    assert m.sprites.tolist() == [0, 2, -1, 1]
    assert m.thumbnails.shape == (3, 24, 20, 4)  # pictures keep their size
    assert (m.thumbnails[:2] == 255).all()
    drawn = m.thumbnails[2]
    assert (drawn[..., :3] == clips.INK).all()
    assert drawn[..., 3].max(1).argmax() in (14, 15, 16)  # 1 kHz: row 31 of 48
    assert "2 image and 1 sound and 1 text items" in m.alt_text
    assert " 2 can be heard." in m.alt_text


def test_a_sound_makes_the_rest_texts_and_a_given_modality_stays():
    sounds = [tone(), None, None, tone()]
    assert ExplorerModel(Z, sounds=sounds).modality == ["sound", "text", "text", "sound"]
    m = ExplorerModel(Z, sounds=[tone()] * 4)
    assert m.modality == ["sound"] * 4
    assert m.thumbnails.shape == (4, 48, 48, 4)
    given = ["voice", None, "caption", None]
    assert ExplorerModel(Z, sounds=sounds, modality=given).modality == ["voice", "text", "caption", "sound"]


def test_small_pictures_grow_beside_spectrograms_pixel_by_pixel():
    picture = np.random.default_rng(0).random((8, 8))
    alone = ExplorerModel(Z, images=[picture, None, None, None]).thumbnails
    m = ExplorerModel(Z, images=[picture, None, None, None], sounds=[None, tone(), None, None])
    assert m.thumbnails.shape == (2, 32, 32, 4)
    np.testing.assert_array_equal(m.thumbnails[0, ::4, ::4], alone[0])
    assert m.thumbnails[1, ..., 3].max() > 200


def test_without_sounds_nothing_is_said_or_sent():
    for options in ({}, {"sounds": [None] * 4}):
        w = explore(Z, **options)
        assert (w.sounds, w.setup["sounds"], w.setup["speaks"]) == (b"", [], False)
        assert w.model.modality == ["item"] * 4
        assert "heard" not in w.alt_text
        assert w.atlas == b""


def test_each_file_lies_where_its_length_says():
    sounds = [tone(300), None, tone(600, 9_000), tone(900)]
    w = explore(Z, sounds=sounds)
    ends = np.cumsum(w.setup["sounds"])
    assert len(w.sounds) == ends[-1]
    for clip, end, size in zip(sounds, ends, w.setup["sounds"], strict=True):
        file = w.sounds[end - size : end]
        assert (clip is None) == (not file)
        if clip is not None:
            assert np.corrcoef(decoded(file), clip)[0, 1] > 0.99


def test_thumbnails_that_are_given_stay_as_they_are():
    sprites, cells = inputs.thumbnails([np.ones((40, 40)), None], 2)
    found, more = clips.with_spectrograms(sprites, cells, [None, tone()])
    assert (sprites.tolist(), found.tolist()) == ([0, -1], [0, 1])
    assert (len(cells), len(more)) == (1, 2)


# ---- a caption that is spoken


def speaking(**changes):
    def encode(texts):
        return np.stack([Z[len(text) % 4] for text in texts])

    options = {
        "sounds": [tone(), tone(880), None, None],
        "encode": encode,
        "speak": lambda text: torch.from_numpy(tone(100.0 * len(text))),
        "hear": lambda given: np.stack([-Z[1] if isinstance(clip, torch.Tensor) else Z[0] for clip in given]),
    }
    return explore(Z, **options | changes)


def test_a_typed_caption_is_spoken_and_its_sound_is_placed():
    w = speaking()
    assert (w.spoken, w.heard, w.setup["speaks"]) == (b"", {}, True)
    w.typed = "seven"
    np.testing.assert_allclose(np.corrcoef(decoded(w.spoken), tone(500))[0, 1], 1, atol=0.01)
    w.model.typed = "seven"
    layout = w.model.layouts["pca"]
    np.testing.assert_array_equal(w.model.heard_vector, -Z[1].astype(np.float32))
    low, high = layout.box.astype(float)
    expected = (layout.place(-Z[1].astype(np.float32)) - low) / (high - low).max() * 65_535
    assert w.heard["pca"] == pytest.approx(expected.tolist())
    assert w.landed["pca"] != w.heard["pca"]
    assert w.note.endswith(" Spoken, it lands at cosine -1.00 with its text.")
    w.selected = [2]
    assert (w.typed, w.spoken, w.heard, w.model.heard_vector) == ("", b"", {}, None)
    assert "Spoken" not in w.note


def test_what_is_not_spoken_or_not_heard_is_left_out():
    w = speaking(speak=lambda text: None)
    w.typed = "seven"
    assert (w.typed, w.spoken, w.heard) == ("seven", b"", {})
    w = speaking(hear=None)
    w.typed = "seven"
    assert len(decoded(w.spoken)) == 4_000
    assert (w.heard, "Spoken" in w.note) == ({}, False)
    long = speaking(speak=lambda text: noise(3), hear=None)  # longer than an item's
    long.typed = "seven"
    assert len(decoded(long.spoken)) == 48_000


def failing(given):
    raise RuntimeError("no voice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speak": failing}, "speak failed for 'seven': no voice"),
        ({"speak": lambda text: [0.5]}, "what speak returns must be a torch.Tensor or numpy array, got list, for"),
        ({"speak": lambda text: noise(21)}, "what speak returns must be at most 20 s, 320,000 samples"),
        ({"hear": failing}, "hear failed for 'seven': no voice"),
        ({"hear": lambda given: Z}, r"hear must return a tensor of shape \(1, 6\) for one clip, got \(4, 6\)"),
        ({"hear": lambda given: Z[:1] * np.nan}, "hear must return finite numbers, got NaN or infinity for 'seven'"),
    ],
)
def test_a_voice_that_fails_is_named_and_leaves_all_as_it_was(change, message):
    w = speaking(**change)
    with pytest.raises(traitlets.TraitError, match=message):
        w.typed = "seven"
    assert (w.typed, w.spoken, w.heard, w.landed, w.model.typed_vector) == ("", b"", {}, {}, None)


def test_what_was_spoken_stays_when_the_next_caption_is_refused():
    w = speaking(hear=lambda given: Z[:1] if len(given[0]) == 4_000 else failing(given))
    w.typed = "seven"
    kept = w.spoken, w.heard, w.model.spoken, w.model.heard_vector
    w.model.speak = lambda text: tone(440, 5_000)
    with pytest.raises(traitlets.TraitError, match="hear failed"):
        w.typed = "eleven"
    assert (w.typed, w.spoken, w.heard) == ("seven", *kept[:2])
    assert w.model.spoken == kept[2]
    np.testing.assert_array_equal(w.model.heard_vector, kept[3])
    w.model.hear = lambda given: Z[1:2]
    with pytest.raises(traitlets.TraitError, match="compare must be"):
        w.set_state({"typed": "eleven", "compare": "nothing"})  # all or none
    assert (w.typed, w.spoken, w.heard, w.model.spoken) == ("seven", *kept[:3])
    np.testing.assert_array_equal(w.model.heard_vector, kept[3])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"speak": 3}, TypeError, "speak must be a function, got int"),
        ({"hear": "x"}, TypeError, "hear must be a function, got str"),
        ({"encode": None}, ValueError, "speak needs encode as well, got None"),
        ({"speak": None}, ValueError, "hear needs speak as well, got None"),
    ],
)
def test_a_voice_needs_what_it_goes_with(change, error, message):
    with pytest.raises(error, match=message):
        speaking(**change)


# ---- the page


def test_a_page_has_the_sounds_but_nothing_typed_and_may_play_only_these(tmp_path):
    w = speaking()
    w.typed = "seven"
    text = written(w, tmp_path / "page.html")
    data = Reader(text).data
    assert unpacked(data["bytes"]["sounds"], np.uint8).tobytes() == w.sounds
    assert unpacked(data["bytes"]["spoken"], np.uint8).tobytes() == b""
    assert (data["state"]["typed"], data["state"]["heard"]) == ("", {})
    assert data["state"]["setup"]["sounds"] == w.setup["sounds"]
    assert "media-src data:" in text
