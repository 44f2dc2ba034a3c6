"""Which volume is the CT and which the MR: from DICOM, else from the name, else from the intensities."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import slicer

from .geometry import RESULT_ATTRIBUTE

_CT_WORDS = {"ct", "cbct", "ldct", "cta", "cect", "ncct", "pct", "ctbrain", "hu"}
_MR_WORDS = {"mr", "mri", "mra", "mrt", "t1", "t1w", "t2", "t2w", "pd", "pdw", "flair", "dwi", "adc", "swi", "dixon",
             "haste", "vibe", "trufi", "mprage", "space", "lava", "thrive", "ssfp", "irm", "rm"}  # fmt: skip
_AIR_HU = -500.0


def modality_of(node: Any) -> str | None:
    """ "CT", "MR", or None where nothing tells. Another DICOM modality (PET, ultrasound) is given as DICOM names it."""
    return _from_dicom(node) or _from_name(node.GetName() or "") or _from_intensities(node)


def recognize_pair(nodes: Iterable[Any]) -> tuple[Any, Any]:
    """The (fixed, moving) volumes among scalar volume nodes: an MR and a CT; None for what is not there.

    Results of earlier registrations and what is not saved with the scene are left out. Of several the last one, which
    was loaded last, is taken. Where one is recognised and just one other is there, the other takes the other part; so
    do two of which neither is.
    """
    candidates = [node for node in nodes if node.GetAttribute(RESULT_ATTRIBUTE) is None and node.GetSaveWithScene()]
    found = {node: modality_of(node) for node in candidates}
    fixed = next((node for node in reversed(candidates) if found[node] == "MR"), None)
    moving = next((node for node in reversed(candidates) if found[node] == "CT"), None)
    rest = [node for node in candidates if found[node] is None]
    if len(candidates) == 2 and rest:
        if fixed is None:
            fixed = rest.pop(0)
        if moving is None and rest:
            moving = rest.pop()
    return fixed, moving


def _from_dicom(node: Any) -> str | None:
    own = node.GetAttribute("DICOM.Modality")
    if own:
        return own
    scene = node.GetScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene) if scene is not None else None
    if hierarchy is None:
        return None
    item = hierarchy.GetItemByDataNode(node)
    if not item:
        return None
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return hierarchy.GetItemAttribute(item, name) or None


def _from_name(name: str) -> str | None:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)  # MRBrainT1: MR Brain T1
    words = set(re.findall(r"[a-z]+\d?[a-z]?", spaced.lower()))
    ct, mr = bool(words & _CT_WORDS), bool(words & _MR_WORDS)
    return None if ct == mr else "CT" if ct else "MR"


def _from_intensities(node: Any) -> str | None:
    """A CT holds air (-1000 HU); of an MR nothing is below zero."""
    data = node.GetImageData()
    if data is None or data.GetPointData().GetScalars() is None:
        return None
    low, high = data.GetScalarRange()
    return "CT" if low <= _AIR_HU else "MR" if low >= 0 and high > 1 else None
