"""Grey pictures from Slicer's own slice pipeline, for the figures of a report.

`vtkMRMLSliceLogic` reslices a volume node through its transform nodes and its window as the slice views of the
application do, without a window or a graphics driver. Contours, outlines, letters and legends are drawn over it by the
renderer that asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from .geometry import LPS_RAS
from .images import volume_node_from_image
from .transforms import transform_node_from_field

_NAME = "Report"


class SlicePipeline:
    """A slice view without a window, in a scene of its own: the user's scene is not touched."""

    def __init__(self) -> None:
        self._scene = slicer.vtkMRMLScene()
        self._colours = slicer.vtkMRMLColorTableNode()
        self._colours.SetTypeToGrey()
        self._scene.AddNode(self._colours)
        self._slice = slicer.vtkMRMLSliceNode()
        self._slice.SetLayoutName(_NAME)
        self._scene.AddNode(self._slice)
        self._composite = slicer.vtkMRMLSliceCompositeNode()
        self._composite.SetLayoutName(_NAME)
        self._scene.AddNode(self._composite)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLScene(self._scene)
        self._logic.SetSliceNode(self._slice)
        self._logic.SetSliceCompositeNode(self._composite)
        self._nodes: dict[tuple[int, ...], tuple[Any, Any]] = {}
        self._transforms: dict[int, tuple[Any, Any]] = {}

    def grey(self, volume: Any, view: Any) -> np.ndarray:
        """A slice through a volume's window, float32 (height, width) in [0, 255]; 0 outside the image.

        Args:
            volume: image (LPS), transform (None or a `SimpleITK.DisplacementFieldTransform`), `nearest` and `window`,
                as `figures.volumes.Volume`.
            view: plane and pixels, as `figures.views.SliceView`.
        """
        node = self._node(volume)
        self._composite.SetBackgroundVolumeID(node.GetID())
        width, height = view.size
        self._place(view, width, height)
        self._logic.UpdatePipeline()
        connection = self._logic.GetImageDataConnection()
        producer = connection.GetProducer()
        producer.Update()
        data = producer.GetOutputDataObject(connection.GetIndex())
        pixels = vtk_to_numpy(data.GetPointData().GetScalars()).reshape(height, width, -1)
        # the first row of VTK's pictures is at the bottom; alpha 0 is outside the volume
        picture = np.where(pixels[::-1, :, 3] > 0, pixels[::-1, :, 0], 0).astype(np.float32)
        return picture

    def _place(self, view: Any, width: int, height: int) -> None:
        right, down = np.array(view.axes.right, float), np.array(view.axes.down, float)
        matrix = self._slice.GetSliceToRAS()
        # the node's y axis points up, its z axis towards the viewer of a right-handed triple
        # and its first pixel lies on the corner of the field of view, not half a pixel inside
        centre = np.array(view.centre) + (right - down) * view.pixel_mm / 2
        columns = np.stack([right, -down, np.cross(right, -down), centre], axis=1)
        columns = LPS_RAS[:3, :3] @ columns
        for row in range(3):
            for column in range(4):
                matrix.SetElement(row, column, columns[row, column])
        self._slice.SetDimensions(width, height, 1)
        self._slice.SetFieldOfView(width * view.pixel_mm, height * view.pixel_mm, 1.0)
        self._slice.SetXYZOrigin(0.0, 0.0, 0.0)
        self._slice.UpdateMatrices()

    def _node(self, volume: Any) -> Any:
        key = (id(volume.image), id(volume.transform), *volume.window)
        if key not in self._nodes:
            name = f"volume {len(self._nodes)}"
            node = volume_node_from_image(volume.image, name, self._scene, window=volume.window)
            display = node.GetDisplayNode()
            display.SetAndObserveColorNodeID(self._colours.GetID())
            display.SetInterpolate(not volume.nearest)
            if volume.transform is not None:
                node.SetAndObserveTransformNodeID(self._transform(volume.transform).GetID())
            self._nodes[key] = (node, volume)  # the volume is kept, so that its id stays its own
        return self._nodes[key][0]

    def _transform(self, transform: sitk.Transform) -> Any:
        if id(transform) not in self._transforms:
            field = sitk.DisplacementFieldTransform(transform).GetDisplacementField()
            node = transform_node_from_field(sitk.Cast(field, sitk.sitkVectorFloat32), "field", self._scene)
            self._transforms[id(transform)] = (node, transform)
        return self._transforms[id(transform)][0]


class PipelineVolume:
    """A volume of the figures whose grey pictures come from Slicer's slice pipeline."""

    def __init__(self, volume: Any, pipeline: SlicePipeline) -> None:
        self._volume, self._pipeline = volume, pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volume, name)

    def grey(self, view: Any) -> np.ndarray:
        """The slice through the window, float32 (height, width) in [0, 255]; 0 outside the image."""
        return np.where(self._volume.visible(view), self._pipeline.grey(self._volume, view), 0)


def through_slicer(paint: Callable[[Any, Mapping[str, Any]], np.ndarray]) -> Callable[..., np.ndarray]:
    """A renderer for `figures.write_report` and its like: grey pictures from Slicer's slice pipeline.

    Args:
        paint: paints a panel from volumes: `figures.render_panel`.
    """
    pipeline = SlicePipeline()

    def render(panel: Any, volumes: Mapping[str, Any]) -> np.ndarray:
        return paint(panel, {name: PipelineVolume(volume, pipeline) for name, volume in volumes.items()})

    return render
