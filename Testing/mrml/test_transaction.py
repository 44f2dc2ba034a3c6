"""The scene gains everything or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from GradientGuidedRegistrationLib.errors import Cancelled
from GradientGuidedRegistrationLib.mrml import all_or_nothing, volume_node_from_image


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


def test_without_an_error_everything_stays(scene: Any, geometries: Any, new_image: Any) -> None:
    with all_or_nothing(scene):
        node = volume_node_from_image(new_image(geometries["lps"]), "MR", scene)
    assert scene.IsNodePresent(node)
    assert scene.IsNodePresent(node.GetDisplayNode())
