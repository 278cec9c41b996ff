"""What lesson 01 defines in front of the learner agrees with xlib.space and with libraries; its widgets' models."""

import math
import types

import numpy as np
import pytest
import results
import torch
import torch.nn.functional as F
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st
from lessons import lesson, parts
from scenes import walk
from scipy.linalg import orthogonal_procrustes
from sklearn.cross_decomposition import CCA
from sklearn.metrics.pairwise import cosine_similarity
from torch.testing import assert_close

from xlib import space

LESSON = lesson("01_shared_space")
few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**31)


def shown(function, **given):
    scope = {"torch": torch, "F": F, "math": math, "space": space} | given
    exec(LESSON.source(function), scope)
    return scope[function]


def classes(*names, **given):
    """Classes of the lesson, run with the imports of its set-up cell."""
    import ast

    scope = {"traitlets": traitlets, "math": math} | given
    for code in LESSON._code:
        if any(f"class {name}(" in code for name in names):
            found = [n for n in ast.parse(code).body if isinstance(n, ast.ClassDef) and n.name in names]
            exec(compile(ast.Module(found, []), "<lesson 01>", "exec"), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in names})


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@few
@given(seeds)
def test_cosines(seed):
    a, b = normal(seed, 5, 4), normal(seed + 1, 7, 4)
    found = shown("cosines")(a, b)
    assert_close(found, space.cosine_similarity_matrix(a, b))
    np.testing.assert_allclose(found, cosine_similarity(a, b))


@few
@given(seeds)
def test_alignment_and_uniformity(seed):
    za, zb = F.normalize(normal(seed, 9, 3), dim=1), F.normalize(normal(seed + 1, 9, 3), dim=1)
    assert_close(shown("alignment")(za, zb), space.alignment(za, zb))
    assert shown("alignment")(za, zb).item() == pytest.approx(2 - 2 * np.diag(cosine_similarity(za, zb)).mean())
    assert_close(shown("uniformity")(za), space.uniformity(za))
    numpy = [math.exp(-2 * math.dist(p, q) ** 2) for i, p in enumerate(za.tolist()) for q in za.tolist()[:i]]
    assert shown("uniformity")(za).item() == pytest.approx(math.log(sum(numpy) / len(numpy)))


@few
@given(seeds)
def test_procrustes(seed):
    a, b = normal(seed, 12, 4), normal(seed + 1, 12, 4)
    found = shown("procrustes")(a, b)
    assert_close(found, space.procrustes(a, b))
    np.testing.assert_allclose(found, orthogonal_procrustes(a.numpy(), b.numpy())[0], atol=1e-9)


@few
@given(seeds, st.sampled_from([0.0, 0.1, 3.0]))
def test_cca(seed, ridge):
    shared = normal(seed, 60, 2)
    a = torch.cat([shared, normal(seed + 1, 60, 2)], dim=1) @ normal(seed + 2, 4, 4) + 0.1 * normal(seed + 3, 60, 4)
    b = torch.cat([shared, normal(seed + 4, 60, 1)], dim=1) @ normal(seed + 5, 3, 3) + 0.1 * normal(seed + 6, 60, 3)
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    w_a, w_b, rho = shown("cca")(a, b, 2, ridge)
    fitted = space.cca(a, b, dim=2, regularisation=ridge)
    near = {"rtol": 1e-5, "atol": 1e-6}
    assert_close(rho, fitted.correlations, **near)
    for ours, theirs in ((a @ w_a, fitted.project_a(a)), (b @ w_b, fitted.project_b(b))):
        assert_close((ours * theirs).sum(dim=0).abs(), ours.norm(dim=0) * theirs.norm(dim=0), **near)


def test_cca_without_a_ridge_is_scikit_learns():
    shared = normal(0, 200, 1)
    a = torch.cat([shared + normal(1, 200, 1), normal(2, 200, 2)], dim=1)
    b = torch.cat([normal(3, 200, 1), shared + normal(4, 200, 1)], dim=1)
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    _, _, rho = shown("cca")(a, b, 1, 0.0)
    x, y = CCA(1, max_iter=5000, tol=1e-12).fit_transform(a.numpy(), b.numpy())
    assert rho[0].item() == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1], abs=1e-6)


