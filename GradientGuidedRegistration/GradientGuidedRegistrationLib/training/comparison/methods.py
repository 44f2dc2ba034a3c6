"""The rows of Table 1. A new method is one line here: a name and a function from a case to a result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from .cases import LabelledPair
from .settings import EvaluationSettings


class Unavailable(Exception):
    """A row cannot be computed here; the message says what it needs."""


@dataclass(frozen=True)
class Outcome:
    """A displacement field (LPS mm, fixed to moving points), or None for the images as they are, and its time in s.

    `is_used` is False where the field is that of the alignment alone, because a network's folds or leads no closer.
    """

    field: sitk.Image | None
    seconds: float
    is_used: bool = True


Method = Callable[[LabelledPair, EvaluationSettings], Outcome]


def moving(pair: LabelledPair, settings: EvaluationSettings) -> Outcome:
    """The images as they are."""
    return Outcome(None, 0.0)


def syn(pair: LabelledPair, settings: EvaluationSettings) -> Outcome:
    """SyN with mutual information, by ANTsPy."""
    from .syn import syn_field

    start = time.perf_counter()
    return Outcome(syn_field(pair.fixed, pair.moving), time.perf_counter() - start)


def network(name: str, refine: bool) -> Method:
    """A network of this extension, alone or followed by the refinement on the pair."""

    def method(pair: LabelledPair, settings: EvaluationSettings) -> Outcome:
        from ...model import load_weights
        from ...registration.models import MODELS

        weights = Path(settings.weights or MODELS) / f"{name}.pt"
        if not weights.is_file():
            raise Unavailable(f"no weights {weights.name} in {weights.parent}")
        load_weights(weights, name)  # tells weights of another network, which a registration would take
        return _registered(pair, settings, method=name, weights=weights, refine=None if refine else 0)

    return method


def refinement(pair: LabelledPair, settings: EvaluationSettings) -> Outcome:
    """The refinement on the pair, without a network."""
    return _registered(pair, settings, use_network=False)


def _registered(pair: LabelledPair, settings: EvaluationSettings, **options) -> Outcome:
    from ...registration.pipeline import register
    from ...registration.settings import Settings

    chosen = Settings(initialization=settings.initialization, device=settings.device, **options)
    start = time.perf_counter()
    result = register(pair.fixed, pair.moving, chosen)
    is_used = chosen.is_refined or result.quality["network_used"]
    return Outcome(result.field, time.perf_counter() - start, is_used)


ROWS: dict[str, Method] = {
    "Moving": moving,
    "SyN(MI)": syn,
    "VM": network("vm", refine=False),
    "VM(concat)": network("vm-concat", refine=False),
    "Ours(average)": network("average", refine=False),
    "Ours(gated)": network("gated", refine=False),
    "Refinement alone": refinement,
    "VM + refinement": network("vm", refine=True),
    "VM(concat) + refinement": network("vm-concat", refine=True),
    "Ours(average) + refinement": network("average", refine=True),
    "Ours(gated) + refinement": network("gated", refine=True),
}
