"""Loads a generated CT-MR pair that the background process left in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer

from .images import volume_node_from_image
from .transaction import all_or_nothing, remove_node


def load_phantom(folder: str | Path, scene: Any) -> dict[str, Any]:
    """Nodes of the pair: "fixed" and "moving" volumes, "fixed_labels" and "moving_labels" segmentations.

    Args:
        folder: with fixed.mha, moving.mha, fixed_labels.mha, moving_labels.mha and names.json (name by label value).
    """
    folder = Path(folder)
    names = {int(value): name for value, name in json.loads((folder / "names.json").read_text("utf-8")).items()}
    titles = {"fixed": "Phantom MR", "moving": "Phantom CT"}
    with all_or_nothing(scene):
        nodes = {
            role: volume_node_from_image(sitk.ReadImage(str(folder / f"{role}.mha")), title, scene)
            for role, title in titles.items()
        }
        for role, title in titles.items():
            image = sitk.ReadImage(str(folder / f"{role}_labels.mha"))
            nodes[f"{role}_labels"] = _segmentation(image, f"{title} organs", names, scene)
    return nodes


def _segmentation(image: sitk.Image, title: str, names: dict[int, str], scene: Any) -> Any:
    labels = volume_node_from_image(image, f"{title} labels", scene, labels=True)
    node = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
    node.UnRegister(None)
    node.SetName(scene.GenerateUniqueName(title))
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetVisibility(False)  # so that the images are seen
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labels, node)
    remove_node(labels, scene)
    segmentation = node.GetSegmentation()
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        segment.SetName(names.get(segment.GetLabelValue(), segment.GetName()))
    return node
