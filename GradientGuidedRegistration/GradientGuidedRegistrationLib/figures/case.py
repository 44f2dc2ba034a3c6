"""The figures of one registered pair: which volumes there are, which pages they make, and writing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..evaluation import (
    WorstBoundary,
    field_transform,
    jacobian_determinant,
    label_volumes,
    seen_part,
    warp_labels,
    worst_boundary,
)
from ..registration.intensity import is_ct
from ..whole_files import write_bytes
from .composition import Page
from .page import PanelRenderer, render_page
from .pages import PageBuilder
from .png import png_bytes
from .render import render_panel
from .views import SliceView, as_point, box_of, three_views
from .volumes import Volume, display_window, gradient_volume, shrink

if TYPE_CHECKING:
    from ..registration.result import Result


_LARGEST_RADIUS = 8  # voxels; where these are far smaller than a millimetre, closing would take minutes


def render_case(
    result: Result,
    fixed: sitk.Image,
    moving: sitk.Image,
    directory: str | Path,
    fixed_labels: sitk.Image | None = None,
    moving_labels: sitk.Image | None = None,
    label_names: Mapping[int, str] | None = None,
    render: PanelRenderer = render_panel,
) -> list[Path]:
    """Write the figures of a registration as PNG files.

    Args:
        result: outcome of `register(fixed, moving)`; its fields are used.
        fixed, moving: the two images (LPS), of any geometry.
        directory: made if it is missing.
        fixed_labels, moving_labels: segmentations on any grid; outlines are drawn of what is given.
        label_names: words for label values.
        render: makes the picture of a panel; the CPU path unless another renderer is plugged in.

    Returns:
        The files in reading order.
    """
    worst = None
    if fixed_labels is not None and moving_labels is not None:
        transform = field_transform(result.field)
        warped = warp_labels(moving_labels, fixed_labels, result.field, transform)
        worst = worst_boundary(fixed_labels, warped, seen_part(moving, result.field, transform))
    volumes, pages = describe_case(result, fixed, moving, fixed_labels, moving_labels, label_names, worst)
    return render_pages(pages, volumes, directory, render)


def render_pages(
    pages: Sequence[Page],
    volumes: Mapping[str, Volume],
    directory: str | Path,
    render: PanelRenderer = render_panel,
    prefix: str = "",
) -> list[Path]:
    """Write pages as PNG files named after them, `prefix` in front; returns the files."""
    return [
        write_bytes(Path(directory) / f"{prefix}{page.name}.png", png_bytes(render_page(page, volumes, render)))
        for page in pages
    ]


def describe_case(
    result: Result,
    fixed: sitk.Image,
    moving: sitk.Image,
    fixed_labels: sitk.Image | None = None,
    moving_labels: sitk.Image | None = None,
    label_names: Mapping[int, str] | None = None,
    worst: WorstBoundary | None = None,
) -> tuple[dict[str, Volume], list[Page]]:
    """The volumes and the pages of a registration, before any pixel is drawn.

    Arguments as for `render_case`; `worst` is the place to show enlarged, that of the largest deformation if None.
    """
    volumes = case_volumes(result, fixed, moving, fixed_labels, moving_labels)
    drawn, left_out = _labels_to_draw(volumes, worst)
    lower, upper, centre = region_of_interest(fixed, fixed_labels)
    views = three_views(lower, upper, centre)
    builder = PageBuilder(
        volumes=volumes,
        views=views,
        box=(lower, upper),
        names=(_modality(fixed), _modality(moving)),
        labels={label: (label_names or {}).get(label, f"label {label}") for label in drawn},
        left_out=left_out,
        zoom=_zoom(views, worst, volumes, centre),
        worst=worst,
    )
    return volumes, builder.pages()


def _modality(image: sitk.Image) -> str:
    return "CT" if is_ct(image) else "MR"


def case_volumes(
    result: Result,
    fixed: sitk.Image,
    moving: sitk.Image,
    fixed_labels: sitk.Image | None,
    moving_labels: sitk.Image | None,
) -> dict[str, Volume]:
    """All volumes that the pages name. The moving image is sampled once, through the whole field."""
    after = field_transform(result.field)
    spacing = max(result.field.GetSpacing())
    window = display_window(moving)
    deformable = deformable_field(result)
    volumes = {
        "fixed": Volume(fixed, window=display_window(fixed)),
        "before": Volume(moving, window=window),
        "after": Volume(moving, after, window=window, within=fixed),
        "gradient_fixed": gradient_volume(fixed, spacing),
        "gradient_before": gradient_volume(moving, spacing),
        "field": Volume(result.field, within=fixed),
        "displacement": Volume(_lengths(deformable), within=fixed),
        "body": Volume(body_mask(fixed), within=fixed),
        "jacobian": Volume(jacobian_determinant(result.field), nearest=True, within=fixed),
    }
    before = volumes["gradient_before"]
    volumes["gradient_after"] = Volume(before.image, after, window=before.window, within=fixed)
    if result.image_field is not None and result.gradient_field is not None:
        volumes["disagreement"] = Volume(_lengths(result.image_field - result.gradient_field), within=fixed)
    expected_error = result.expected_error
    if expected_error is not None:
        volumes["expected_error"] = Volume(expected_error, within=fixed)
    if fixed_labels is not None:
        volumes["fixed_labels"] = Volume(fixed_labels, nearest=True)
    if moving_labels is not None:
        volumes["labels_before"] = Volume(moving_labels, nearest=True)
        volumes["labels_after"] = Volume(moving_labels, after, nearest=True, within=fixed)
    return volumes


def deformable_field(result: Result) -> sitk.Image:
    """The part of the field that the linear alignment (if the result has one) does not account for, LPS mm."""
    field, linear = result.field, getattr(result, "linear", None)
    if linear is None:
        return field
    linear_field = sitk.TransformToDisplacementField(
        linear, field.GetPixelID(), field.GetSize(), field.GetOrigin(), field.GetSpacing(), field.GetDirection()
    )
    # A zero vector is the field's margin, outside of what was registered: there is no deformation to show.
    values = sitk.GetArrayViewFromImage(field)
    difference = np.where(
        (values == 0).all(axis=-1, keepdims=True), 0, values - sitk.GetArrayViewFromImage(linear_field)
    )
    image = sitk.GetImageFromArray(difference, isVector=True)
    image.CopyInformation(field)
    return image


def region_of_interest(
    fixed: sitk.Image, labels: sitk.Image | None = None, margin_mm: float = 6.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The box along the patient's axes around the body in `fixed`, and the point where the slices should meet.

    Returns:
        lower and upper corner and centre (LPS mm). The centre is where the slices show most of the labels, or of the
        body if there are none.
    """
    tissue = _tissue(fixed)
    points = _points(tissue, sitk.GetArrayViewFromImage(tissue) != 0)
    lower, upper = box_of(fixed)
    if len(points) < 50:
        return lower, upper, (lower + upper) / 2
    body = np.percentile(points, (0.3, 99.7), axis=0)
    centre = points.mean(axis=0)
    lower, upper = np.maximum(lower, body[0] - margin_mm), np.minimum(upper, body[1] + margin_mm)
    if labels is not None:
        centre = _label_centre(labels, lower, upper, centre)
    return lower, upper, np.clip(centre, lower, upper)


