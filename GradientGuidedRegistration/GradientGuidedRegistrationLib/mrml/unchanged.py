"""Whether volumes are still those that were registered: voxels and place of each in a few characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
import SimpleITK as sitk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import InputError
from ..registration.result import Result
from .geometry import ijk_to_world
from .scene_nodes import nodes_of_class

_SAMPLES = 1 << 18
_TOLERANCE = 1e-4  # of a matrix in mm: hardening a linear transform changes the last digits only


REGISTERED_ATTRIBUTES = ("GradientGuidedRegistration.RegisteredFixed", "GradientGuidedRegistration.RegisteredMoving")
"""Of the transform of a result: the `input_fingerprints` of the two volumes for which it was made."""

CODE_ATTRIBUTE = "GradientGuidedRegistration.ResultCode"
"""Of the transform of a result: the `result_code` of that result."""

RECORD_ATTRIBUTE = "GradientGuidedRegistration.ResultRecord"
"""Of the transform of a result: its `storage.record`, with which the result can be looked at in an opened scene."""

ERROR_ATTRIBUTE = "GradientGuidedRegistration.ExpectedError"
"""Of the transform of a result: its map of the expected error, `packed`."""


def fingerprint(node: Any, *, before_registration: bool = False) -> str:
    """Voxels (type, size and an even sample) and IJK-to-RAS matrix in the world (mm) of a volume node, as text.

    Args:
        node: scalar volume node with voxels.
        before_registration: leave out the result of an earlier registration that the node is under.

    Raises:
        InputError: a non-linear or singular transform above the node.
    """
    place, is_turned = _place(node, before_registration)
    return " ".join([_code(node.GetImageData(), is_turned), *(repr(float(value)) for value in place.ravel())])


def input_fingerprints(fixedNode: Any, movingNode: Any) -> tuple[str, str]:
    """What `PairWatch` needs to notice that one of the volumes of a registration has changed since it began.

    The moving volume counts where it was before an earlier registration.

    Raises:
        InputError: a node that cannot be registered.
    """
    return fingerprint(fixedNode), fingerprint(movingNode, before_registration=True)


class PairWatch:
    """The two volumes of a registration, which are to be as they were.

    Args:
        earlier: their `input_fingerprints`; None for one of which nothing is known.
    """

    def __init__(self, earlier: Sequence[str | None]) -> None:
        self._sides = [
            _Watched(one, before_registration=bool(side)) if one else None for side, one in enumerate(earlier)
        ]

    @classmethod
    def of(cls, transformNode: Any) -> PairWatch:
        """The volumes as the transform of a result remembers them."""
        return cls([transformNode.GetAttribute(name) for name in REGISTERED_ATTRIBUTES])

    def changed(self, fixedNode: Any, movingNode: Any) -> Any:
        """The first of the two that has other voxels or another place now; None, as for one that is gone, if none."""
        for watched, node in zip(self._sides, (fixedNode, movingNode)):
            if watched is not None and node is not None and watched.has_changed(node):
                return node
        return None

    def check(self, fixedNode: Any, movingNode: Any) -> None:
        """Raises `InputError` where one of the two is not any more as it was when it was registered."""
        changed = self.changed(fixedNode, movingNode)
        if changed is not None:
            raise InputError(
                f"The volume '{changed.GetName()}' was changed or moved since it was registered, for example by "
                "«Apply» or «Harden transform»: this result does not fit it. Undo that, or register again."
            )


class _Watched:
    """One volume; its voxels are read again only after they were modified."""

    def __init__(self, earlier: str, *, before_registration: bool) -> None:
        self._code, *place = earlier.split()
        self._place = np.array(place, float).reshape(4, 4)
        self._before_registration = before_registration
        self._seen: tuple[int, str] = (-1, "")

    def has_changed(self, node: Any) -> bool:
        data = node.GetImageData()
        if data is None:
            return True
        try:
            place, is_turned = _place(node, self._before_registration)
        except InputError:
            return True
        if self._seen[0] != data.GetMTime():  # no two objects of VTK share one
            self._seen = (data.GetMTime(), _code(data, is_turned))
        return bool(np.abs(place - self._place).max() > _TOLERANCE) or self._seen[1] != self._code


def registered_pair(transformNode: Any) -> tuple[Any, Any]:
    """The fixed and the moving volume node of a result's transform; None for what is not there any more."""
    roles = (transformNode.GetFixedNodeReferenceRole(), transformNode.GetMovingNodeReferenceRole())
    fixedNode, movingNode = (transformNode.GetNodeReference(role) for role in roles)
    return fixedNode, movingNode


def check_fits(result: Result, fixedNode: Any, movingNode: Any) -> None:
    """Raises `InputError` where one of the volumes is not as it was when they were registered with this very result.

    Asked are the transforms that the scene has of the result; without one, nothing is known of the volumes.
    """
    scene, code = movingNode.GetScene(), result_code(result)
    for node in nodes_of_class(scene, "vtkMRMLGridTransformNode"):
        if node.GetAttribute(CODE_ATTRIBUTE) == code and registered_pair(node) == (fixedNode, movingNode):
            PairWatch.of(node).check(fixedNode, movingNode)


def result_code(result: Result) -> str:
    """A few characters that tell one result from another."""
    return _crc(sitk.GetArrayViewFromImage(result.field) + np.float32(0), result.field.GetSize())  # makes -0 to 0


def _place(node: Any, before_registration: bool) -> tuple[np.ndarray, bool]:
    """The (4, 4) IJK-to-RAS matrix in the world, and whether that is of the voxels with their slices in reverse.

    That is how Slicer reads a left-handed volume, which is thus the same before and after it was saved and opened.
    """
    place = ijk_to_world(node, before_registration)
    is_turned = bool(np.linalg.det(place[:3, :3]) < 0)
    if is_turned:
        place[:, 3] += (node.GetImageData().GetDimensions()[2] - 1) * place[:, 2]
        place[:, 2] *= -1
    return place, is_turned


def _code(data: Any, is_turned: bool) -> str:
    values = vtk_to_numpy(data.GetPointData().GetScalars())
    if is_turned:
        values = values.reshape(data.GetDimensions()[2], -1)[::-1]
    return _crc(values, data.GetDimensions())


def _crc(values: np.ndarray, size: tuple[int, ...]) -> str:
    values = values.ravel()
    step = max(1, values.size // _SAMPLES) | 1  # odd: no column of a volume is left out
    return f"{crc32(values[::step].tobytes(), crc32(repr((values.dtype.str, size)).encode())):08x}"
