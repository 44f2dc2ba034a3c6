"""The cases of a comparison: held-out phantoms, or own pairs with segmentations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import SimpleITK as sitk

from ...errors import InputError, all_wrong
from ..case_images import read_case
from ..case_table import CaseFiles, read_cases
from ..split import listed
from .settings import EvaluationSettings


@dataclass(frozen=True)
class LabelledPair:
    """Images and segmentations in LPS mm; `truth` is the true field (fixed to moving) where it is known.

    Overlap is measured on the voxels of `fixed_labels`, which are those of `fixed`; `moving_labels` may have any grid.
    """

    name: str
    fixed: sitk.Image
    moving: sitk.Image
    fixed_labels: sitk.Image
    moving_labels: sitk.Image
    label_names: dict[int, str]
    truth: sitk.Image | None = None


def count(settings: EvaluationSettings) -> int:
    """How many cases there will be."""
    return settings.cases if settings.data is None else len(_own_cases(settings))


def cases(settings: EvaluationSettings) -> Iterator[LabelledPair]:
    """One case after the other, so that only one is in memory."""
    if settings.data is not None:
        yield from _own_pairs(settings)
        return
    from ..phantom import LABELS, ORGANS, phantom_images

    scored = {LABELS.index(organ): organ for organ in ORGANS}
    for seed in range(settings.first_seed, settings.first_seed + settings.cases):
        images = phantom_images(seed, settings.shape, settings.spacing, strength=settings.strength)
        fixed, moving, fixed_labels, moving_labels = (
            images[name] for name in ("fixed", "moving", "fixed_labels", "moving_labels")
        )
        yield LabelledPair(f"phantom {seed}", fixed, moving, fixed_labels, moving_labels, scored, images["field"])


def split_note(settings: EvaluationSettings) -> str | None:
    """What to bear in mind of own pairs that a training may have taken, since no split is given for them, or None."""
    free = [] if settings.data is None else [case for case in _own_cases(settings) if not case.split_given]
    taken = [case for case in free if case.split == "training"]
    if not taken:
        return None
    return (
        f"No split is given for {listed(free)}: all of them are compared. train.py, given the same data, trains on "
        f"{listed(taken)}; figures of pairs that a network was trained on say nothing about others."
    )


def _own_cases(settings: EvaluationSettings) -> list[CaseFiles]:
    assert settings.data is not None
    found = read_cases(settings.data)
    chosen = [case for case in found if case.split == "test"]
    chosen = chosen or [case for case in found if case.split != "training" or not case.split_given]
    if not chosen:
        raise InputError(f"All pairs of {settings.data} are for training; give those to compare on the split 'test'.")
    bare = [case.name for case in chosen if case.fixed_labels is None]
    if bare:
        raise InputError(f"A comparison needs segmentations; there are none for {', '.join(bare)}.")
    return chosen


def _own_pairs(settings: EvaluationSettings) -> Iterator[LabelledPair]:
    """Read the pairs one by one, after all of them were read once: what is wrong is told before hours of work."""
    chosen, wrong = _own_cases(settings), []
    for case in chosen:
        try:
            _own_pair(case)
        except InputError as error:
            wrong.append(f"{case.name}: {error}")
    if wrong:
        raise all_wrong(f"The data {settings.data} cannot be used; nothing was done:", wrong)
    yield from map(_own_pair, chosen)


def _own_pair(case: CaseFiles) -> LabelledPair:
    from ...evaluation import labels_on_grid

    images = read_case(case)
    assert images.fixed_labels is not None and images.moving_labels is not None  # see _own_cases
    fixed_labels = labels_on_grid(images.fixed_labels, images.fixed)
    names = {value: f"label {value}" for value in images.labels}
    return LabelledPair(case.name, images.fixed, images.moving, fixed_labels, images.moving_labels, names)
