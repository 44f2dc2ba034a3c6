"""One field, three readers: the node, SimpleITK on the written file, and the scene on the written file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.mrml import (
    image_from_node,
    observe_transform,
    transform_from_node,
    transform_node_from_field,
    volume_node_from_image,
)
from GradientGuidedRegistrationLib.mrml.geometry import RESULT_ATTRIBUTE
from GradientGuidedRegistrationLib.registration.files import read_transform, write_transform

LPS = np.array([-1.0, -1.0, 1.0])
TOLERANCE_MM = 0.02


def from_parent(node: Any, points: np.ndarray) -> np.ndarray:
    """LPS points through a node's transform from its parent, by MRML's own functions."""
    transform = node.GetTransformFromParent()
    return np.asarray([transform.TransformPoint((point * LPS).tolist()) for point in points]) * LPS


def resampling(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    return np.asarray([transform.TransformPoint(point.tolist()) for point in points])


def largest(difference: np.ndarray) -> float:
    return float(np.linalg.norm(difference, axis=1).max())


def read_into_scene(scene: Any, path: Path) -> Any:
    """A transform node read by Slicer's own storage node."""
    storage = scene.AddNewNodeByClass("vtkMRMLTransformStorageNode")
    storage.SetFileName(str(path))
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    assert storage.ReadData(node)
    grid = node.GetTransformFromParent()
    general = vtk.vtkGeneralTransform.SafeDownCast(grid)
    concrete = general.GetConcatenatedTransform(0) if general is not None else grid
    oriented = slicer.vtkOrientedGridTransform.SafeDownCast(concrete)
    oriented.SetInterpolationModeToLinear()  # the reader chooses cubic
    return node


@pytest.mark.parametrize("suffix", [".h5", ".nrrd", ".nii.gz"])
def test_node_file_and_scene_agree(
    scene: Any, geometry: Any, new_field: Any, points_inside: Any, tmp_path: Path, suffix: str
) -> None:
    field = new_field(geometry)
    points = points_inside(field)
    expected = resampling(sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64)), points)
    assert largest(expected - points) > 2.0  # the field does something
    node = transform_node_from_field(field, "CT to MR", scene)
    path = tmp_path / f"transform{suffix}"
    write_transform(field, path)
    assert largest(from_parent(node, points) - expected) < TOLERANCE_MM
    assert largest(resampling(read_transform(path), points) - expected) < TOLERANCE_MM
    assert largest(from_parent(read_into_scene(scene, path), points) - expected) < TOLERANCE_MM


def test_node_written_by_slicer_reads_in_simpleitk(
    scene: Any, geometry: Any, new_field: Any, points_inside: Any, tmp_path: Path
) -> None:
    field = new_field(geometry)
    points = points_inside(field)
    node = transform_node_from_field(field, "CT to MR", scene)
    for name in ("saved.h5", "saved.nrrd"):
        storage = scene.AddNewNodeByClass("vtkMRMLTransformStorageNode")
        storage.SetFileName(str(tmp_path / name))
        assert storage.WriteData(node)
        read = resampling(read_transform(tmp_path / name), points)
        assert largest(read - from_parent(node, points)) < TOLERANCE_MM


def test_outside_the_grid_nothing_moves(scene: Any, geometry: Any, new_field: Any) -> None:
    """The zero margin makes VTK, which continues the border, agree with ITK, which stops."""
    field = new_field(geometry)
    node = transform_node_from_field(field, "CT to MR", scene)
    outside = np.asarray([field.TransformContinuousIndexToPhysicalPoint([i, 5.0, 5.0]) for i in (-20.0, 60.0)])
    assert largest(from_parent(node, outside) - outside) < 1e-6


