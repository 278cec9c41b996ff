"""Every exercise of every lesson: its check knows the printed solution, the stub, and its own known mistakes."""

from pathlib import Path

import pytest
from lessons import lesson, parts

from xlib.course import checks

LESSONS = {path.stem: lesson(path.stem) for path in sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))}
EXERCISES = [(name, exercise) for name, one in LESSONS.items() for exercise in sorted(one.functions())]
MISTAKES = [(exercise, i) for _, exercise in EXERCISES for i in range(len(parts(exercise)[2]))]


def check(exercise, answer):
    return getattr(checks, exercise)(answer)


def test_each_check_belongs_to_one_exercise_and_each_lesson_has_four():
    assert sorted(exercise for _, exercise in EXERCISES) == sorted(set(checks.__all__) - {"Result"})
    assert all(len(one.functions()) >= 4 for name, one in LESSONS.items() if name != "00_start_here")


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_printed_solution_passes_in_one_line(name, exercise, capsys):
    result = check(exercise, LESSONS[name].solution(exercise))
    assert result.passed, result.message
    assert capsys.readouterr().out == result.message + "\n"


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_stub_is_unsolved_and_gives_nothing_away(name, exercise):
    result = check(exercise, LESSONS[name].stub(exercise))
    assert result.unsolved
    assert not result.passed
    assert not any(says in result.message for says, _ in parts(exercise)[2])


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_there_are_cases_and_mistakes_enough_and_the_oracle_passes_them(name, exercise):
    right, cases, mistakes = parts(exercise)
    assert len(cases) >= 4
    assert len({says for says, _ in mistakes}) >= 3
    assert check(exercise, right).passed


@pytest.mark.parametrize(("exercise", "i"), MISTAKES)
def test_known_mistake_is_named(exercise, i):
    mistakes = parts(exercise)[2]
    result = check(exercise, mistakes[i][1])
    assert not result.passed
    if not result.unsolved:  # which a mistake is when it is the broken version that the stub holds
        assert mistakes[i][0] in result.message
