"""Dice, ASD and HD95 against surface-distance, MONAI and SimpleITK, and their edge cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.evaluation import (
    check_covers,
    label_metrics,
    labels_on_grid,
    mask_metrics,
    mean_metrics,
    means_before_and_after,
)
from GradientGuidedRegistrationLib.evaluation.nearest import NearestCells
from GradientGuidedRegistrationLib.evaluation.surface import Surface, element_areas, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.9, 5.0), (2.0, 0.5, 1.5)]


def ellipsoid(shape, spacing, centre, radii):
    """Boolean (D, H, W); centre and radii in mm along (x, y, z)."""
    axes = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")[::-1]
    return sum(((a * s - c) / r) ** 2 for a, s, c, r in zip(axes, spacing, centre, radii, strict=True)) < 1


def pair(spacing):
    shape = tuple(int(np.ceil(70 / s)) for s in spacing[::-1])
    first = ellipsoid(shape, spacing, (33, 35, 34), (25, 18, 22))
    second = ellipsoid(shape, spacing, (36, 34, 37), (22, 21, 20))
    return first, second


def distances_between(first, second, spacing):
    return surface_distances(Surface(first, spacing), Surface(second, spacing))


def image(array, spacing=(1.0, 1.0, 1.0), direction=None):
    result = sitk.GetImageFromArray(np.asarray(array))
    result.SetSpacing(spacing)
    if direction is not None:
        result.SetDirection(direction)
    return result


@pytest.mark.parametrize("spacing", SPACINGS)
def test_agrees_with_surface_distance(spacing):
    reference = pytest.importorskip("surface_distance")
    first, second = pair(spacing)
    found = reference.compute_surface_distances(first, second, spacing[::-1])
    pooled = (found["distances_gt_to_pred"] * found["surfel_areas_gt"]).sum()
    pooled += (found["distances_pred_to_gt"] * found["surfel_areas_pred"]).sum()
    pooled /= found["surfel_areas_gt"].sum() + found["surfel_areas_pred"].sum()
    metrics = mask_metrics(first, second, spacing)
    assert metrics["asd_mm"] == pytest.approx(pooled, rel=2e-3)
    assert metrics["hd95_mm"] == pytest.approx(reference.compute_robust_hausdorff(found, 95), rel=1e-5)
    ours = distances_between(first, second, spacing)
    # its table splits bent polygons into larger triangles
    assert ours.first_areas.sum() == pytest.approx(found["surfel_areas_gt"].sum(), rel=0.03)
    assert ours.hausdorff(100) == pytest.approx(reference.compute_robust_hausdorff(found, 100), rel=1e-5)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_agrees_with_monai_and_simpleitk(spacing):
    """They put the surface on voxels, not on voxel corners: equal to within a fraction of a voxel."""
    torch = pytest.importorskip("torch")
    metrics_of = pytest.importorskip("monai.metrics")
    first, second = pair(spacing)
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (first, second)]
    metrics = mask_metrics(first, second, spacing)
    asd = metrics_of.compute_average_surface_distance(
        *tensors, include_background=True, symmetric=True, spacing=spacing[::-1]
    )
    hd95 = metrics_of.compute_hausdorff_distance(
        *tensors, include_background=True, percentile=95, spacing=spacing[::-1]
    )
    assert metrics["asd_mm"] == pytest.approx(float(asd), abs=0.35 * max(spacing))
    assert metrics["hd95_mm"] == pytest.approx(float(hd95), abs=0.6 * max(spacing))
    dice = metrics_of.compute_dice(*tensors, include_background=True)
    assert metrics["dice"] == pytest.approx(float(dice), abs=1e-6)

    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(image(first.astype(np.uint8), spacing), image(second.astype(np.uint8), spacing))
    assert metrics["dice"] == pytest.approx(overlap.GetDiceCoefficient(1), abs=1e-9)
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(image(first.astype(np.uint8), spacing), image(second.astype(np.uint8), spacing))
    ours = distances_between(first, second, spacing).hausdorff(100)
    assert ours == pytest.approx(hausdorff.GetHausdorffDistance(), abs=0.6 * max(spacing))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_surface_area_of_planes_and_spheres(spacing):
    areas = element_areas(spacing)
    assert areas[0] == areas[255] == 0
    assert areas[0b00001111] == pytest.approx(spacing[0] * spacing[1])  # plane across z
    assert areas[0b01010101] == pytest.approx(spacing[1] * spacing[2])  # plane across x
    # one corner: the triangle through the middles of its three edges
    x, y, z = (value / 2 for value in spacing)
    assert areas[1] == pytest.approx(0.5 * np.sqrt((x * y) ** 2 + (y * z) ** 2 + (x * z) ** 2))
    # inside out: equal, but where a face has two inside corners on a diagonal
    faces = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)]
    diagonal = [any([c >> i & 1 for i in f] in ([1, 0, 1, 0], [0, 1, 0, 1]) for f in faces) for c in range(256)]
    assert 100 < sum(diagonal) < 200
    assert np.allclose(areas[~np.array(diagonal)], areas[::-1][~np.array(diagonal)])
    shape = tuple(int(np.ceil(64 / s)) for s in spacing[::-1])
    sphere = ellipsoid(shape, spacing, (31, 31, 31), (25, 25, 25))
    found = distances_between(sphere, sphere, spacing)
    assert found.first_areas.sum() == pytest.approx(4 * np.pi * 25**2, rel=0.25)  # steps make it larger
    assert found.average() == 0


def test_known_shift_of_a_slab():
    slab, moved = np.zeros((2, 20, 20, 30), bool)
    slab[:, :, 5:15] = True
    moved[:, :, 8:18] = True
    metrics = mask_metrics(slab, moved, (2.0, 1.0, 1.0))
    assert metrics["dice"] == pytest.approx(0.7)
    assert metrics["hd95_mm"] == pytest.approx(6.0)
    assert metrics["fixed_volume_ml"] == pytest.approx(20 * 20 * 10 * 2 / 1000)


def test_distance_maps_are_exact():
    first, second = np.random.default_rng(3).random((2, 5, 6, 7)) > 0.8
    spacing = (0.7, 1.3, 4.0)
    found = distances_between(first, second, spacing)

    def elements(mask):
        padded = np.pad(mask, 1).astype(int)
        sums = sum(padded[z : z + 6, y : y + 7, x : x + 8] for z in (0, 1) for y in (0, 1) for x in (0, 1))
        return np.argwhere((sums > 0) & (sums < 8)) * spacing[::-1]

    points = [elements(mask) for mask in (first, second)]
    distances = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    assert np.allclose(np.sort(found.first_to_second), np.sort(distances.min(axis=1)), atol=1e-5)
    assert np.allclose(np.sort(found.second_to_first), np.sort(distances.min(axis=0)), atol=1e-5)


@pytest.mark.parametrize("box", [(1, 1, 1), (1, 1, 5), (1, 4, 5)])
def test_structures_of_which_all_is_surface(box):
    """In a box that just holds them there is nothing that is not surface, and no distance map."""
    masks = np.zeros((2, 9, 20, 20), bool)
    masks[0][tuple(slice(4, 4 + n) for n in box)] = True
    masks[1][tuple(slice(5, 5 + n) for n in box)] = True
    for spacing in ((1.0, 1.0, 1.0), (0.5, 0.5, 3.0)):
        same, shifted = (mask_metrics(masks[0], other, spacing) for other in masks)
        assert same["dice"] == 1 and same["asd_mm"] == 0 == same["hd95_mm"]
        assert 0 <= shifted["asd_mm"] <= shifted["hd95_mm"] <= 5
        cut = (slice(4, 4 + box[0]), slice(4, 4 + box[1]), slice(4, 4 + box[2]))
        assert mask_metrics(masks[0][cut], masks[0][cut], spacing)["asd_mm"] == 0


def test_multi_label_empty_one_sided_and_touching():
    fixed = np.zeros((12, 16, 16), np.uint8)
    fixed[2:8, 2:8, 2:8] = 1
    fixed[2:8, 2:8, 8:14] = 5  # touches label 1
    fixed[9:11, 9:11, 9:11] = 9  # only in the fixed image
    moving = np.zeros_like(fixed)
    moving[2:8, 2:8, 3:9] = 1
    moving[2:8, 2:8, 9:15] = 5
    moving[0, 0, 0] = 7  # only in the moving image, in a corner
    metrics = label_metrics(image(fixed), image(moving), labels=[1, 5, 7, 9, 11])
    assert list(metrics) == [1, 5, 7, 9, 11]
    assert metrics[1]["dice"] == pytest.approx(5 / 6) and metrics[5]["dice"] == pytest.approx(5 / 6)
    assert 0 < metrics[1]["asd_mm"] < 1
    for label in (7, 9):
        assert metrics[label]["dice"] == 0.0
        assert metrics[label]["asd_mm"] is None and metrics[label]["hd95_mm"] is None
    assert metrics[11]["dice"] is None and metrics[11]["fixed_volume_ml"] == 0
    assert list(label_metrics(image(fixed), image(moving))) == [1, 5, 7, 9]
    means = mean_metrics(metrics)
    assert means["dice"] == pytest.approx((5 / 6 + 5 / 6) / 4)
    assert means["asd_mm"] == pytest.approx((metrics[1]["asd_mm"] + metrics[5]["asd_mm"]) / 2)
    assert (means["labels"], means["labels_with_distance"]) == (4, 2)
    json.dumps([metrics, means], allow_nan=False)
    assert mean_metrics({})["dice"] is None


def test_a_structure_that_is_lost_makes_no_mean_distance_better():
    there, lost = {"dice": 0.8, "asd_mm": 2.0, "hd95_mm": 4.0}, {"dice": 0.0, "asd_mm": None, "hd95_mm": None}
    far = {"dice": 0.1, "asd_mm": 18.0, "hd95_mm": 30.0}
    means = means_before_and_after({"1": {"before": there, "after": there}, "2": {"before": far, "after": lost}})
    assert means["before"]["asd_mm"] == means["after"]["asd_mm"] == 2.0
    assert means["before"]["dice"] == pytest.approx(0.45) and means["after"]["dice"] == pytest.approx(0.4)
    assert means["before"]["labels_with_distance"] == means["after"]["labels_with_distance"] == 1


def test_label_cut_by_the_edge_is_closed_there():
    fixed = np.zeros((10, 10, 10), np.uint8)
    fixed[:5] = 1
    metrics = label_metrics(image(fixed), image(fixed))[1]
    assert metrics["dice"] == 1 and metrics["asd_mm"] == 0 and metrics["hd95_mm"] == 0


def test_equal_to_the_uncropped_computation():
    fixed, moving = (np.pad(mask.astype(np.uint16), ((9, 2), (3, 11), (0, 7))) for mask in pair((1.0, 1.0, 1.0)))
    cropped = label_metrics(image(fixed), image(moving))[1]
    whole = mask_metrics(fixed > 0, moving > 0, (1.0, 1.0, 1.0))
    assert cropped == pytest.approx(whole)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint32, np.int64, np.float32])
def test_pixel_types(kind):
    labels = np.zeros((6, 6, 6), kind)
    labels[1:4, 1:4, 1:4] = 3
    assert label_metrics(image(labels), image(labels))[3]["dice"] == 1


def test_refuses_other_grids_and_fractions():
    labels = np.zeros((6, 6, 6), np.uint8)
    with pytest.raises(InputError, match="grids"):
        label_metrics(image(labels), image(labels, (1.0, 1.0, 1.1)))
    with pytest.raises(InputError, match="grids"):
        label_metrics(image(labels), image(labels[1:]))
    with pytest.raises(InputError, match="whole"):
        label_metrics(image(labels + 0.5), image(labels))


def test_labels_on_another_oblique_grid():
    """Nearest-neighbour values at the reference's voxel centres, 0 outside; the metrics do not see the direction."""
    angle = np.deg2rad(25)
    turn = (np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1)
    rng = np.random.default_rng(0)
    labels = image(rng.integers(0, 4, (8, 10, 12), dtype=np.uint8), (1.5, 1.0, 3.0), turn)
    reference = image(np.zeros((9, 11, 13), np.uint8), (1.0, 1.2, 2.0))
    reference.SetOrigin((-2.0, 1.0, 0.5))
    moved = sitk.GetArrayFromImage(labels_on_grid(labels, reference))
    for z, y, x in [(0, 0, 0), (3, 5, 6), (8, 10, 12), (4, 2, 11), (7, 9, 1)]:
        point = reference.TransformIndexToPhysicalPoint((x, y, z))
        index = labels.TransformPhysicalPointToIndex(point)
        inside = all(0 <= i < size for i, size in zip(index, labels.GetSize(), strict=True))
        assert moved[z, y, x] == (labels[index] if inside else 0)
    assert labels_on_grid(labels, labels) is labels
    straight = sitk.GetImageFromArray(sitk.GetArrayFromImage(labels))
    straight.SetSpacing(labels.GetSpacing())
    other = image(np.roll(sitk.GetArrayFromImage(labels), 1, axis=2), (1.5, 1.0, 3.0))
    turned = sitk.Image(other)
    turned.SetDirection(turn)
    assert label_metrics(labels, turned) == label_metrics(straight, other)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_of_large_surfaces_a_part_tells_as_much(spacing):
    first, second = pair(spacing)
    whole = distances_between(first, second, spacing)
    some = surface_distances(*(Surface(mask, spacing, most=800) for mask in (first, second)))
    assert 400 <= len(some.first_to_second) <= 800 < len(whole.first_to_second)
    assert some.first_areas.sum() == pytest.approx(whole.first_areas.sum())
    assert np.isin(np.unique(some.first_to_second), whole.first_to_second).all()
    spread = np.std(np.concatenate([whole.first_to_second, whole.second_to_first]))
    assert some.average() == pytest.approx(whole.average(), abs=4 * spread / np.sqrt(1600))
    assert some.hausdorff(95) == pytest.approx(whole.hausdorff(95), abs=0.5)


