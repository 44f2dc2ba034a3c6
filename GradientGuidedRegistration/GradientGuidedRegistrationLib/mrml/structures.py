"""The structures of a segmentation or label map node one by one, and which of two nodes' structures belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..errors import InputError
from .geometry import parent_to_world
from .labels import label_map_image, layers_of, with_label_images


@dataclass(frozen=True)
class Structure:
    """One segment, or one value of a label map.

    Attributes:
        key: segment id, or the value as text; what tells structures of one node apart.
        name: what the user reads.
        terminology: Slicer's terminology entry, "" if there is none.
        value: label value.
        image: label image in world LPS mm that holds it, None if it is empty; several structures may share one.
    """

    key: str
    name: str
    terminology: str
    value: int
    image: sitk.Image | None

    def mask(self, reference: sitk.Image, transform: sitk.Transform | None = None) -> np.ndarray:
        """Boolean (D, H, W) on the grid of `reference`; `transform` takes its points to the node's points."""
        if self.image is None:
            return np.zeros(reference.GetSize()[::-1], bool)
        transform = transform or sitk.Transform(3, sitk.sitkIdentity)
        sampled = sitk.Resample(self.image, reference, transform, sitk.sitkNearestNeighbor, 0, self.image.GetPixelID())
        return sitk.GetArrayFromImage(sampled) == self.value


@dataclass(frozen=True)
class Match:
    """Two structures that are compared with each other; one of them is None where the other has no counterpart."""

    fixed: Structure | None
    moving: Structure | None
    by: str  # "name", "terminology", "label value", "hand" or ""

    @property
    def name(self) -> str:
        """The fixed structure's name, else the moving one's."""
        return (self.fixed or self.moving).name  # type: ignore[union-attr]


def structures_of(node: Any, *, before_registration: bool = False) -> list[Structure]:
    """The structures of a node in its own order.

    Args:
        node: `vtkMRMLSegmentationNode`, or a volume node whose voxels are whole numbers; parent transforms as in
            `labels_from_node`.

    Raises:
        InputError: no node, no segments or none that can be converted, fractions in a label map, a non-linear or
            singular transform above the node.
    """
    if node is None:
        raise InputError("No segmentation or label map is selected.")
    if not node.IsA("vtkMRMLSegmentationNode"):
        return _label_map_structures(node, before_registration)
    segmentation = with_label_images(node)
    images = {
        segment_id: layer.image
        for layer in layers_of(segmentation, parent_to_world(node, before_registration))
        for segment_id in layer.segment_ids
    }
    structures = []
    for index in range(segmentation.GetNumberOfSegments()):
        key = segmentation.GetNthSegmentID(index)
        segment = segmentation.GetSegment(key)
        structures.append(
            Structure(key, segment.GetName() or key, _terminology(segment), segment.GetLabelValue(), images.get(key))
        )
    return structures


def match_structures(
    fixed: Sequence[Structure], moving: Sequence[Structure], by_hand: dict[str, str | None] | None = None
) -> list[Match]:
    """Pair the structures of two nodes: as `by_hand` says, then by name, then by terminology, then by label value.

    Names are compared without case, spaces and punctuation. A name or a terminology that occurs twice in a node, and
    so would be a guess, does not match. Label values match only between structures whose names say nothing: where one
    of them is a label map without names.

    Args:
        by_hand: key of the fixed structure to key of the moving one, or to None to leave it alone.

    Returns:
        Matches in the order of the fixed structures, then the moving ones without a counterpart.
    """
    pairs: dict[str, tuple[Structure | None, str]] = {}
    free = {structure.key: structure for structure in moving}
    for key, other in (by_hand or {}).items():
        pairs[key] = (free.pop(other, None) if other is not None else None, "hand")

    def pair_up(by: str, quality: Any) -> None:
        left = [structure for structure in fixed if structure.key not in pairs]
        values = [quality(structure) for structure in left]
        others: dict[Any, list[Structure]] = {}
        for structure in free.values():
            others.setdefault(quality(structure), []).append(structure)
        for structure, value in zip(left, values):
            candidates = others.get(value, [])
            if value and values.count(value) == 1 and len(candidates) == 1:
                pairs[structure.key] = (candidates[0], by)
                del free[candidates[0].key]

    pair_up("name", lambda structure: _plain(structure.name))
    pair_up("terminology", lambda structure: _meaning(structure.terminology))
    if any(all(_nameless(structure) for structure in side) for side in (fixed, moving)):
        pair_up("label value", lambda structure: structure.value)
    matches = []
    for structure in fixed:
        counterpart, how = pairs.get(structure.key, (None, ""))
        matches.append(Match(structure, counterpart, how if counterpart is not None else ""))
    return matches + [Match(None, structure, "") for structure in moving if structure.key in free]


def _label_map_structures(node: Any, before_registration: bool) -> list[Structure]:
    labels = label_map_image(node, before_registration)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputePerimeterOff()
    statistics.Execute(labels)
    display = node.GetDisplayNode()
    colours = display.GetColorNode() if display is not None else None
    # Slicer's generic tables name every number; such names say nothing about the structure
    named = colours is not None and colours.GetType() in (slicer.vtkMRMLColorNode.User, slicer.vtkMRMLColorNode.File)
    structures = []
    for value in sorted(int(label) for label in statistics.GetLabels()):
        has_name = colours is not None and named and 0 <= value < colours.GetNumberOfColors()
        name = (colours.GetColorName(value) or "") if has_name else ""  # type: ignore[union-attr]
        structures.append(Structure(str(value), name or f"Label {value}", "", value, labels))
    return structures


def _terminology(segment: Any) -> str:
    text = vtk.mutable("")
    return str(text) if segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text) else ""


def _meaning(terminology: str) -> str:
    """Category, type and modifiers of an entry without the names of the contexts; "" for what Slicer gives to all.

    An entry is "context~category~type~type modifier~anatomic context~region~region modifier", each part
    "scheme^code^meaning".
    """
    parts = terminology.split("~")
    if len(parts) < 3:
        return ""
    codes = ["^".join(part.split("^")[:2]) for index, part in enumerate(parts) if index not in (0, 4)]
    # SCT 85756007 is plain "Tissue", the default of every new segment
    if codes[1].endswith("85756007") and not any(code.strip("^") for code in codes[2:]):
        return ""
    return "~".join(codes)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _nameless(structure: Structure) -> bool:
    return re.fullmatch(r"(label|segment)?\d*", _plain(structure.name)) is not None
