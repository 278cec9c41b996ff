"""Every exercise of every lesson: its check tells right from wrong, names the mistake, and never raises. The answers
stand in answers/, and the mistakes that a check knows by name stand in the check."""

import ast
import builtins
import itertools
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import answers
import pytest
import torch
from lessons import lesson, parts

from xlib.course import checks
from xlib.course.checks import engine

LESSONS = {path.stem: lesson(path.stem) for path in sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))}
EXERCISES = [(name, exercise) for name, one in LESSONS.items() for exercise in sorted(one.functions())]
MISTAKES = [(exercise, i) for _, exercise in EXERCISES for i in range(len(parts(exercise)[2]))]
ANSWERS = [import_module(f"answers.{module.name}") for module in pkgutil.iter_modules(answers.__path__)]
RIGHT = [row for module in ANSWERS for row in module.RIGHT]
WRONG = [row for module in ANSWERS for row in module.WRONG]


def names(rows):
    return [f"{exercise}-{answer.__name__.strip('<>')}" for exercise, answer, *_ in rows]


def check(exercise, answer):
    return getattr(checks, exercise)(answer)


def test_each_check_belongs_to_one_exercise_and_each_lesson_has_three():
    no_checks = {"Result", "collect", "hand_in", "progress"}
    assert sorted(exercise for _, exercise in EXERCISES) == sorted(set(checks.__all__) - no_checks)
    assert all(len(one.functions()) >= 3 for name, one in LESSONS.items() if name != "00_start_here")


def test_answers_stand_in_the_module_named_like_the_one_of_their_check():
    home = {exercise: getattr(checks, exercise).__module__.rpartition(".")[2] for _, exercise in EXERCISES}
    assert {module.__name__ for module in ANSWERS} == {f"answers.{name}" for name in home.values()}
    for module in ANSWERS:
        assert {f"answers.{home[exercise]}" for exercise, *_ in module.RIGHT + module.WRONG} == {module.__name__}


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
    says, mistake = parts(exercise)[2][i]
    result = check(exercise, mistake)
    assert not result.passed
    if result.unsolved:  # which a mistake is when it is the broken version that the stub holds
        assert exercise == "fixed_domain_loss"
        assert says.endswith("(and there is one more)")
    else:
        assert result.message.endswith(f". {says}")


# What is said where no mistake is known, and when one may be named.


def called(source):
    """The functions and methods that a solution calls, but for Python's own."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found = {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}
    return {name for name in found if name.isidentifier()} - set(dir(builtins))


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_the_fallback_says_what_was_compared_and_never_how_to_get_it(name, exercise):
    secrets = called(LESSONS[name].printed(exercise))
    assert secrets or exercise in ("largest_batch", "gap_closed", "expected_biased")
    for title, hint, *_ in parts(exercise)[1]:
        plain = re.sub(r"exp\([−-]?\d+\)", "", hint)  # what a number does in float32 is no recipe
        assert not re.search("[=·@Σ]", plain), (title, hint)
        assert not secrets.intersection(re.findall(r"\w+", plain)), (title, hint)


@pytest.mark.parametrize(("exercise", "i"), MISTAKES)
def test_a_known_mistake_shows_on_two_inputs(exercise, i):
    right, cases, mistakes = parts(exercise)
    differs = [
        not engine._close(engine._outcome(mistakes[i][1], args), engine._outcome(right, args))
        for _, _, *args in cases
    ]
    assert sum(differs) >= 2, mistakes[i][0]


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_two_mistakes_that_are_named_differently_differ_on_an_input(name, exercise):
    _, cases, mistakes = parts(exercise)
    made = [(says, [engine._outcome(mistake, args) for _, _, *args in cases]) for says, mistake in mistakes]
    for (one, ours), (other, theirs) in itertools.combinations(made, 2):
        assert one == other or not all(map(engine._close, ours, theirs)), (one, other)


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_ten_wrong_answers_of_learners_are_tried_and_most_are_told_what_is_wrong(name, exercise):
    answers = [(answer, says) for tried, answer, _, says in WRONG if tried == exercise]
    hints = [hint for _, hint, *_ in parts(exercise)[1]]
    assert len(answers) >= 10
    assert sum(not any(says in hint for hint in hints) for _, says in answers) >= 6


@pytest.mark.parametrize(("exercise", "answer"), RIGHT, ids=names(RIGHT))
def test_right_answer_passes_and_the_line_is_printed_once(exercise, answer, capsys):
    result = check(exercise, answer)
    assert result.passed, result.message
    assert not result.unsolved
    assert result.message.startswith(f"✓ {exercise}: ")
    assert capsys.readouterr().out == result.message + "\n"


@pytest.mark.parametrize(("exercise", "answer", "where", "says"), WRONG, ids=names(WRONG))
def test_wrong_answer_is_named_in_one_line(exercise, answer, where, says, capsys):
    result = check(exercise, answer)
    assert not result.passed
    assert not result.unsolved
    assert result.message.startswith(f"✗ {where}: ")
    assert says in result.message
    assert "\n" not in result.message
    assert capsys.readouterr().out == result.message + "\n"


# What is no answer yet. Some checks wrap the answers, and a stub must still be known as one.


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
@pytest.mark.parametrize("empty", [None, ...])
def test_empty_function_is_unsolved(name, exercise, empty, capsys):
    result = check(exercise, lambda *given: empty)
    assert result == (False, True, f"not solved yet: {exercise} returned {empty}")
    assert capsys.readouterr().out == result.message + "\n"


def unwritten(*given):
    raise NotImplementedError("your code here")


def not_implemented_in_torch(*given):
    return torch.zeros(2, dtype=torch.int64).mean()


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_not_implemented_error_is_a_stub_unless_torch_raises_it(name, exercise):
    assert check(exercise, unwritten) == (False, True, f"not solved yet: {exercise} raised NotImplementedError")
    result = check(exercise, not_implemented_in_torch)
    assert not result.passed
    assert not result.unsolved
    assert " at `return torch.zeros(2, dtype=torch.int64).mean()`" in result.message


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
@pytest.mark.parametrize("value", [None, torch.tensor(1.0), torch.ones(3)], ids=["None", "scalar", "vector"])
def test_the_result_in_place_of_the_function_is_explained(name, exercise, value, capsys):
    result = check(exercise, value)
    assert result == (False, False, capsys.readouterr().out.strip())
    assert f"pass the function itself, checks.{exercise}({exercise})" in result.message
