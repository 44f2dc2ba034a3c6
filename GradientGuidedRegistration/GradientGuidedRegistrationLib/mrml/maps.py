"""Maps as volume nodes: gradient maps, checkerboard and split of two images, Jacobian determinant, disagreement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..evaluation import jacobian_determinant
from ..registration.grid import Grid, antialiased, covering_grid
from ..registration.intensity import normalize
from .colours import JACOBIAN_RANGE, add_legend, colour_node, save_if_used
from .images import image_from_node, volume_node_from_image
from .transaction import all_or_nothing


def gradient_map(image: sitk.Image, spacing: float | None = None) -> sitk.Image:
    """Gradient map (equation 1 of the paper, per mm) of the normalised image, scaled to [0, 1], float32.

    Args:
        image: CT or MR, LPS mm; intensities are normalised as for the registration.
        spacing: sample the image at this spacing (mm) first, as the registration does; None keeps its own grid.
    """
    normalized = normalize(image).windowed
    if spacing is not None:
        normalized = covering_grid(image, spacing).resample(antialiased(normalized, spacing))
    gradient = sitk.GradientMagnitude(sitk.Cast(normalized, sitk.sitkFloat32))
    values = sitk.GetArrayViewFromImage(gradient)
    # the strongest edges alone would leave organs black
    strongest = float(np.percentile(values[values > 0], 99)) if (values > 0).any() else 1.0
    return sitk.Clamp(gradient / strongest, sitk.sitkFloat32, 0.0, 1.0)


def gradient_map_node(
    volumeNode: Any,
    scene: Any,
    *,
    name: str | None = None,
    spacing: float | None = None,
    transform: sitk.Transform | None = None,
    reference: sitk.Image | None = None,
    before_registration: bool = False,
) -> Any:
    """A new volume node with the gradient map of a volume, ready to be shown over it in colour.

    Args:
        spacing: see `gradient_map`.
        transform, reference: bring the map through `transform` (LPS mm, points of `reference` to points of the volume)
            onto the grid of `reference`: the moving image's map after registration.
        before_registration: leave out the result of an earlier registration that the node is under.
    """
    gradient = gradient_map(image_from_node(volumeNode, before_registration=before_registration), spacing)
    if reference is not None:
        gradient = Grid.of(reference).resample(gradient, transform)
    name = name or f"{volumeNode.GetName()} gradient map"
    return _shown(gradient, name, scene, "gradient", (0.0, 1.0), "Edge strength")


def jacobian_node(field: sitk.Image, name: str, scene: Any, within: sitk.Image | None = None) -> Any:
    """A new volume node with the Jacobian determinant of x + u(x) (LPS mm); folding is yellow.

    Args:
        within: the fixed image, to show nothing of what the field does outside of it.
    """
    jacobian = jacobian_determinant(field)
    if within is not None:
        grid = covering_grid(within, field.GetSpacing()[0])
        jacobian = grid.resample(jacobian, interpolator=sitk.sitkNearestNeighbor, default=1.0)
    node = _shown(jacobian, name, scene, "jacobian", JACOBIAN_RANGE, "Volume change")
    node.GetDisplayNode().SetInterpolate(False)  # a folded voxel must not be averaged away
    return node


def disagreement_node(image_field: sitk.Image, gradient_field: sitk.Image, name: str, scene: Any) -> Any:
    """A new volume node with the distance (mm) between the branches' fields: where to trust the result less."""
    distance = sitk.Cast(sitk.VectorMagnitude(image_field - gradient_field), sitk.sitkFloat32)
    return _distance_node(distance, name, scene, "Disagreement (mm)")


def expected_error_node(expected_error: sitk.Image, name: str, scene: Any) -> Any:
    """A new volume node with the error (mm) that a result expects of itself, from black (0) to bright yellow."""
    return _distance_node(sitk.Cast(expected_error, sitk.sitkFloat32), name, scene, "Expected error (mm)")


def _distance_node(distance: sitk.Image, name: str, scene: Any, title: str) -> Any:
    largest = float(np.percentile(sitk.GetArrayViewFromImage(distance), 99.5))
    return _shown(distance, name, scene, "distance", (0.0, max(float(np.ceil(largest)), 2.0)), title)


def checkerboard(fixed: sitk.Image, warped: sitk.Image, tile_mm: float = 25.0) -> sitk.Image:
    """Cubes taken from two images in turn, each normalised to [0, 1]; on the grid of `fixed`, float32.

    Args:
        fixed, warped: LPS mm; `warped` is sampled onto the grid of `fixed`.
        tile_mm: side of a cube; cut to whole voxels, and at least one voxel.
    """
    first, second = _both(fixed, warped)
    tiles = [np.arange(n) // max(1, round(tile_mm / s)) for n, s in zip(fixed.GetSize(), fixed.GetSpacing())]
    odd = (tiles[2][:, None, None] + tiles[1][None, :, None] + tiles[0][None, None, :]) % 2
    return Grid.of(fixed).image(np.where(odd == 0, first, second))


def split(fixed: sitk.Image, warped: sitk.Image, axis: int = 0, share: float = 0.5) -> sitk.Image:
    """One image on either side of a plane, each normalised to [0, 1]; on the grid of `fixed`, float32.

    Args:
        axis: of the patient, across which the plane lies: 0, 1 or 2 for LPS. `fixed` is on the patient's right, front
            or lower side of it, `warped` on the other.
        share: 0 to 1, where the plane is in the extent of `fixed` along that axis.

    Raises:
        InputError: a share below 0 or above 1.
    """
    if not 0.0 <= share <= 1.0:
        raise InputError(f"The split is at {share:g} of the image; give 0 to 1.")
    first, second = _both(fixed, warped)
    steps = np.array(fixed.GetDirection()).reshape(3, 3)[axis] * fixed.GetSpacing()
    i, j, k = (step * np.arange(count) for step, count in zip(steps, fixed.GetSize()))
    position = k[:, None, None] + j[None, :, None] + i[None, None, :]
    half = np.abs(steps).sum() / 2  # an image ends at the faces of its voxels
    low, high = position.min() - half, position.max() + half
    return Grid.of(fixed).image(np.where(position < low + share * (high - low), first, second))


def mixed_node(kind: str, fixedNode: Any, warpedNode: Any, scene: Any, **options: Any) -> Any:
    """A new volume node with the "checkerboard" or "split" of two volume nodes; options as of those functions."""
    mixes: dict[str, Callable[..., sitk.Image]] = {"checkerboard": checkerboard, "split": split}
    mix = mixes[kind]
    image = mix(image_from_node(fixedNode), image_from_node(warpedNode), **options)
    with all_or_nothing(scene):
        node = volume_node_from_image(image, f"{fixedNode.GetName()} {kind}", scene)
        _set_window(node, (0.0, 1.0))
    return node


def _both(fixed: sitk.Image, warped: sitk.Image) -> list[np.ndarray]:
    images = (normalize(fixed).windowed, Grid.of(fixed).resample(normalize(warped).windowed))
    return [sitk.GetArrayFromImage(image).astype(np.float32) for image in images]


def _shown(image: sitk.Image, name: str, scene: Any, kind: str, limits: tuple[float, float], legend: str) -> Any:
    with all_or_nothing(scene):
        node = volume_node_from_image(image, name, scene)
        colour = colour_node(kind, scene)
        node.GetDisplayNode().SetAndObserveColorNodeID(colour.GetID())
        save_if_used(colour, scene)
        _set_window(node, limits)
        add_legend(node, legend)
    return node


def _set_window(node: Any, limits: tuple[float, float]) -> None:
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*limits)