@pytest.mark.parametrize("most_pairs", [None, 0, 2_000, 40_000])
def test_nearest_cells_are_exact_or_left_open(most_pairs):
    shape, spacing, rng = (9, 14, 30), (0.7, 1.3, 4.0), np.random.default_rng(8)
    targets, queries = (np.sort(rng.choice(np.prod(shape), count, replace=False)) for count in (25, 300))
    places = [np.stack(np.unravel_index(cells, shape), axis=1) * spacing[::-1] for cells in (queries, targets)]
    expected = ((places[0][:, None] - places[1][None]) ** 2).sum(axis=-1).min(axis=1)
    found = NearestCells(shape, targets, spacing).squared_distances(queries, most_pairs)
    known = np.isfinite(found)
    assert np.allclose(found[known], expected[known], rtol=1e-5)
    if most_pairs in (None, 0):
        assert known.all() if most_pairs is None else not known.any()
    near = NearestCells(shape, targets, spacing).squared_distances(queries, farthest_mm=5.0)
    assert np.isfinite(near[expected <= 25.0]).all() and np.isinf(near[expected > 60.0]).all()


@pytest.mark.parametrize("turn", [1.0, -1.0])
def test_labels_that_touch_the_corner_of_their_image_belong_to_it(turn):
    """Their grid lies beside the image but for one voxel; a label beside that one is another image's."""
    reference = image(np.zeros((10, 10, 10), np.uint8), (2.0, 2.0, 2.0))
    reference.SetDirection((turn, 0, 0, 0, turn, 0, 0, 0, 1))
    labels = image(np.zeros((10, 10, 10), np.uint8))
    labels.SetOrigin(tuple(turn * 18.0 + (0.0 if turn > 0 else -9.0) for _ in range(2)) + (18.0,))
    inside = labels.TransformPhysicalPointToIndex((turn * 18.0, turn * 18.0, 18.0))
    labels[inside] = 3
    check_covers(labels, reference, "segmentation")
    labels[inside] = 0
    labels[[5, 5, 5]] = 3
    with pytest.raises(InputError, match="The segmentation covers nothing of its image"):
        check_covers(labels, reference, "segmentation")
