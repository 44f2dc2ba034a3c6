"""Whether a volume is still the one that was registered: voxels and place in a few characters."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import InputError
from .geometry import matrix_from_vtk, parent_to_world

_SAMPLES = 1 << 18
_TOLERANCE = 1e-4  # of a matrix in mm: hardening a linear transform changes the last digits only


def fingerprint(node: Any, *, before_registration: bool = False) -> str:
    """Voxels (type, size and an even sample) and IJK-to-RAS matrix in the world (mm) of a volume node, as text.

    Args:
        node: scalar volume node with voxels.
        before_registration: leave out the result of an earlier registration that the node is under.

    Raises:
        InputError: a non-linear or singular transform above the node.
    """
    data = node.GetImageData()
    voxels = vtk_to_numpy(data.GetPointData().GetScalars()).ravel()
    step = max(1, voxels.size // _SAMPLES) | 1  # odd: no column of a volume is left out
    code = crc32(voxels[::step].tobytes(), crc32(repr((voxels.dtype.str, data.GetDimensions())).encode()))
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    place = parent_to_world(node, before_registration) @ matrix_from_vtk(matrix)
    return " ".join([f"{code:08x}", *(repr(float(value)) for value in place.ravel())])


def has_changed(node: Any, earlier: str, *, before_registration: bool = False) -> bool:
    """Whether a volume node has other voxels or another place than when `fingerprint` gave `earlier`."""
    if node.GetImageData() is None:
        return True
    try:
        code, *place = fingerprint(node, before_registration=before_registration).split()
    except InputError:
        return True
    old_code, *old_place = earlier.split()
    moved = np.array(place, float) - np.array(old_place, float)
    return code != old_code or bool(np.abs(moved).max() > _TOLERANCE)
