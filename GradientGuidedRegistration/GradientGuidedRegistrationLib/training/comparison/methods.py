"""The rows of Table 1. A new method is one line here: a name and a function from a case to a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from ...errors import InputError, all_wrong
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
        weights = _weights(name, settings)
        return _registered(pair, settings, method=name, weights=weights, refine=None if refine else 0)

    return method


def without_weights(rows: Iterable[str], settings: EvaluationSettings) -> dict[str, str]:
    """The rows whose weights are not there, and where they should be.

    Raises:
        InputError: weights that are there and cannot be used: damaged, or of another network than the row's.
    """
    from ...model import load_weights

    missing: dict[str, str] = {}
    wrong: dict[Path, str] = {}
    for row in rows:
        name = NETWORKS.get(row.removesuffix(_REFINED))
        if name is None:
            continue
        path = _weights(name, settings)
        if not path.is_file():
            missing[row] = f"no weights {path.name} in {path.parent}"
            continue
        try:
            load_weights(path, name)
        except InputError as error:
            wrong[path] = str(error)
    if wrong:
        raise all_wrong("Not all weights can be used; nothing was done:", wrong.values())
    return missing


def _weights(name: str, settings: EvaluationSettings) -> Path:
    from ...registration.models import MODELS

    return Path(settings.weights or MODELS) / f"{name}.pt"


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


NETWORKS = {"VM": "vm", "VM(concat)": "vm-concat", "Ours(average)": "average", "Ours(gated)": "gated"}
_REFINED = " + refinement"
ROWS: dict[str, Method] = {
    "Moving": moving,
    "SyN(MI)": syn,
    **{row: network(name, refine=False) for row, name in NETWORKS.items()},
    "Refinement alone": refinement,
    **{row + _REFINED: network(name, refine=True) for row, name in NETWORKS.items()},
}
