"""The scene gains everything or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from GradientGuidedRegistrationLib.errors import Cancelled
from GradientGuidedRegistrationLib.mrml import all_or_nothing, transform_node_from_field, volume_node_from_image
from GradientGuidedRegistrationLib.mrml.transaction import remove_node


def node_ids(scene: Any) -> list[str]:
    return [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]


@pytest.mark.parametrize("error", [RuntimeError, Cancelled, KeyboardInterrupt])
def test_an_error_takes_out_what_was_added(
    scene: Any, geometries: Any, new_image: Any, error: type[BaseException]
) -> None:
    volume_node_from_image(new_image(geometries["lps"]), "before", scene)
    before = node_ids(scene)
    with pytest.raises(error), all_or_nothing(scene):
        volume_node_from_image(new_image(geometries["lps"]), "after", scene)
        scene.AddNewNodeByClass("vtkMRMLSegmentationNode").CreateDefaultDisplayNodes()
        assert len(node_ids(scene)) > len(before)
        raise error("stop")
    assert node_ids(scene) == before


def test_a_transform_goes_with_the_colours_of_its_arrows(scene: Any, geometries: Any, new_field: Any) -> None:
    before = node_ids(scene)
    node = transform_node_from_field(new_field(geometries["lps"]), "deformation", scene)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetDefaultColors()  # as the slice views do
    assert any(name.startswith("vtkMRMLProceduralColorNode") for name in set(node_ids(scene)) - set(before))
    remove_node(node, scene)
    assert node_ids(scene) == before


def test_without_an_error_everything_stays(scene: Any, geometries: Any, new_image: Any) -> None:
    with all_or_nothing(scene):
        node = volume_node_from_image(new_image(geometries["lps"]), "MR", scene)
    assert scene.IsNodePresent(node)
    assert scene.IsNodePresent(node.GetDisplayNode())
