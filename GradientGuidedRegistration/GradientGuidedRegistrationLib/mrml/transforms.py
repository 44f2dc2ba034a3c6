"""Displacement fields to Slicer's transform nodes, and transform nodes to SimpleITK."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..errors import InputError
from .geometry import (
    LPS_RAS,
    RESULT_ATTRIBUTE,
    chain_above,
    ijk_to_ras,
    image_from_vtk,
    is_singular,
    matrix_from_vtk,
    matrix_to_vtk,
    set_geometry,
)
from .transaction import all_or_nothing


def transform_node_from_field(
    field: sitk.Image, name: str, scene: Any, fixedNode: Any = None, movingNode: Any = None
) -> Any:
    """A new grid transform node that brings the moving node onto the fixed one when the moving node is put under it.

    Args:
        field: 3-component image, LPS mm, fixed to moving: what `SimpleITK.Resample(moving, fixed, ...)` takes. Stored
            as the node's transform **from parent**, which is that same direction. Zero margin expected: outside the
            grid VTK continues the border vector.
        name: wanted name; made unique in the scene.
        fixedNode, movingNode: remembered as the references `spatialRegistrationFixed` and `spatialRegistrationMoving`.

    Raises:
        InputError: not a 3-D image of three components.
    """
    if field.GetDimension() != 3 or field.GetNumberOfComponentsPerPixel() != 3:
        raise InputError("A displacement field is a 3-D image with three components a voxel.")
    with all_or_nothing(scene):
        node = scene.CreateNodeByClass("vtkMRMLGridTransformNode")
        node.UnRegister(None)
        node.SetName(scene.GenerateUniqueName(name))
        node.SetAttribute(RESULT_ATTRIBUTE, "1")
        node.SetAndObserveTransformFromParent(grid_transform(field))
        scene.AddNode(node)
        roles = {node.GetFixedNodeReferenceRole(): fixedNode, node.GetMovingNodeReferenceRole(): movingNode}
        for role, other in roles.items():
            if other is not None:
                node.SetNodeReferenceID(role, other.GetID())
    return node


def grid_transform(field: sitk.Image) -> Any:
    """`vtkOrientedGridTransform` in RAS mm of a displacement field in LPS mm, on the same points."""
    vectors = sitk.GetArrayFromImage(field).reshape(-1, 3) * np.array([-1, -1, 1], dtype=np.float32)
    scalars = numpy_to_vtk(np.ascontiguousarray(vectors, dtype=np.float32), deep=True)
    matrix = ijk_to_ras(field)
    direction = np.eye(4)
    direction[:3, :3] = matrix[:3, :3] / np.asarray(field.GetSpacing())
    grid = vtk.vtkImageData()
    grid.SetDimensions(field.GetSize())
    grid.SetSpacing(field.GetSpacing())
    grid.SetOrigin(matrix[:3, 3])
    grid.GetPointData().SetScalars(scalars)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    transform.SetGridDirectionMatrix(matrix_to_vtk(direction))
    transform.SetInterpolationModeToLinear()
    return transform


def holds_field(node: Any) -> bool:
    """Whether a transform node holds a field as `transform_node_from_field` puts it, and was not inverted since."""
    return _own_grid(node) is not None


def field_from_node(node: Any) -> sitk.Image | None:
    """The field (LPS mm, fixed to moving, float32) of a node that holds one as `transform_node_from_field` puts it.

    None for a transform of another kind, such as one that was inverted or has another hardened onto it.
    """
    transform = _own_grid(node)
    if transform is None:
        return None
    data = transform.GetDisplacementGrid()
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_vtk(transform.GetGridDirectionMatrix())[:3, :3] * data.GetSpacing()
    matrix[:3, 3] = data.GetOrigin()
    field = image_from_vtk(data, matrix)
    flipped = sitk.GetArrayViewFromImage(field) * np.array([-1, -1, 1])
    lps = sitk.GetImageFromArray(flipped.astype(np.float32), isVector=True)
    lps.CopyInformation(field)
    return lps


def _own_grid(node: Any) -> Any:
    """The grid transform, with its grid, that a node is from its parent; None for a node of another kind."""
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True)
    return transform if transform is not None and transform.GetDisplacementGrid() is not None else None


def transform_from_node(node: Any, reference: sitk.Image | None = None, movingNode: Any = None) -> sitk.Transform:
    """The resampling transform of a transform node, for example a hand-made start for the registration.

    Args:
        node: any `vtkMRMLTransformNode`, with its parents, set up in Slicer's way: it brings the moving volume onto the
            fixed one when the moving volume is put under it.
        reference: LPS grid on which a non-linear transform is sampled; needed for those only.
        movingNode: the moving volume, taken where it was before an earlier registration. What it is under already is
            not done a second time: under `node` itself it needs nothing more, and under a parent that both share it
            moves as if `node` were put between the two.

    Returns:
        LPS mm, fixed to moving: an `AffineTransform` for a linear node, else a `DisplacementFieldTransform`.

    Raises:
        InputError: not a transform node, a singular one, or a non-linear one without `reference`.
    """
    if node is None or not node.IsA("vtkMRMLTransformNode"):
        raise InputError("A transform node is needed.")
    chain = [node, *chain_above(node)[0]]
    for one in chain:
        if one.IsLinear() and is_singular(matrix_between(one, one.GetParentTransformNode())):
            raise InputError(
                f"The transform '{one.GetName()}' is singular: it has no inverse. Reset or choose another."
            )
    above, end = chain_above(movingNode, before_registration=True) if movingNode is not None else ([], None)
    shared: Any = next((one for one in chain if one in above), None)
    if shared is None:
        shared = end = end if end in chain[1:] else None
    path = ((end, shared), (shared, node), (shared, end))
    if node.IsTransformToNodeLinear(shared) and (shared is end or shared.IsTransformToNodeLinear(end)):
        world_to_node, node_to_place, back = (matrix_between(*ends) for ends in path)
        lps = LPS_RAS @ back @ node_to_place @ world_to_node @ LPS_RAS
        affine = sitk.AffineTransform(3)
        affine.SetMatrix(lps[:3, :3].ravel().tolist())
        affine.SetTranslation(lps[:3, 3].tolist())
        return affine
    if reference is None:
        raise InputError(f"The transform '{node.GetName()}' is not linear; a linear one is needed here.")
    general = vtk.vtkGeneralTransform()
    general.PostMultiply()
    for ends in path:
        general.Concatenate(_between(*ends))
    return sitk.DisplacementFieldTransform(_sampled_field(general, reference))


def _between(source: Any, target: Any) -> Any:
    """`vtkGeneralTransform` in RAS mm from the coordinates in one transform node to those in another; None: world."""
    general = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, general)
    return general


def matrix_between(source: Any, target: Any) -> np.ndarray:
    """(4, 4) RAS matrix from the coordinates in one linear transform node to those in another; None: the world."""
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(source, target, matrix)
    return matrix_from_vtk(matrix)


def _sampled_field(transform: Any, reference: sitk.Image) -> sitk.Image:
    """3-component float64 image, LPS mm, of a VTK transform (RAS mm) at the points of `reference`."""
    indices = np.indices(reference.GetSize()[::-1]).reshape(3, -1)[::-1]
    matrix = ijk_to_ras(reference)
    points = (matrix[:3, :3] @ indices + matrix[:3, 3:]).T
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    source.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    target.SetDataTypeToDouble()
    transform.TransformPoints(source, target)
    moved = vtk_to_numpy(target.GetData())
    vectors = (moved - points) * [-1.0, -1.0, 1.0]
    field = sitk.GetImageFromArray(vectors.reshape(*reference.GetSize()[::-1], 3), isVector=True)
    set_geometry(field, matrix)
    return field
