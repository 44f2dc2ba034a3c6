"""Slices through the patient: where they lie, how large a pixel is, and what is written at their sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Orientation:
    """Screen axes as unit vectors in LPS, and the letters at the left, right, top and bottom of the picture.

    Radiological convention: the patient's right is at the left of axial and coronal pictures, anterior is at the
    left of sagittal ones.
    """

    name: str
    right: Point
    down: Point
    letters: tuple[str, str, str, str]
    towards: tuple[str, str]  # letters of the negative and the positive side of the slicing axis
    axis: int  # the LPS axis that the slices are stacked along


ORIENTATIONS = {
    "axial": Orientation("axial", (1, 0, 0), (0, 1, 0), ("R", "L", "A", "P"), ("I", "S"), 2),
    "coronal": Orientation("coronal", (1, 0, 0), (0, 0, -1), ("R", "L", "S", "I"), ("A", "P"), 1),
    "sagittal": Orientation("sagittal", (0, 1, 0), (0, 0, -1), ("A", "P", "S", "I"), ("R", "L"), 0),
}


@dataclass(frozen=True)
class SliceView:
    """A rectangle of square pixels in a plane along the patient's axes.

    Attributes:
        orientation: "axial", "coronal" or "sagittal".
        centre: LPS point (mm) in the middle of the picture.
        size_mm: width and height.
        pixel_mm: side of a pixel.
    """

    orientation: str
    centre: Point
    size_mm: tuple[float, float]
    pixel_mm: float

    @property
    def axes(self) -> Orientation:
        """The screen axes of the orientation."""
        return ORIENTATIONS[self.orientation]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = (max(1, round(length / self.pixel_mm)) for length in self.size_mm)
        return width, height

    @property
    def position_text(self) -> str:
        """Such as "Axial, S 23.4 mm"."""
        value = self.centre[self.axes.axis]
        letter = self.axes.towards[value > 0]
        return f"{self.orientation.capitalize()}, {letter} {abs(value):.1f} mm"

    def at(self, centre: Point, size_mm: tuple[float, float] | None = None, pixel_mm: float | None = None) -> SliceView:
        """The same orientation elsewhere, around an LPS point; sizes that are None stay."""
        return replace(self, centre=centre, size_mm=size_mm or self.size_mm, pixel_mm=pixel_mm or self.pixel_mm)

    def reference(self) -> sitk.Image:
        """An empty 3-D image of one slice, whose voxels are the pixels: what `SimpleITK.Resample` takes."""
        width, height = self.size
        right, down = np.array(self.axes.right, float), np.array(self.axes.down, float)
        normal = np.cross(right, down)
        origin = np.array(self.centre) - ((width - 1) / 2 * right + (height - 1) / 2 * down) * self.pixel_mm
        image = sitk.Image([width, height, 1], sitk.sitkUInt8)
        image.SetSpacing((self.pixel_mm, self.pixel_mm, 1.0))
        image.SetOrigin(origin.tolist())
        image.SetDirection(np.stack([right, down, normal], axis=1).ravel().tolist())
        return image

    def points(self) -> np.ndarray:
        """LPS points (height, width, 3) of the pixels' centres."""
        width, height = self.size
        right, down = np.array(self.axes.right, float), np.array(self.axes.down, float)
        x = (np.arange(width) - (width - 1) / 2) * self.pixel_mm
        y = (np.arange(height) - (height - 1) / 2) * self.pixel_mm
        return np.array(self.centre) + x[None, :, None] * right + y[:, None, None] * down

    def pixel_of(self, point: Point) -> tuple[float, float]:
        """Column and row (continuous) of an LPS point, dropped onto the plane."""
        offset = np.subtract(point, self.centre) / self.pixel_mm
        width, height = self.size
        return float(offset @ self.axes.right + (width - 1) / 2), float(offset @ self.axes.down + (height - 1) / 2)


def as_point(values: Sequence[float] | np.ndarray) -> Point:
    """Three numbers of any kind as a plain tuple."""
    x, y, z = (float(value) for value in values)
    return x, y, z


def three_views(
    lower: Sequence[float] | np.ndarray,
    upper: Sequence[float] | np.ndarray,
    centre: Sequence[float] | np.ndarray,
    pixels: int = 340,
) -> list[SliceView]:
    """Axial, coronal and sagittal view of a box along the patient's axes, all with the same pixel size.

    Args:
        lower, upper: corners of the box in LPS mm.
        centre: where the three planes meet.
        pixels: length of the longest side of the longest picture.
    """
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    extent = np.maximum(high - low, 1e-3)
    pixel_mm = float(extent.max() / pixels)
    middle = (low + high) / 2
    views = []
    for orientation in ORIENTATIONS.values():
        point = middle.copy()
        point[orientation.axis] = centre[orientation.axis]
        across, down = (float(np.abs(extent @ axis)) for axis in (orientation.right, orientation.down))
        views.append(SliceView(orientation.name, as_point(point), (across, down), pixel_mm))
    return views


def box_of(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the box along the patient's axes that holds the voxels of `image` to their outer faces."""
    size = np.array(image.GetSize())
    corners = [
        image.TransformContinuousIndexToPhysicalPoint(((np.array(bits) * size) - 0.5).tolist())
        for bits in np.ndindex(2, 2, 2)
    ]
    return np.min(corners, axis=0), np.max(corners, axis=0)