def test_closing_a_gap_closes_it_and_winners_leave_out_the_item_itself():
    za, zb = F.normalize(normal(0, 200, 8) + 1, dim=1), F.normalize(normal(1, 200, 8) - 1, dim=1)
    closed = shown("closed")
    assert space.modality_gap(za, zb).size > 1
    assert space.modality_gap(closed(za), closed(zb)).size < 0.2
    assert_close(closed(za).norm(dim=1), torch.ones(200, dtype=torch.float64))
    cosine = cosine_similarity(za)
    assert shown("mean_cosine")(za) == pytest.approx(cosine[~np.eye(200, dtype=bool)].mean())

    similarity = torch.tensor([[9.0, 1, 2], [1, 9, 3], [0, 5, 9]])
    assert shown("winners")(similarity).tolist() == [0, 1, 2]


@few
@given(seeds)
def test_the_solution_of_exercise_1_does_not_see_a_vector_that_is_added_to_all_queries(seed):
    queries, candidates, vector = normal(seed, 6, 4), normal(seed + 1, 5, 4), normal(seed + 2, 1, 4)
    for found in (LESSON.solution("without_bonus"), parts("without_bonus")[0]):
        assert_close(found(queries, candidates), found(queries + 9 * vector, candidates))
        plain, mended = queries @ candidates.T, found(queries, candidates)
        assert_close((plain - mended).std(dim=0), torch.zeros(5, dtype=torch.float64), atol=1e-9, rtol=0)


def test_a_random_encoder_without_biases_and_relu_is_a_matrix():
    x = normal(0, 5, 7).float()
    torch.manual_seed(0)
    encoder = shown("random_encoder")(7, bias=False, relu=False)
    assert_close(encoder(x[:1] + 3 * x[1:2]), encoder(x[:1]) + 3 * encoder(x[1:2]))
    for options in ({"bias": True, "relu": False}, {"bias": False, "relu": True}):
        other = shown("random_encoder")(7, **options)
        assert not torch.allclose(other(x[:1] - 3 * x[1:2]), other(x[:1]) - 3 * other(x[1:2]), atol=1e-3)


def test_a_look_up_returns_the_name_of_an_identical_seen_picture():
    x, y = normal(0, 20, 6).float(), normal(1, 20, 5).float()
    x[19], seen = x[3], torch.arange(19)
    pictures, names = shown("lookup")(x, y, seen, k=1)
    assert_close(pictures[19], names[3])


@few
@given(seeds)
def test_the_gap_panels_model_keeps_the_promises_of_the_text(seed):
    short = F.normalize(normal(seed, 20, 384).float(), dim=1)
    long = F.normalize(short + 0.02 * normal(seed + 1, 20, 384).float() + 0.03, dim=1)
    arrow = space.modality_gap(short, long).vector
    with_gap = shown("with_gap", short=short, long=long, arrow=arrow)
    for right_angles in (False, True):
        a, b = with_gap(1.0, right_angles)
        assert_close(a.norm(dim=1), torch.ones(20))
        assert_close(b.norm(dim=1), torch.ones(20))
    as_it_came = F.normalize(F.pad(long, (0, 1)), dim=1)
    assert_close(with_gap(1.0)[1], as_it_came)
    a, b = with_gap(3.0, True)
    apart, together = a @ b.T, (a @ a.T).diagonal()
    assert_close(together, torch.ones(20))
    order = F.pad(short, (0, 1)) @ F.pad(long + arrow, (0, 1)).T  # the ranking of names does not change
    ranks = lambda table: table.argsort(dim=0)[-1]  # noqa: E731
    assert torch.equal(ranks(apart), ranks(order))


def test_arrows_are_2_long_at_most_and_1_while_normalised():
    arrows = classes("Arrows").Arrows(tips=[[3.0, 4.0], [0.0, 0.5]])
    assert arrows.tips == [pytest.approx([1.2, 1.6]), [0.0, 0.5]]
    arrows.normalise = True
    assert arrows.tips == [pytest.approx([0.6, 0.8]), [0.0, 1.0]]
    arrows.tips = [[0.0, -7.0], [1.0, 0.0]]
    assert arrows.tips == [[0.0, -1.0], [1.0, 0.0]]
    arrows.tips = [[0.0, 0.0], [5.0, 0.0]]  # no direction: nothing to divide by
    assert arrows.tips == [[0.0, 0.0], [1.0, 0.0]]


