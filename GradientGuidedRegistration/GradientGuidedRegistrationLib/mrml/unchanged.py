"""Whether a volume is still the one that was registered: voxels and place in a few characters."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import InputError
from ..registration.result import Result
from .geometry import matrix_from_vtk, parent_to_world
from .scene_nodes import nodes_of_class

_SAMPLES = 1 << 18
_TOLERANCE = 1e-4  # of a matrix in mm: hardening a linear transform changes the last digits only


REGISTERED_ATTRIBUTE = "GradientGuidedRegistration.Registered"
"""Of the transform of a result: the fingerprint of the moving volume, before registration, for which it was made."""

CODE_ATTRIBUTE = "GradientGuidedRegistration.ResultCode"
"""Of the transform of a result: the `result_code` of that result."""


def fingerprint(node: Any, *, before_registration: bool = False) -> str:
    """Voxels (type, size and an even sample) and IJK-to-RAS matrix in the world (mm) of a volume node, as text.

    Args:
        node: scalar volume node with voxels.
        before_registration: leave out the result of an earlier registration that the node is under.

    Raises:
        InputError: a non-linear or singular transform above the node.
    """
    place = _place(node, before_registration)
    return " ".join([_code(node.GetImageData()), *(repr(float(value)) for value in place.ravel())])


class Watched:
    """A volume that is to be as it was; its voxels are read again only after they were modified.

    Args:
        earlier: `fingerprint` of the volume.
        before_registration: as it was given to `fingerprint`.
    """

    def __init__(self, earlier: str, *, before_registration: bool = False) -> None:
        self._code, *place = earlier.split()
        self._place = np.array(place, float).reshape(4, 4)
        self._before_registration = before_registration
        self._seen: tuple[int, str] = (-1, "")

    def has_changed(self, node: Any) -> bool:
        """Whether the volume node has other voxels or another place now."""
        data = node.GetImageData()
        if data is None:
            return True
        try:
            moved = np.abs(_place(node, self._before_registration) - self._place).max()
        except InputError:
            return True
        if self._seen[0] != data.GetMTime():  # no two objects of VTK share one
            self._seen = (data.GetMTime(), _code(data))
        return bool(moved > _TOLERANCE) or self._seen[1] != self._code


def check_as_registered(node: Any, watched: Watched) -> None:
    """Raises `InputError` where the moving volume of a result is not any more as it was when it was registered."""
    if watched.has_changed(node):
        raise InputError(
            f"The volume '{node.GetName()}' was changed or moved since it was registered, for example by «Harden "
            "transform»: this result does not fit it. Undo that, or register again."
        )


def watched_by(transform_node: Any) -> Watched | None:
    """The moving volume as the transform of a result remembers it; None if it does not."""
    earlier = transform_node.GetAttribute(REGISTERED_ATTRIBUTE)
    return Watched(earlier, before_registration=True) if earlier else None


def check_fits(result: Result, movingNode: Any) -> None:
    """Raises `InputError` where the moving volume is not as it was when it was registered with this very result.

    Asked are the transforms that the scene has of the result; without one, nothing is known of the volume.
    """
    scene, code = movingNode.GetScene(), result_code(result)
    for node in nodes_of_class(scene, "vtkMRMLGridTransformNode"):
        watched = watched_by(node) if node.GetAttribute(CODE_ATTRIBUTE) == code else None
        if watched is not None and node.GetNodeReference(node.GetMovingNodeReferenceRole()) is movingNode:
            check_as_registered(movingNode, watched)


def result_code(result: Result) -> str:
    """A few characters that tell one result from another."""
    return _crc(sitk.GetArrayViewFromImage(result.field), result.field.GetSize())


def _place(node: Any, before_registration: bool) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return parent_to_world(node, before_registration) @ matrix_from_vtk(matrix)


def _code(data: Any) -> str:
    return _crc(vtk_to_numpy(data.GetPointData().GetScalars()), data.GetDimensions())


def _crc(values: np.ndarray, size: tuple[int, ...]) -> str:
    values = values.ravel()
    step = max(1, values.size // _SAMPLES) | 1  # odd: no column of a volume is left out
    return f"{crc32(values[::step].tobytes(), crc32(repr((values.dtype.str, size)).encode())):08x}"
