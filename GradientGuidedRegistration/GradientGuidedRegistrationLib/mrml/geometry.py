"""Voxel arrays with geometry: VTK image data with an IJK-to-RAS matrix here, SimpleITK images in LPS mm there."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..errors import InputError
from ..registration.grid import Grid

LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns RAS into LPS coordinates and back."""

_SHEAR_TOLERANCE = 1e-4  # cosine between two axes; NIfTI and DICOM round directions to about 1e-6


def matrix_from_vtk(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """(4, 4) array of a VTK matrix."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrix_to_vtk(array: np.ndarray) -> vtk.vtkMatrix4x4:
    """VTK matrix of a (4, 4) array."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=float).ravel())
    return matrix


RESULT_ATTRIBUTE = "GradientGuidedRegistration.Result"
"""Marks the transform nodes that a registration of this extension made."""


STOOD_IN_FOR = "gradientGuidedRegistrationStoodInFor"
"""Reference of a transform node that `outputs` made to hold a node's place under a result: the parent it stands for."""


def result_above(node: Any) -> Any:
    """The nearest transform above a node that is the result of a registration, or None."""
    parent = node.GetParentTransformNode()
    while parent is not None and parent.GetAttribute(RESULT_ATTRIBUTE) is None:
        parent = parent.GetParentTransformNode()
    return parent


def chain_above(node: Any, before_registration: bool = False) -> tuple[list[Any], Any]:
    """The transforms above a node, the nearest first, and the node in whose coordinates they end (None: the world).

    With `before_registration` they end below the result of an earlier registration: without it and what is above it,
    the node is where it was before it was registered. Instead of a transform that stands in for them, the node's own
    parents are given then.
    """
    end, parent = None, node.GetParentTransformNode()
    if before_registration and parent is not None:
        parent = parent.GetNodeReference(STOOD_IN_FOR) or parent
        end = parent if parent.GetAttribute(RESULT_ATTRIBUTE) is not None else result_above(parent)
    chain = []
    while parent is not None and parent is not end:
        chain.append(parent)
        parent = parent.GetParentTransformNode()
    return chain, end


def parent_to_world(node: Any, before_registration: bool = False) -> np.ndarray:
    """(4, 4) RAS matrix of the transforms above a node. Non-linear and singular ones are refused with an `InputError`.

    With `before_registration`, transforms count only up to the result of an earlier registration: that is where the
    node was before it was registered.
    """
    chain, end = chain_above(node, before_registration)
    if not chain:
        return np.eye(4)
    parent = chain[0]
    if not parent.IsTransformToNodeLinear(end):
        way = "Take it out of it, or harden that transform (Data module, right-click), and try again."
        if any(one.GetAttribute(RESULT_ATTRIBUTE) for one in chain):
            way = "That is the result of a registration: take it out (untick «Show the moving volume registered»)."
        raise InputError(f"'{node.GetName()}' is under the non-linear transform '{parent.GetName()}'. {way}")
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToNode(end, matrix)
    world = matrix_from_vtk(matrix)
    if is_singular(world):
        raise InputError(f"The transform '{parent.GetName()}' above '{node.GetName()}' is singular: it has no inverse.")
    return world


def ijk_to_world(node: Any, before_registration: bool = False) -> np.ndarray:
    """(4, 4) matrix from the voxel indices of a volume node to RAS mm in the world; errors as `parent_to_world`."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return parent_to_world(node, before_registration) @ matrix_from_vtk(matrix)


def is_singular(matrix: np.ndarray) -> bool:
    """Whether a (4, 4) matrix brings some distance to nothing, so that nothing brings it back."""
    return bool(abs(np.linalg.det(matrix[:3, :3])) < 1e-9)


def ijk_to_ras(image: sitk.Image) -> np.ndarray:
    """(4, 4) matrix from voxel indices (i, j, k) of an LPS image to RAS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return LPS_RAS @ matrix


def vtk_ijk_to_ras(image: sitk.Image) -> vtk.vtkMatrix4x4:
    """`ijk_to_ras` as the VTK matrix that nodes and oriented image data take."""
    return matrix_to_vtk(ijk_to_ras(image))


def grid_from_matrix(matrix: np.ndarray, size: tuple[int, int, int]) -> Grid:
    """The grid, LPS mm, of so many voxels (i, j, k) with a (4, 4) IJK-to-RAS matrix."""
    lps = LPS_RAS @ matrix
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    return Grid(size, tuple(spacing.tolist()), tuple(lps[:3, 3].tolist()), tuple(direction.ravel().tolist()))


def set_geometry(image: sitk.Image, matrix: np.ndarray) -> None:
    """Give an image the geometry of a (4, 4) IJK-to-RAS matrix, in LPS mm."""
    grid = grid_from_matrix(matrix, image.GetSize())
    image.SetSpacing(grid.spacing)
    image.SetDirection(grid.direction)
    image.SetOrigin(grid.origin)


def image_from_vtk(data: vtk.vtkImageData, matrix: np.ndarray) -> sitk.Image:
    """Copy VTK image data into a SimpleITK image.

    Args:
        data: scalars with one or more components; its extent may start anywhere.
        matrix: (4, 4) from indices (i, j, k) of the extent to RAS mm.
    """
    scalars = data.GetPointData().GetScalars()
    shape = tuple(reversed(data.GetDimensions()))
    array = vtk_to_numpy(scalars)
    vector = scalars.GetNumberOfComponents() > 1
    image = sitk.GetImageFromArray(array.reshape(shape + ((-1,) if vector else ())), isVector=vector)
    first = np.eye(4)
    first[:3, 3] = data.GetExtent()[::2]
    set_geometry(image, matrix @ first)
    return image


def vtk_from_image(image: sitk.Image, data: vtk.vtkImageData | None = None) -> vtk.vtkImageData:
    """Copy a SimpleITK image into VTK image data in index coordinates (origin 0, spacing 1); see `ijk_to_ras`.

    64-bit integers, which MRML's volumes refuse, become 32-bit where the values allow it and doubles where they do not.
    """
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype in (np.int64, np.uint64):
        limits = np.iinfo(np.int32)
        fits = array.size == 0 or (array.min() >= limits.min and array.max() <= limits.max)
        array = array.astype(np.int32 if fits else np.float64)
    components = image.GetNumberOfComponentsPerPixel()
    scalars = numpy_to_vtk(np.ascontiguousarray(array).reshape(-1, components), deep=True)
    scalars.SetName("ImageScalars")
    data = vtk.vtkImageData() if data is None else data
    data.SetDimensions(image.GetSize())
    data.GetPointData().SetScalars(scalars)
    return data


def orthonormal(image: sitk.Image, interpolator: int, default: float = 0.0) -> sitk.Image:
    """The image itself, or, where a parent transform or a tilted gantry sheared its axes, the image resampled onto the
    nearest grid with perpendicular axes that covers all of it."""
    direction = np.reshape(image.GetDirection(), (3, 3))
    if np.abs(direction.T @ direction - np.eye(3)).max() <= _SHEAR_TOLERANCE:
        return image
    left, _, right = np.linalg.svd(direction)
    axes = left @ right
    size = np.asarray(image.GetSize())
    corners = [
        image.TransformContinuousIndexToPhysicalPoint([c * (n - 1.0) for c, n in zip(corner, size)])
        for corner in np.ndindex(2, 2, 2)
    ]
    local = np.asarray(corners) @ axes
    spacing = np.asarray(image.GetSpacing())
    low, high = local.min(axis=0), local.max(axis=0)
    new_size = [int(n) for n in np.ceil((high - low) / spacing - 1e-6) + 1]
    return sitk.Resample(
        image,
        new_size,
        sitk.Transform(3, sitk.sitkIdentity),
        interpolator,
        (axes @ low).tolist(),
        spacing.tolist(),
        axes.ravel().tolist(),
        default,
        image.GetPixelID(),
    )
