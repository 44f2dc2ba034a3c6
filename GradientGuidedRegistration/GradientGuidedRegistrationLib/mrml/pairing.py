"""Which structures of two segmentations are compared: found by itself, corrected by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from .label_grid import LabelGrid
from .structures import Match, Structure, match_structures, structures_of


class Pairing:
    """The structures of a node of the fixed and of a node of the moving image, and what belongs together.

    Args:
        fixedNode, movingNode: segmentations or label maps in any mix; they may be under a result.
        earlier: a pairing of the same nodes as they were before, whose choices by hand are kept where what they name is
            still there.

    Raises:
        InputError: as `structures_of`.
    """

    def __init__(self, fixedNode: Any, movingNode: Any, earlier: Pairing | None = None) -> None:
        self.fixed: list[Structure] = structures_of(fixedNode, before_registration=True)
        self.moving: list[Structure] = structures_of(movingNode, before_registration=True)
        keys = {structure.key for structure in self.fixed}
        partners = {None, *(structure.key for structure in self.moving)}
        chosen: dict[str, str | None] = earlier._by_hand if earlier is not None else {}
        self._by_hand: dict[str, str | None] = {
            key: other for key, other in chosen.items() if key in keys and other in partners
        }

    @property
    def matches(self) -> list[Match]:
        """As `match_structures` orders them: the fixed structures, then moving ones without a counterpart."""
        return match_structures(self.fixed, self.moving, self._by_hand)

    def choose(self, fixed_key: str, moving_key: str | None) -> None:
        """Compare a fixed structure with this moving one, or with none. A partner it takes from another is free."""
        for key, other in self._by_hand.items():
            if other is not None and other == moving_key:
                self._by_hand[key] = None
        self._by_hand[fixed_key] = moving_key

    def label_images(self, fixed: sitk.Image, moving: sitk.Image) -> tuple[sitk.Image, sitk.Image, dict[int, str]]:
        """The structures as label images (UInt16) on the grids of the two images, and their names by value.

        What belongs together has the same value. Where structures of a node overlap, the later one is seen.
        """
        matches = self.matches
        sides = []
        for image, side in ((fixed, "fixed"), (moving, "moving")):
            grid, values = LabelGrid(image), np.zeros(image.GetSize()[::-1], np.uint16)
            for value, match in enumerate(matches, start=1):
                box = grid.box(getattr(match, side))
                if box is not None:
                    values[box][grid.mask(getattr(match, side), box)] = value
            labels = sitk.GetImageFromArray(values)
            labels.CopyInformation(image)
            sides.append(labels)
        return sides[0], sides[1], {value: match.name for value, match in enumerate(matches, start=1)}