def body_mask(fixed: sitk.Image, close_mm: float = 12.0) -> sitk.Image:
    """Where `fixed` shows the body, gas in it included: 1 inside, 0 in the air around, uint8 on about 3 mm.

    All of it is 1 where next to nothing is brighter than air.
    """
    tissue = _tissue(fixed)
    if np.count_nonzero(sitk.GetArrayViewFromImage(tissue)) < 50:
        return tissue * 0 + 1
    radius = [min(max(1, round(close_mm / 2 / own)), _LARGEST_RADIUS) for own in tissue.GetSpacing()]
    # in an image of its own with room around, so that closing does not stop at the edge
    closed = sitk.BinaryMorphologicalClosing(sitk.ConstantPad(tissue, radius, radius), radius)
    size, start = tissue.GetSize(), radius
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.RegionOfInterest(closed, size, start)))
    # slice by slice as well: the bowel and the airways leave the image at its ends
    filled = sitk.GetArrayFromImage(sitk.BinaryFillhole(parts == 1))
    thinnest = int(np.argmin(filled.shape))
    planes = [sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(plane)))
              for plane in np.moveaxis(filled, thinnest, 0)]  # fmt: skip
    mask = sitk.GetImageFromArray(np.ascontiguousarray(np.moveaxis(np.stack(planes), 0, thinnest)))
    mask.CopyInformation(tissue)
    return mask


