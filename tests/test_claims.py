"""What a lesson claims can fail: for each sentence there is a number that makes it false, and its bound sees that.

The numbers stand in claims/lesson_NN.py: FALSE = {sentence: one or several values at which it is just false}. They
are read off the sentence ("less than half" is false at .5) and not off the bound, which they test.
"""

import ast
import importlib
from typing import NamedTuple

import pytest
from lessons import MAGIC, NOTEBOOKS, cells

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


class Claim(NamedTuple):
    sentence: str
    low: float
    high: float


def code_of(name):
    """What each code cell of a lesson parses to."""
    return [ast.parse(MAGIC.sub(r"\1pass", cell.source)) for cell in cells(name) if cell.cell_type == "code"]


def number(node):
    """The number that a bound is: a literal, or arithmetic with literals such as 1 / 300."""
    assert not any(isinstance(part, ast.Name | ast.Call) for part in ast.walk(node)), ast.unparse(node)
    return float(eval(compile(ast.Expression(node), "<bound>", "eval")))


def claims_of(name):
    """Every call of claim(...) or report.claim(...) in a lesson. Sentence and bounds are written out."""
    found = []
    for tree in code_of(name):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("claim", "report.claim"):
                assert isinstance(node.args[0], ast.Constant), f"{name}: {ast.unparse(node.args[0])}"
                limits = {word.arg: number(word.value) for word in node.keywords}
                low, high = limits.get("above", float("-inf")), limits.get("below", float("inf"))
                found.append(Claim(node.args[0].value, low, high))
    return found


def false_values(name):
    return importlib.import_module(f"claims.lesson_{name[:2]}").FALSE


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_has_a_value_that_makes_it_false(name):
    sentences = [claim.sentence for claim in claims_of(name)]
    assert len(set(sentences)) == len(sentences)
    assert sorted(false_values(name)) == sorted(sentences)


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_fails_where_its_sentence_is_false(name):
    table = false_values(name)
    for claim in claims_of(name):
        values = table[claim.sentence]
        for value in values if isinstance(values, tuple) else (values,):
            assert not claim.low < value < claim.high, (claim, value)


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_is_a_sentence(name):
    for claim in claims_of(name):
        assert len(claim.sentence.split()) >= 4, claim.sentence
        assert claim.sentence[0].isupper() or not claim.sentence[0].isalpha(), claim.sentence
        assert not claim.sentence.endswith("."), claim.sentence


@pytest.mark.parametrize("name", NAMES)
def test_the_claims_end_in_one_table_that_comes_after_all_of_them(name):
    trees = code_of(name)
    calls = [
        (at, ast.unparse(node.func))
        for at, tree in enumerate(trees)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]
    claimed = [at for at, call in calls if call in ("claim", "report.claim")]
    shown = [at for at, call in calls if call == "report.claims"]
    assert claimed
    assert len(shown) == 1
    assert shown[0] >= max(claimed)
    assert ast.unparse(trees[shown[0]].body[-1]) == "report.claims()"
