"""Volume nodes to SimpleITK images and back."""

from __future__ import annotations

from typing import Any

import SimpleITK as sitk

from ..errors import InputError
from ..registration.files import check_volume
from ..registration.grid import Grid
from .geometry import grid_from_matrix, ijk_to_world, image_from_vtk, orthonormal, vtk_from_image, vtk_ijk_to_ras
from .transaction import all_or_nothing


def image_from_node(node: Any, *, before_registration: bool = False) -> sitk.Image:
    """The voxels of a scalar volume or label map node, where they are in the world.

    Args:
        node: `vtkMRMLScalarVolumeNode` or `vtkMRMLLabelMapVolumeNode`. Linear parent transforms are applied to the
            geometry; if they shear it, the voxels are resampled onto perpendicular axes.
        before_registration: leave out the result of an earlier registration that the node is under.

    Returns:
        A copy, in LPS mm, with the node's own pixel type.

    Raises:
        InputError: no node, no voxels, more than one component, NaN or infinite voxels, a non-linear parent transform.
    """
    if node is None:
        raise InputError("No volume is selected.")
    name = node.GetName()
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"'{name}' is a {node.GetNodeTagName()}; a scalar volume is needed.")
    data = node.GetImageData()
    if data is None or data.GetPointData().GetScalars() is None or data.GetNumberOfPoints() == 0:
        raise InputError(f"The volume '{name}' has no voxels. Load it again, or choose another.")
    if data.GetNumberOfScalarComponents() != 1:
        raise InputError(
            f"The volume '{name}' has {data.GetNumberOfScalarComponents()} components a voxel; convert it "
            "to one (Vector to Scalar Volume module) and try again."
        )
    image = image_from_vtk(data, ijk_to_world(node, before_registration))
    check_volume(image, f"volume '{name}'")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return orthonormal(image, sitk.sitkNearestNeighbor)
    return orthonormal(image, sitk.sitkLinear, default=float(data.GetScalarRange()[0]))


def grid_from_node(node: Any) -> Grid:
    """The voxel centres of a volume node in the world, under its linear parents: `Grid.of` its image, without a copy.

    Raises:
        InputError: a non-linear or singular parent transform.
    """
    return grid_from_matrix(ijk_to_world(node), node.GetImageData().GetDimensions())


def volume_node_from_image(
    image: sitk.Image,
    name: str,
    scene: Any,
    *,
    labels: bool = False,
    display_like: Any = None,
    window: tuple[float, float] | None = None,
) -> Any:
    """A new volume node with the voxels and the geometry of a 3-D scalar image.

    Args:
        image: LPS mm. 64-bit integers are narrowed, since MRML refuses them.
        name: wanted name; made unique in the scene.
        labels: make a `vtkMRMLLabelMapVolumeNode`.
        display_like: a volume node whose colour map, window and level the new node gets.
        window: values shown black and white; looked for in the voxels if None, which takes a while.
    """
    class_name = "vtkMRMLLabelMapVolumeNode" if labels else "vtkMRMLScalarVolumeNode"
    with all_or_nothing(scene):
        node = scene.CreateNodeByClass(class_name)
        node.UnRegister(None)
        node.SetName(scene.GenerateUniqueName(name))
        node.SetAndObserveImageData(vtk_from_image(image))
        node.SetIJKToRASMatrix(vtk_ijk_to_ras(image))
        scene.AddNode(node)
        if window is not None:
            display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
            display.SetAutoWindowLevel(False)
            display.SetWindowLevelMinMax(*window)
            node.SetAndObserveDisplayNodeID(display.GetID())
        node.CreateDefaultDisplayNodes()
        source = display_like.GetDisplayNode() if display_like is not None else None
        if source is not None and source.GetClassName() == node.GetDisplayNode().GetClassName():
            _copy_display(source, node.GetDisplayNode(), labels)
    return node


def _copy_display(source: Any, target: Any, labels: bool) -> None:
    target.SetAndObserveColorNodeID(source.GetColorNodeID())
    if not labels:
        target.SetAutoWindowLevel(False)
        target.SetWindowLevel(source.GetWindow(), source.GetLevel())