def _tissue(fixed: sitk.Image) -> sitk.Image:
    """What is brighter than air, uint8 (0 or 1), on about 3 mm."""
    small = shrink(fixed, 3.0)
    if is_ct(fixed):
        return small > -500.0
    low, high = display_window(fixed)
    return small > low + 0.1 * (high - low)


def _label_centre(labels: sitk.Image, lower: np.ndarray, upper: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """For each axis the slice that shows the largest share of each label, shares added up."""
    # Strided, not averaged: label values must not mix.
    factors = [max(1, int(3.0 / own)) for own in labels.GetSpacing()]
    small = labels[:: factors[0], :: factors[1], :: factors[2]]
    values = sitk.GetArrayViewFromImage(small)
    points, found = _points(small, values != 0), values[values != 0]
    inside = ((points >= lower) & (points <= upper)).all(axis=1)
    points, found = points[inside], found[inside]
    if not len(points):
        return otherwise
    _, which, counts = np.unique(found, return_inverse=True, return_counts=True)
    weights = 1 / counts[which]
    centre = np.empty(3)
    for axis in range(3):
        step = 3.0
        bins = ((points[:, axis] - lower[axis]) / step).astype(int)
        share = np.convolve(
            np.bincount(bins, weights), [0.25, 0.5, 0.25], "same"
        )  # between two nearly equal slices take the middle one
        centre[axis] = lower[axis] + (np.argmax(share) + 0.5) * step
    return centre


def _points(image: sitk.Image, mask: np.ndarray) -> np.ndarray:
    """LPS points (N, 3) of the voxels in a mask (D, H, W)."""
    offsets = np.argwhere(mask)[:, ::-1] * np.array(image.GetSpacing())
    return offsets @ np.array(image.GetDirection()).reshape(3, 3).T + np.array(image.GetOrigin())


def _lengths(field: sitk.Image) -> sitk.Image:
    return sitk.VectorMagnitude(field)


def _labels_to_draw(
    volumes: Mapping[str, Volume], worst: WorstBoundary | None, most: int = 40
) -> tuple[list[int], int]:
    """The label of the worst boundary and the largest ones, ascending, and how many others there are."""
    millilitres: dict[int, float] = {}
    for name in ("fixed_labels", "labels_before"):
        for label, volume in label_volumes(volumes[name].image).items() if name in volumes else ():
            millilitres[label] = max(volume, millilitres.get(label, 0.0))
    if worst is not None and worst.label in millilitres:
        millilitres[worst.label] = np.inf
    drawn = sorted(millilitres, key=lambda label: -millilitres[label])[:most]
    return sorted(drawn), len(millilitres) - len(drawn)


def _zoom(
    views: list[SliceView], worst: WorstBoundary | None, volumes: Mapping[str, Volume], centre: np.ndarray
) -> list[SliceView]:
    """Close-ups of the worst boundary, or of the largest deformation if there are no labels to tell."""
    extent = max(max(view.size_mm) for view in views)
    side = float(np.clip(extent / 4, min(40, extent / 2), 90))
    if worst is not None:
        point = worst.point
    else:
        # the place of largest deformation that the middle slices show
        best = (-1.0, tuple(centre))
        for view in views:
            values = np.nan_to_num(volumes["displacement"].slice(view), nan=-1)
            values = np.where(volumes["fixed"].slice(view) > volumes["fixed"].window[0], values, -1)
            row, column = np.unravel_index(np.argmax(values), values.shape)
            if values[row, column] > best[0]:
                best = (float(values[row, column]), tuple(view.points()[row, column]))
        point = best[1]
    return [view.at(as_point(point), (side, side), side / 280) for view in views]
