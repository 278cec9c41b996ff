"""What lesson 02 defines is what xlib and open_clip compute; its circle behaves; its stored runs can be repeated."""

import math
from functools import partial

import pytest
import results
import torch
import torch.nn.functional as F
from lessons import lesson
from open_clip.loss import ClipLoss, SigLipLoss
from scenes import check_scene, walk
from torch.testing import assert_close

from xlib import contrastive
from xlib.course import report

LESSON = lesson("02_infonce")


def defined(*functions):
    """These functions of the lesson, in one scope."""
    scope = {"torch": torch, "F": F, "math": math, "info_nce": contrastive.info_nce, "siglip": contrastive.siglip}
    for function in functions:
        exec(LESSON.source(function), scope)
    return [scope[function] for function in functions]


def leaves(n=17, d=8, scale=14.0, bias=None):
    rows = torch.randn(2, n, d, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    za, zb = (row.clone().requires_grad_() for row in F.normalize(rows, dim=2))
    more = [scale] if bias is None else [scale, bias]
    return [za, zb, *(torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in more)]


def assert_same(one, two, given):
    """Both functions give the same value, and the same gradient for each leaf."""
    asked = [x for x in given if x.requires_grad]
    for a, b in zip(*((v, *torch.autograd.grad(v, asked)) for v in (one(*given), two(*given))), strict=True):
        assert_close(a, b, rtol=1e-8, atol=1e-10)


def by_open_clip(za, zb, scale):
    return ClipLoss()(za, zb, scale)


@pytest.mark.parametrize("n", [1, 4, 17])
@pytest.mark.parametrize("scale", [1.0, 14.0, 100.0])
def test_the_loss_of_section_1_is_xlibs_and_open_clips(n, scale):
    (shown,) = defined("symmetric_info_nce")
    given = leaves(n, scale=scale)
    assert_same(shown, lambda za, zb, s: contrastive.info_nce(za, zb, logit_scale=s), given)
    assert_same(shown, by_open_clip, given)


class Scaled(dict):
    """Stands in for the lesson's model: a scale, and SigLIP's bias."""

    def __init__(self, scale, bias=None):
        super().__init__(scale=lambda: scale)
        self.bias = bias


@pytest.mark.parametrize("name", ["contrast", "masked_contrast"])
def test_the_trained_losses_are_open_clips_without_duplicates(name):
    *_, loss = defined("without_twins", name)
    assert_same(lambda za, zb, s: loss(za, zb, Scaled(s), torch.arange(17)), by_open_clip, leaves())


def test_masking_twins_is_leaving_them_out():
    _, loss = defined("without_twins", "masked_contrast")
    za, zb, scale = leaves(6)
    captions = torch.tensor([7, 3, 7, 5, 3, 7])
    logits = scale * za @ zb.T
    total = 0
    for i in range(6):
        others = [j for j in range(6) if j == i or captions[j] != captions[i]]
        for row in (logits[i, others], logits[others, i]):
            total = total + row.logsumexp(0) - logits[i, i]
    assert_close(loss(za, zb, Scaled(scale), captions), total / 12)


def test_each_direction_is_its_own_half():
    both = defined("picture_asks", "caption_asks")
    za, zb, scale = leaves()
    rows, columns = (loss(za, zb, Scaled(scale), None) for loss in both)
    labels = torch.arange(17)
    assert_close(rows, F.cross_entropy(scale * za @ zb.T, labels))
    assert_close(columns, F.cross_entropy(scale * zb @ za.T, labels))
    assert not torch.isclose(rows, columns)


@pytest.mark.parametrize(("name", "shift"), [("yes_or_no", 0), ("yes_or_no_from_zero", 10)])
def test_the_pairwise_loss_is_open_clips(name, shift):
    (loss,) = defined(name)
    assert_same(
        lambda za, zb, s, b: loss(za, zb, Scaled(s, b), None),
        lambda za, zb, s, b: SigLipLoss()(za, zb, s, b + shift),
        leaves(bias=-10.0),
    )


def test_the_printed_solutions_are_open_clips():
    za, zb, scale = leaves()
    mended = LESSON.solution("mended_loss")
    assert_close(mended(3 * za, 5 * zb, torch.arange(17), 1 / 14), by_open_clip(za, zb, 14.0))
    (gradient,) = torch.autograd.grad(by_open_clip(za, zb, scale), za)
    assert_close(LESSON.solution("gradient_za")(za, zb, scale), gradient)


def test_the_blocks_of_the_solution_add_up_to_open_clips_loss():
    block = LESSON.solution("siglip_block")

    def in_blocks(za, zb, scale, bias):
        cuts = [(0, 5), (5, 6), (6, 13), (13, 17)], [(0, 8), (8, 10), (10, 17)]
        return sum(block(za[a:b], zb[c:d], a, c, len(za), scale, bias) for a, b in cuts[0] for c, d in cuts[1])

    assert_same(in_blocks, lambda *given: SigLipLoss()(*given), leaves(bias=-10.0))


@pytest.mark.parametrize(("n", "loss"), [(2, 0.3), (64, 0.02), (256, 4.548), (1000, 1e-5)])
def test_at_the_least_scale_the_floor_is_the_loss(n, loss):
    assert contrastive.info_nce_floor(n, LESSON.solution("least_scale")(n, loss)) == pytest.approx(loss, rel=1e-4)


def test_the_constructed_critic_is_the_log_density_ratio():
    """As the dot product that section 5 uses, up to what is the same for a whole row."""
    scope = results.from_lesson("02_infonce", ("set-up", "bound-channels"))
    a, b, rho = scope["paired_channels"](400, 5.0, torch.Generator().manual_seed(3))
    a, b = a[:40].double(), b[:40].double()
    covariance = torch.tensor([[1, rho], [rho, 1]], dtype=torch.float64)
    both = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    alone = torch.distributions.Normal(0.0, 1.0)
    pairs = torch.stack(torch.broadcast_tensors(a[:, None], b[None]), dim=-1)  # (40, 40, 8, 2)
    ratio = (both.log_prob(pairs) - alone.log_prob(pairs).sum(-1)).sum(-1)
    own = -(rho**2) * b.square().sum(1) / (2 * (1 - rho**2))
    critic = rho / (1 - rho**2) * a @ b.T + own
    assert_close(ratio.log_softmax(dim=1), critic.log_softmax(dim=1), rtol=1e-5, atol=1e-5)
    assert -8 / 2 * math.log(1 - rho**2) == pytest.approx(5.0)


@pytest.fixture
def circle():
    scope = results.from_lesson("02_infonce", ("set-up", "circle-model"))
    return scope["Circle"](
        pictures=[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], captions=[[0.9, 0.1], [0.3, 2.0], [-1.0, -3.0]]
    )


def test_points_stay_on_the_circle_and_forces_lie_along_it(circle):
    points = torch.tensor([circle.pictures, circle.captions], dtype=torch.float64)
    assert_close(points.norm(dim=2), torch.ones(2, 3, dtype=torch.float64))
    force = circle.force(points)
    assert_close((force * points).sum(dim=2), torch.zeros(2, 3, dtype=torch.float64))
    assert force.norm() > 0.1


def test_following_the_force_reaches_three_corners_and_back(circle):
    before = circle.pictures
    circle.steps = 200
    points = torch.tensor([circle.pictures, circle.captions], dtype=torch.float64)
    table = points[0] @ points[1].T
    assert_close(table, 1.5 * torch.eye(3, dtype=torch.float64) - 0.5, rtol=0, atol=0.02)
    assert circle.loss == pytest.approx(contrastive.info_nce_floor(3, 2.0), abs=1e-3)
    circle.steps = 0
    assert_close(torch.tensor(circle.pictures), torch.tensor(before))


def test_a_point_moved_by_hand_is_where_the_steps_begin(circle):
    circle.steps = 50
    circle.captions = [[0.0, 5.0], *circle.captions[1:]]
    assert circle.steps == 0
    assert circle.captions[0] == [0.0, 1.0]
    circle.steps = 5
    assert circle.captions[0] != [0.0, 1.0]


def test_all_in_one_place_is_a_point_of_balance(circle):
    circle.pictures = circle.captions = [[1.0, 0.0]] * 3
    circle.steps = 100
    assert circle.pictures == [[1.0, 0.0]] * 3
    assert circle.loss == pytest.approx(math.log(3))


def at(*degrees):
    return [[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees]


def turns(circle):
    """The force on each point, positive where it turns it to the left."""
    points = torch.tensor([circle.pictures, circle.captions], dtype=torch.float64)
    return (circle.force(points) * torch.stack([-points[..., 1], points[..., 0]], dim=-1)).sum(-1)


def corners(circle):
    """Whether the pairs stand 120° apart."""
    table = torch.tensor(circle.pictures) @ torch.tensor(circle.captions).T
    return torch.allclose(table, 1.5 * torch.eye(3) - 0.5, atol=0.02)


def test_what_the_folded_answers_say_of_the_circle(circle):
    circle.pictures, circle.captions = at(60, 100, 300), at(80, 130, 300)  # caption 1 between pictures 1 and 2
    pictures, captions = turns(circle)
    assert pictures[1] > 0.2 > 0 > captions[0]  # apart, and caption 1 towards picture 1
    circle.pictures, circle.captions, circle.steps = at(80, 170, 300), at(125, 20, 235), 200
    assert corners(circle)
    circle.temperature = 0.3
    assert not corners(circle)
    assert circle.pictures[0] == pytest.approx(circle.pictures[1], abs=0.01)
    assert circle.loss == pytest.approx(2 / 3 * math.log(2), abs=0.01)  # 0.46
    circle.temperature = 0.5
    circle.pictures, circle.captions, circle.steps = at(5, 0, 0), at(0, 0, 0), 200
    assert not corners(circle)
    assert circle.pictures[1] == pytest.approx(circle.pictures[2])
    circle.pictures, circle.captions, circle.steps = at(5, -5, 0), at(0, 0, 0), 200
    assert corners(circle)


@pytest.fixture
def shown(smoke_cells):
    """shown(*cells): what these cells of the lesson define."""
    return partial(smoke_cells, "02_infonce")


def test_the_circles_panel_can_be_read_everywhere(shown):
    scope = shown("circle-model", "circle-panel", "circle-show")
    walk(scope["circle_panel"])
    circle = scope["circle"]
    for pictures, captions in ((at(0, 0, 0), at(0, 0, 0)), (at(90, 90, 91), at(90, 270, 271)), (at(5, 20, 35),) * 2):
        circle.pictures, circle.captions = pictures, captions
        words = scope["circle_panel"].alt_text  # drawn here, for the browser draws it otherwise
        check_scene(scope["circle_panel"].scene)
    assert words.startswith("Loss 1.01")
    assert "picture 1 gives its caption 0.3" in words


@pytest.fixture
def table(shown):
    return shown(
        "pairs", "train", "score", "contrast", "base", "temperature-batch", "temperature-draw", "temperature-show"
    )


def test_the_tables_panel_can_be_read_everywhere(table):
    walk(table["table_panel"], picture=table["close"])


def test_where_nobody_is_pushed_the_table_says_so(table):
    table["close_za"][:] = table["close_zb"]  # perfect
    table["table"].temperature, table["table"].picture = 0.01, 90
    walk(table["table_panel"], picture=[90])
    assert table["table_panel"].alt_text == (
        "Temperature 0.01: loss 0.000, where blind guessing costs 2.08. Picture of 90: no push at all."
    )
    table["close_za"][6] = table["close_zb"][0]  # but 90 looks just like a 42
    table["table"].temperature = 0.03
    assert "Picture of 90: caption 42 takes 100% of a push of 1.000." in table["table_panel"].alt_text


def test_a_click_on_a_row_of_the_table_chooses_its_picture(table):
    for axes in table["table_panel"].scene["axes"]:
        assert axes["pick"]["y"] == ["picture", [0, 1, 2, 3, 4, 5, 6, 7], table["close"]]
    table["table"].picture = 27
    assert "Picture of 27:" in table["table_panel"].alt_text


def test_the_panel_of_the_bound_can_be_read_everywhere(shown):
    walk(shown("bound-channels", "bound-measure", "bound-panel")["bound_panel"], size=[2**k for k in range(1, 12)])


def test_a_stored_run_can_be_measured_again():
    """With the lesson's own code, in the cells that `make results` takes it from."""
    again = results.one_infonce_run(3, "positives only") | {"seed": 3}
    stored = report.stored("02_infonce")["positives only"][3]
    assert again.keys() == stored.keys()
    for name, value in stored.items():
        assert again[name] == pytest.approx(value, abs=0.08), name  # other processors round differently


def test_settings_of_one_name_are_the_same_in_every_section():
    lesson, settings = results.infonce_lesson()
    for section in results.INFONCE_SECTIONS:
        assert lesson[section] == {name: settings[name] for name in lesson[section]}
        assert next(iter(lesson[section])) == "InfoNCE, τ learned"  # what all else is compared with


def test_what_the_prose_says_holds_in_every_stored_run():
    stored = report.stored("02_infonce")
    names = ("InfoNCE, τ learned", "positives only", "positives only, not normalised")
    for good, dead, endless in zip(*(stored[name] for name in names), strict=True):
        assert good["picture→caption"] > 0.84 > 0.33 > dead["picture→caption"] > 10 * endless["picture→caption"]
        assert abs(good["of wrong pairs"]) < 0.05 < 0.99 < dead["of wrong pairs"] < dead["cosine of pairs"]
        assert good["1% noise"] > 0.84 > 0.08 > dead["1% noise"]
        assert endless["last loss"] < -1e6


def test_more_steps_are_the_same_training():
    settings = results.infonce_lesson()[1]
    for name in results.INFONCE_LONGER:
        assert settings[f"{name}, 300 steps"] == settings[name] | {"steps": 300}


def test_turns_change_which_captions_are_popular_and_not_how_many_are_equal():
    lesson, _ = results.infonce_lesson()
    generator = torch.Generator().manual_seed(0)
    often, by_turns = (
        torch.stack([lesson[draw](generator) for _ in range(100)])
        for draw in ("some_far_too_often", "popular_by_turns")
    )
    assert often.unique(return_counts=True)[1].max() > 0.18 * often.numel()
    assert by_turns.unique(return_counts=True)[1].max() < 0.03 * by_turns.numel()
    different = [sum(len(batch.unique()) for batch in batches) / 100 for batches in (often, by_turns)]
    assert different[0] == pytest.approx(different[1], abs=1)
    assert round(different[0]) == 29
