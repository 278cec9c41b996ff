"""The exercise checks: `checks.clip_loss(clip_loss)` says that your function is right, or what went wrong.

Each is named like its exercise, prints one line, returns it as a `Result`, and raises nothing. Behind it stand three
things (read them once you have solved it): an oracle, the right answer in float64 and computed in another way than in
the lesson; the cases to compare on; and known mistakes, as functions. Whoever makes one of these mistakes gets the
mistake's numbers, and so the check can name it. One module a lesson, named like the part of xlib that it is about.

In a notebook the checks keep a record beside it of what is solved and tried. `progress("03_clip")` shows it at the
end of the lesson, `hand_in()` writes it to one file for a teacher, and `python -m xlib.course.checks collect folder/`
makes a table of such files.
Example:
    >>> result = gap_closed(lambda source_only, adapted, oracle: None)  # the stub of lesson 06
    not solved yet: gap_closed returned None
    >>> result = gap_closed(lambda source_only, adapted, oracle: adapted.mean() - source_only.mean())
    ✗ equal gaps: expected 0.25, got 0.1. ...
"""

from xlib.course.checks.bridge import cosine_range, detour, relative, tent_parameters
from xlib.course.checks.clip import clip_loss, fixed_loss, recall_at_k, zero_shot_classifier
from xlib.course.checks.combined import (
    chosen_gain,
    fixed_combined,
    gap_closed,
    mean_gap_and_recall,
    self_training_loss,
)
from xlib.course.checks.contrastive import effective_negatives, gradient_za, least_scale, mended_loss, siglip_block
from xlib.course.checks.dann import a_distance, feature_gradient, fixed_domain_loss, least_error
from xlib.course.checks.engine import Result
from xlib.course.checks.handed_in import collect
from xlib.course.checks.mmd import expected_biased, fixed_p_value, mmd_unbiased, push_and_pull
from xlib.course.checks.own import loss_with_repeats, onto_source, rows_for_test
from xlib.course.checks.records import hand_in, progress
from xlib.course.checks.scale import cached_gradient, largest_batch, row_log_sums, share_of_loss
from xlib.course.checks.space import fixed_similarity, kept_neighbours, uniformity_gradient, without_bonus

__all__ = [
    "Result", "a_distance", "cached_gradient", "chosen_gain", "clip_loss", "collect", "cosine_range", "detour",
    "effective_negatives", "expected_biased", "feature_gradient", "fixed_combined", "fixed_domain_loss",
    "fixed_loss", "fixed_p_value", "fixed_similarity", "gap_closed", "gradient_za", "hand_in",
    "kept_neighbours", "largest_batch", "least_error", "least_scale", "loss_with_repeats",
    "mean_gap_and_recall", "mended_loss", "mmd_unbiased", "onto_source", "progress", "push_and_pull",
    "recall_at_k", "relative", "row_log_sums", "rows_for_test", "self_training_loss", "share_of_loss",
    "siglip_block", "tent_parameters", "uniformity_gradient", "without_bonus", "zero_shot_classifier",
]  # fmt: skip
