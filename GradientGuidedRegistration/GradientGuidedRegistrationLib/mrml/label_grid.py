"""Structures as masks on one grid: each label image is sampled once, each mask is cut to its box."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from ..evaluation.overlap import Box, label_boxes, label_volumes
from .structures import Structure


class _Sampled(NamedTuple):
    values: np.ndarray
    boxes: dict[int, Box]
    image: sitk.Image  # kept alive, since it is told apart by its id


class LabelGrid:
    """Label images of structures on the grid of `reference` (LPS mm), sampled by nearest neighbour when first needed.

    Args:
        transform: takes points of `reference` to points of the label images; None leaves them where they are.
    """

    def __init__(self, reference: sitk.Image, transform: sitk.Transform | None = None) -> None:
        self._reference = reference
        self._transform = transform or sitk.Transform(3, sitk.sitkIdentity)
        self._known: dict[int, _Sampled] = {}
        self._volumes: dict[int, dict[int, float]] = {}

    def box(self, structure: Structure | None) -> Box | None:
        """Slices (z, y, x) around a structure; None if there is nothing of it on the grid."""
        if structure is None or structure.image is None:
            return None
        return self._sampled(structure.image).boxes.get(structure.value)

    def mask(self, structure: Structure | None, box: Box) -> np.ndarray:
        """Boolean (D, H, W) of a structure within a box; all False where there is none."""
        if structure is None or structure.image is None:
            return np.zeros([part.stop - part.start for part in box], bool)
        return np.equal(self._sampled(structure.image).values[box], structure.value)

    def volume_ml(self, structure: Structure | None) -> float:
        """Volume of the whole structure, whether it is all on the grid or not; 0 where there is none."""
        if structure is None or structure.image is None:
            return 0.0
        image = self._sampled(structure.image).image  # kept alive there
        if id(image) not in self._volumes:
            self._volumes[id(image)] = label_volumes(image)
        return self._volumes[id(image)].get(structure.value, 0.0)

    def _sampled(self, image: sitk.Image) -> _Sampled:
        if id(image) not in self._known:
            on_grid = sitk.Resample(
                image, self._reference, self._transform, sitk.sitkNearestNeighbor, 0, image.GetPixelID()
            )
            self._known[id(image)] = _Sampled(sitk.GetArrayFromImage(on_grid), label_boxes(on_grid), image)
        return self._known[id(image)]