def test_volume_under_the_node_is_where_simpleitk_resamples_it(
    scene: Any, geometries: Any, new_image: Any, new_field: Any
) -> None:
    """The direction, seen through the scene: a voxel of the moving node lands where `Resample` shows it."""
    geometry = geometries["oblique-anisotropic"]
    moving = new_image(geometry)
    field = new_field(geometry, amplitude=4.0)
    moving_node = volume_node_from_image(moving, "CT", scene)
    node = transform_node_from_field(field, "CT to MR", scene)
    observe_transform(moving_node, node)
    index = (15, 13, 4)
    world = [0.0, 0.0, 0.0]
    moving_node.TransformPointToWorld((np.asarray(moving.TransformIndexToPhysicalPoint(index)) * LPS).tolist(), world)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    back = transform.TransformPoint((np.asarray(world) * LPS).tolist())
    assert np.linalg.norm(np.asarray(back) - moving.TransformIndexToPhysicalPoint(index)) < TOLERANCE_MM
    assert np.linalg.norm(np.asarray(world) * LPS - moving.TransformIndexToPhysicalPoint(index)) > 1.0


def test_references_name_and_kind(scene: Any, geometries: Any, new_field: Any, new_image: Any) -> None:
    fixed = volume_node_from_image(new_image(geometries["lps"]), "MR", scene)
    moving = volume_node_from_image(new_image(geometries["ras"]), "CT", scene)
    node = transform_node_from_field(new_field(geometries["lps"]), "CT to MR", scene, fixed, moving)
    assert node.GetClassName() == "vtkMRMLGridTransformNode"
    assert node.GetNodeReference("spatialRegistrationFixed") is fixed
    assert node.GetNodeReference("spatialRegistrationMoving") is moving
    again = transform_node_from_field(new_field(geometries["lps"]), "CT to MR", scene)
    assert again.GetName() != node.GetName()


def test_wrong_field_leaves_the_scene_alone(scene: Any, geometries: Any, new_image: Any) -> None:
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="three components"):
        transform_node_from_field(new_image(geometries["lps"]), "x", scene)
    assert scene.GetNumberOfNodes() == before


def test_observing_keeps_the_parent_a_node_had(
    scene: Any, geometries: Any, new_image: Any, new_field: Any, new_linear: Any
) -> None:
    node = volume_node_from_image(new_image(geometries["lps"]), "CT", scene)
    shift = np.eye(4)
    shift[:3, 3] = [5, 0, 0]
    own = new_linear(shift)
    node.SetAndObserveTransformNodeID(own.GetID())
    transform = transform_node_from_field(new_field(geometries["lps"]), "CT to MR", scene)
    observe_transform(node, transform)
    observe_transform(node, transform)  # pressing twice is pressing once
    assert node.GetParentTransformNode() is own
    assert own.GetParentTransformNode() is transform
    assert transform.GetParentTransformNode() is None


def test_registering_again_replaces_the_earlier_result(
    scene: Any, geometries: Any, new_image: Any, new_field: Any, new_linear: Any
) -> None:
    """A registered volume is read where it was before, and the new transform takes the place of the old one."""
    image = new_image(geometries["oblique-anisotropic"])
    node = volume_node_from_image(image, "CT", scene)
    shift = np.eye(4)
    shift[:3, 3] = [5, 0, 0]
    own = new_linear(shift)
    node.SetAndObserveTransformNodeID(own.GetID())
    before = image_from_node(node)
    first, second = (transform_node_from_field(new_field(geometries["lps"]), "CT to MR", scene) for _ in range(2))
    observe_transform(node, first)
    with pytest.raises(InputError, match="non-linear"):
        image_from_node(node)
    again = image_from_node(node, before_registration=True)
    assert np.allclose(again.GetOrigin(), before.GetOrigin())
    assert not np.allclose(again.GetOrigin(), image.GetOrigin())
    observe_transform(node, second)
    assert own.GetParentTransformNode() is second
    assert first.GetParentTransformNode() is None