def test_handle_and_slider_turn_together():
    turn = classes("Turn").Turn()
    turn.angle = 90
    assert turn.grip[0] == pytest.approx([0.0, 2.4])
    turn.grip = [[-5.0, 0.1]]
    assert turn.angle == 179
    assert math.hypot(*turn.grip[0]) == pytest.approx(2.4)
    for near in (177, -177):  # half a turn is both ends of the slider: it goes to the one that is near
        turn.angle = near
        turn.grip = [[-2.4, 0.0]]
        assert turn.angle == math.copysign(180, near)
    for angle in (-180, 180, 0, -90):
        turn.angle = angle
        assert turn.angle == angle
        assert turn.grip[0] == pytest.approx(
            [2.4 * math.cos(math.radians(angle)), 2.4 * math.sin(math.radians(angle))]
        )


@pytest.fixture(scope="module")
def panels():
    """What the lesson defines up to section 5, on its own data."""
    cells = ("set-up", "arrows-panel", "arrows-draw", "two-encoders", "cosine-definition", "hubs", "gap-made")
    cells += ("gap-moved", "gap-panel", "gap-draw", "turn-panel", "turn-draw")
    return types.SimpleNamespace(**results.from_lesson("01_shared_space", cells))


def test_nothing_in_a_panel_is_off_its_axes_or_unreadable(panels):
    walk(panels.arrows_panel)
    walk(panels.gap_panel, times=[0.0, 1.0, 2.5, 5.0])
    walk(panels.turn_panel, angle=[-180, -90, 0, 45, 180])


def test_the_arrows_panel_says_what_the_arrows_are(panels):
    panels.arrows.normalise, panels.arrows.tips = False, [[2.0, 0.0], [0.0, 1.0]]
    alone = "Two arrows of length 2.00 and 1.00, 90 degrees apart: dot product 0.00, cosine 0.00."
    assert panels.arrows_panel.alt_text == alone
    panels.arrows.tips = [[2.0, 0.0], [0.0, 0.0]]
    assert panels.arrows_panel.alt_text.endswith("with no angle between them: dot product 0.00, no cosine.")
    panels.arrows.tips = [[0.0, 2.0], [math.sqrt(1.75), 1.5]]
    asked = "Two arrows of length 2.00 and 2.00, 41 degrees apart: dot product 3.00, cosine 0.75."  # by the text
    assert panels.arrows_panel.alt_text == asked


def test_the_gap_panel_breaks_one_direction_or_none(panels):
    panels.gap_model.times, panels.gap_model.right_angles = 5.0, False
    assert "from name to sentence 1.00, back 0.01" in panels.gap_panel.alt_text
    panels.gap_model.right_angles = True
    assert "from name to sentence 1.00, back 0.99" in panels.gap_panel.alt_text


def test_the_turn_panel_keeps_the_best_angle_to_itself_until_it_is_asked(panels):
    turn, view = panels.turn, panels.turn_panel
    turn.angle, turn.mirror, turn.curve = 0, False, False
    assert "best" not in view.alt_text
    assert "best" not in str(view.scene)
    turn.curve = True
    said = view.alt_text.split("The best of all angles is ")[1].rstrip(".").split(", with ")
    assert abs((float(said[0]) - panels.secret + 180) % 360 - 180) < 5  # there is noise on the points
    turn.angle = int(said[0])
    assert f"pairs lie {said[1]} apart" in view.alt_text
    turn.mirror = True
    assert float(view.alt_text.split("with ")[1].rstrip(".")) > 20 * float(said[1])


def test_the_ridge_is_chosen_on_concepts_that_the_fit_has_not_met():
    """`inside` never has a concept on both sides: pictures of one concept would be memory, not generalisation."""
    asked = {}

    def cca_space(x, y, rows, ridge):
        asked["train"] = rows
        return torch.eye(30), torch.eye(30), None

    from sklearn.model_selection import GroupShuffleSplit

    from xlib.retrieval import retrieval

    icons = types.SimpleNamespace(concepts=torch.arange(30) // 3)
    rows = torch.arange(2, 29)
    inside = shown(
        "inside", GroupShuffleSplit=GroupShuffleSplit, icons=icons, cca_space=cca_space, retrieval=retrieval
    )
    assert inside(None, None, rows, 1.0) == 1.0
    held = set(rows.tolist()) - set(asked["train"].tolist())
    assert held
    assert not {i // 3 for i in held} & {i // 3 for i in asked["train"].tolist()}
