"""A pair of own files in memory: images and segmentations, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from .case_table import CaseFiles

if TYPE_CHECKING:
    import SimpleITK as sitk

_MOST_LISTED = 10


@dataclass(frozen=True)
class CaseImages:
    """Images and segmentations of a pair in LPS mm, each on its own grid.

    The segmentations are None where the pair has none; `labels` are their values but 0, the same in both.
    """

    fixed: sitk.Image
    moving: sitk.Image
    fixed_labels: sitk.Image | None
    moving_labels: sitk.Image | None
    labels: tuple[int, ...]


def read_case(case: CaseFiles) -> CaseImages:
    """Read the files of a pair.

    Raises:
        InputError: a file that cannot be read, an image of one value, segmentations with different labels.
    """
    from ..evaluation.tables import label_values
    from ..registration.files import check_content, read_image, read_labels

    fixed, moving = read_image(case.fixed, "fixed image"), read_image(case.moving, "moving image")
    check_content(fixed, f"fixed image {case.fixed}")
    check_content(moving, f"moving image {case.moving}")
    if case.fixed_labels is None or case.moving_labels is None:
        return CaseImages(fixed, moving, None, None, ())
    fixed_labels = read_labels(case.fixed_labels, "fixed segmentation")
    moving_labels = read_labels(case.moving_labels, "moving segmentation")
    values = [label_values(labels) for labels in (fixed_labels, moving_labels)]
    if values[0] != values[1]:
        only = [_listed(set(values[side]) - set(values[1 - side])) for side in (0, 1)]
        raise InputError(
            f"The segmentations have different labels: only in the fixed one {only[0]}, only in the moving one "
            f"{only[1]}; use the same values in both."
        )
    return CaseImages(fixed, moving, fixed_labels, moving_labels, tuple(values[0]))


def _listed(labels: set[int]) -> str:
    first = ", ".join(str(label) for label in sorted(labels)[:_MOST_LISTED])
    return first + (f" and {len(labels) - _MOST_LISTED} more" if len(labels) > _MOST_LISTED else "") or "none"