def test_linear_node_to_simpleitk(
    scene: Any, geometries: Any, new_image: Any, new_linear: Any, points_inside: Any
) -> None:
    """A node that puts the moving volume onto the fixed one resamples the moving image onto the fixed one."""
    matrix = np.eye(4)
    angle = np.radians(20)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = [10, -20, 30]
    node = new_linear(matrix, new_linear(np.diag([1.0, 1.1, 0.9, 1])))
    moving = volume_node_from_image(new_image(geometries["oblique-anisotropic"]), "CT", scene)
    local = image_from_node(moving)
    moving.SetAndObserveTransformNodeID(node.GetID())
    transform = transform_from_node(node)
    for point in points_inside(local, 20):
        world = [0.0, 0.0, 0.0]
        moving.TransformPointToWorld((point * LPS).tolist(), world)
        assert np.allclose(transform.TransformPoint((np.asarray(world) * LPS).tolist()), point, atol=1e-9)


def test_nonlinear_node_to_simpleitk(
    scene: Any, geometry: Any, new_field: Any, new_image: Any, points_inside: Any
) -> None:
    field = new_field(geometry)
    node = transform_node_from_field(field, "bend", scene)
    transform = transform_from_node(node, new_image(geometry))
    points = points_inside(field)
    assert largest(resampling(transform, points) - from_parent(node, points)) < TOLERANCE_MM
    with pytest.raises(InputError, match="'bend' is not linear"):
        transform_from_node(node)


@pytest.mark.parametrize("bent", [False, True])
def test_a_start_is_not_done_twice(
    scene: Any, geometries: Any, new_image: Any, new_field: Any, new_linear: Any, points_inside: Any, bent: bool
) -> None:
    """The start takes a volume to where it is when the initial transform is put right above it, if it is not yet."""
    turned = np.eye(4)
    turned[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    turned[:3, 3] = [4, 3, -2]
    shared = new_linear(turned)
    if bent:
        initial = transform_node_from_field(new_field(geometries["lps"]), "bend", scene)
        initial.SetAttribute(RESULT_ATTRIBUTE, None)
    else:
        shift = np.eye(4)
        shift[:3, 3] = [10, 0, 0]
        initial = new_linear(shift)
    image = new_image(geometries["lps"])
    moving = volume_node_from_image(image, "CT", scene)
    points = points_inside(image, 20)

    def start() -> np.ndarray:
        return resampling(transform_from_node(initial, image, moving), points)

    alone = start()
    assert largest(alone - from_parent(initial, points)) < TOLERANCE_MM  # they share nothing
    moving.SetAndObserveTransformNodeID(shared.GetID())
    initial.SetAndObserveTransformNodeID(shared.GetID())
    into = (
        np.asarray([shared.GetTransformFromParent().TransformPoint((point * LPS).tolist()) for point in points]) * LPS
    )
    moved = np.asarray([initial.GetTransformFromParent().TransformPoint((point * LPS).tolist()) for point in into])
    expected = np.asarray([shared.GetTransformToParent().TransformPoint(point.tolist()) for point in moved]) * LPS
    assert largest(start() - expected) < 5 * TOLERANCE_MM  # both under one parent: P·L·P⁻¹
    moving.SetAndObserveTransformNodeID(initial.GetID())
    assert largest(start() - points) < TOLERANCE_MM  # it is there already
    result = transform_node_from_field(new_field(geometries["lps"]), "CT to MR", scene)
    moving.SetAndObserveTransformNodeID(None)
    initial.SetAndObserveTransformNodeID(None)
    observe_transform(moving, result)
    assert largest(start() - alone) < TOLERANCE_MM  # an earlier result does not count


def test_a_singular_start_is_refused(scene: Any, new_linear: Any) -> None:
    """MRML would answer its inverse with the identity."""
    flat = new_linear(np.diag([1.0, 1.0, 0.0, 1.0]))
    flat.SetName("flat")
    for node in (flat, new_linear(np.eye(4), flat)):
        with pytest.raises(InputError, match="'flat' is singular"):
            transform_from_node(node)
