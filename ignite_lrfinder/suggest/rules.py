"""How a suggestion depends on the schedule of the planned training."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from ignite_lrfinder.record import Plan


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a suggestion is made for one kind of schedule.

    Attributes:
        words: the schedule in words.
        edge_divisor: the rate of the edge is divided by this.
        valley_factor: the suggestion is at most this many times the rate of the valley.
        calm_exponent: how the best rate changes with the length of the training where batch noise
            hides little of the gain.
        noisy_exponent: the same where batch noise hides most of the gain.
        shoulder_share: the suggestion is at most this share of the highest rate that does nearly
            as well as the best.
    """

    words: str
    edge_divisor: float
    valley_factor: float
    calm_exponent: float
    noisy_exponent: float
    shoulder_share: float


# `methods.auto` and `verdict.suggested_lr` say where these numbers come from.
_RULES: Mapping[str, Rules] = MappingProxyType(
    {
        "constant": Rules(
            words="a constant rate",
            edge_divisor=6.0,
            valley_factor=0.7,
            calm_exponent=-0.2,
            noisy_exponent=-0.4,
            shoulder_share=0.4,
        ),
        "decay": Rules(
            words="the peak of a rate that decays",
            edge_divisor=3.0,
            valley_factor=1.0,
            calm_exponent=0.15,
            noisy_exponent=0.15,
            shoulder_share=0.7,
        ),
    }
)


def rules_for(plan: Plan) -> Rules:
    """Return how a suggestion is made for a planned training."""
    return _RULES[plan.schedule]
