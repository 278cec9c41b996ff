"""Questions that fold a result: what is asked, and what a notebook is given. What a browser makes of it is in
browser/test_results_shown.py."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xlib.course import report
from xlib.course.predict import SCRIPT, STYLE, guesses, predict


class Told(HTMLParser):
    """What an output tells its script, and the text that stands where no script runs."""

    def __init__(self, page):
        super().__init__()
        self.data, self.text, self.tags = None, "", []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if data := dict(attributes).get("data-xlib"):
            self.data = json.loads(data)

    def handle_data(self, data):
        if self.tags[-1:] == ["p"]:
            self.text += data


@pytest.fixture
def outputs(monkeypatch):
    """What is displayed: (text, what the page is told)."""
    found = []
    monkeypatch.setattr(report, "output", lambda text, page: found.append((text, Told(page))))
    return found


def test_a_slider_a_choice_and_a_number_say_what_they_ask(outputs):
    predict("02/share", "Which share?", slider=(0, 1, 0.01))
    predict("02/push", "The push …", choices=["rises", "falls"])
    predict("02/memory", "How much?", number="MB")
    assert [text for text, _ in outputs] == [
        "Predict: Which share? (from 0 to 1)",
        "Predict: The push … (rises / falls)",
        "Predict: How much? (a number of MB)",
    ]
    asked = [told.data["asked"] for _, told in outputs]
    assert asked[0] == {
        "name": "02/share", "question": "Which share?", "slider": [0, 1, 0.01], "scale": 1, "decimals": 2,
    }  # fmt: skip
    assert asked[1]["choices"] == ["rises", "falls"]
    assert asked[2]["unit"] == "MB"


@pytest.mark.parametrize(
    ("way", "truth", "written"),
    [
        ({"slider": (0, 1, 0.01)}, 0.3719, "0.37"),
        ({"slider": (-1, 1, 0.1)}, -0.04, "0.0"),
        ({"slider": (0, 100, 5)}, torch.tensor(37.4), "37"),
        ({"slider": (0, 1, 1e-3)}, np.float32(0.5), "0.500"),
        ({"number": "MB"}, 320.4, "320 MB"),
        ({"number": "MB"}, 12345.6, "12,346 MB"),
        ({"number": ""}, 0.03333, "0.0333"),
        ({"number": ""}, -0.0, "0"),
        ({"choices": ["a", "b"]}, "b", "b"),
    ],
)
def test_the_truth_is_written_as_it_was_asked_for(outputs, way, truth, written):
    predict("02/x", "What?", **way).answer(truth, words="So it is.")
    text, told = outputs[1]
    assert text == told.text == f"Answer: {written}. So it is."
    found = told.data["truth"]
    assert found["name"] == "02/x"
    assert found["truth"]["text"] == written
    assert found["truth"]["value"] == (truth if isinstance(truth, str) else pytest.approx(float(truth)))


@given(st.text(min_size=1).filter(str.strip))
def test_whatever_is_asked_is_text(words):
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "output", lambda text, page: found.append((text, Told(page))))
        predict("02/x", words, choices=[words, f"no {words}"])
    (text, told) = found[0]
    assert told.data["asked"]["question"] == words
    assert told.tags == ["style", "div", "p", "script"]
    assert told.text == text


def test_script_and_style_close_nothing_of_the_page():
    assert "</" not in SCRIPT
    assert "</" not in STYLE


def test_guesses_belong_to_a_lesson(outputs):
    guesses("02")
    assert outputs[0][1].data == {"lesson": "02"}


@pytest.mark.parametrize(
    ("name", "question", "ways", "message"),
    [
        ("push", "?", {"number": ""}, "name must be lesson and question, such as '02/push', got 'push'"),
        ("a/b/c", "?", {"number": ""}, "name must be lesson and question"),
        ("02/push", "  ", {"number": ""}, "question must say what is asked"),
        ("02/push", "?", {}, "predict needs one of slider=, choices= and number="),
        ("02/push", "?", {"number": "", "slider": (0, 1, 0.1)}, "predict needs one of"),
        ("02/push", "?", {"slider": (1, 0, 0.1)}, r"slider must be \(lowest, highest, step\), .* got \(1, 0, 0.1\)"),
        ("02/push", "?", {"slider": (0, 1, 2)}, "slider must be"),
        ("02/push", "?", {"slider": (0, 1, 0)}, "slider must be"),
        ("02/push", "?", {"choices": ["a"]}, r"choices must be two or more different texts, got \['a'\]"),
        ("02/push", "?", {"choices": ["a", "a"]}, "choices must be"),
        ("02/push", "?", {"choices": "ab"}, "choices must be"),
        ("02/push", "?", {"choices": ["a", " "]}, "choices must be"),
    ],
)
def test_predict_names_what_is_wrong(name, question, ways, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        predict(name, question, **ways)


@pytest.mark.parametrize(
    ("way", "truth", "error", "message"),
    [
        ({"choices": ["a", "b"]}, "c", ValueError, r"truth must be one of \('a', 'b'\), got 'c'"),
        ({"slider": (0, 1, 0.1)}, "a", TypeError, "truth must be a number, got str"),
        ({"number": ""}, True, TypeError, "truth must be a number, got bool"),
        ({"number": ""}, None, TypeError, "truth must be a number, got NoneType"),
        ({"number": ""}, float("nan"), ValueError, "truth must be finite, got nan"),
    ],
)
def test_answer_names_what_is_wrong(way, truth, error, message):
    question = predict("02/x", "?", **way)
    with pytest.raises(error, match=f"^{message}"):
        question.answer(truth)


def test_guesses_names_what_is_no_lesson():
    with pytest.raises(ValueError, match="lesson must be what stands before the slash, such as '02', got '02/x'"):
        guesses("02/x")


def test_without_a_notebook_the_question_is_printed(capsys):
    predict("02/x", "Does it rise?", choices=["yes", "no"]).answer("no")
    assert capsys.readouterr().out == "Predict: Does it rise? (yes / no)\nAnswer: no.\n"
