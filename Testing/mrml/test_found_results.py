"""Results of a scene that was saved and opened: what is found again, and what is not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib import mrml
from GradientGuidedRegistrationLib.evaluation.overlap import same_grid
from GradientGuidedRegistrationLib.registration import storage
from GradientGuidedRegistrationLib.registration.result import Result
from GradientGuidedRegistrationLib.registration.settings import Settings

QUALITY = {"verdict": "check", "reasons": ['«5 mm»; 100 % of "it" <b> & so on'], "folding_percent": 0.25}


def same(first: sitk.Image, second: sitk.Image) -> bool:
    """The same voxels at the same points."""
    return same_grid(first, second, 1e-6) and np.array_equal(*map(sitk.GetArrayFromImage, (first, second)))


def error_map(field: sitk.Image) -> sitk.Image:
    """One that a text holds exactly."""
    return sitk.Cast(sitk.Round(sitk.VectorMagnitude(field) * 8), sitk.sitkFloat32) / 8


@pytest.fixture
def registered(scene: Any, geometry: Any, new_image: Any, new_field: Any) -> mrml.RegisteredNodes:
    """A result in a scene, in each of the geometries."""
    image = new_image(geometry)
    pair = [mrml.volume_node_from_image(image + one, name, scene) for one, name in enumerate(("MR", "CT"))]
    field, linear = new_field(geometry), sitk.Euler3DTransform()
    linear.SetRotation(0.1, -0.2, 1 / 3)
    linear.SetTranslation((1 / 7, -20.0, 3.0))
    settings = Settings(device="cpu", refine=7, weights=Path("my ü;weights.pt"), inverse=True)
    result = Result(
        field,
        linear,
        settings,
        inverse_field=new_field(geometry, -6.0),
        expected_error=error_map(field),
        quality=QUALITY,
        timings={"align": 1.5},
        versions={"torch": "2"},
    )
    return mrml.add_result(result, *pair, scene)


def test_a_field_comes_back_from_its_node(scene: Any, geometry: Any, new_field: Any, new_linear: Any) -> None:
    field = new_field(geometry)
    node = mrml.transform_node_from_field(field, "result", scene)
    assert same(mrml.field_from_node(node), field)
    node.Inverse()
    assert mrml.field_from_node(node) is None
    node.Inverse()
    assert same(mrml.field_from_node(node), field)
    node.SetAndObserveTransformNodeID(new_linear(np.diag([1.0, 1, 2, 1])).GetID())
    node.HardenTransform()
    assert mrml.field_from_node(node) is None


def test_a_result_is_found_in_a_scene_that_was_saved_and_opened(
    scene: Any, registered: mrml.RegisteredNodes, tmp_path: Path
) -> None:
    before, names = registered.result, [registered.transform.GetName(), registered.inverseTransform.GetName()]
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    scene.Clear(0)
    assert mrml.results_in(scene) == []
    shutil.unpack_archive(tmp_path / "scene.mrb", tmp_path, "zip")
    scene.SetURL(str(next(tmp_path.rglob("*.mrml"))))
    assert scene.Connect()
    (found,) = mrml.results_in(scene)
    assert [found.transform.GetName(), found.inverseTransform.GetName()] == names
    assert same(found.result.field, before.field)
    assert same(found.result.expected_error, before.expected_error)
    for name in ("settings", "quality", "timings", "versions"):
        assert getattr(found.result, name) == getattr(before, name), name
    point = (40.0, -50.0, 60.0)
    assert found.result.linear.TransformPoint(point) == pytest.approx(before.linear.TransformPoint(point), abs=1e-9)
    fixed, moving = mrml.registered_pair(found.transform)
    assert (fixed.GetName(), moving.GetName()) == ("MR", "CT")
    mrml.check_fits(found.result, fixed, moving)
    assert mrml.results_in(scene, [found.transform.GetID()]) == []
    storage.write_result(found.result, tmp_path / "for a report")
    assert same(storage.read_result(tmp_path / "for a report").field, before.field)


@pytest.mark.parametrize("geometry", ["left-handed"], indirect=True)
@pytest.mark.parametrize("how", ["volume gone", "other field", "damaged", "no map", "of another version", "hardened"])
def test_what_is_no_result_any_more_is_not_found(
    scene: Any, registered: mrml.RegisteredNodes, geometry: Any, new_field: Any, new_linear: Any, caplog: Any, how: str
) -> None:
    transform, attribute = registered.transform, "GradientGuidedRegistration.ResultRecord"
    text = transform.GetAttribute(attribute)
    assert mrml.results_in(scene)
    if how == "volume gone":
        scene.RemoveNode(mrml.registered_pair(transform)[1])
    elif how == "other field":
        other = mrml.transform_node_from_field(new_field(geometry, 5.0), "other", scene)
        transform.SetAndObserveTransformFromParent(other.GetTransformFromParent())
    elif how == "damaged":
        transform.SetAttribute(attribute, text[:-20])
    elif how == "no map":
        transform.SetAttribute("GradientGuidedRegistration.ExpectedError", text)
    elif how == "of another version":
        transform.SetAttribute(attribute, text.replace('"format": 1', '"format": 99'))
    else:
        transform.SetAndObserveTransformNodeID(new_linear(np.diag([1.0, 1, 2, 1])).GetID())
        transform.HardenTransform()
    assert mrml.results_in(scene) == []
    assert ("'CT to MR'" in caplog.text) == (how in ("damaged", "no map", "of another version"))


def test_a_chosen_transform_remembers_its_new_result(
    scene: Any, registered: mrml.RegisteredNodes, geometry: Any, new_field: Any
) -> None:
    fixed, moving = mrml.registered_pair(registered.transform)
    other = Result(new_field(geometry, 5.0), None, Settings(), quality={"verdict": "good"})
    mrml.add_result(other, fixed, moving, scene, transformNode=registered.transform)
    (found,) = mrml.results_in(scene)
    assert found.result.quality == {"verdict": "good"}
    assert found.inverseTransform is None and found.result.expected_error is None
