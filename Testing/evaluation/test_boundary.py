"""The worst boundary is one that a reader would point at: not a sliver at the edge, a fragment or a spike."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.evaluation import (
    compare_labels,
    compare_registered,
    seen_part,
    worst_boundary,
)

SHAPE, SPACING = (40, 60, 60), (1.0, 1.0, 2.0)


def image(array):
    result = sitk.GetImageFromArray(array)
    result.SetSpacing(SPACING)
    return result


def block(*extents, value=1, into=None):
    """A box of label `value`; extents are (start, stop) along z, y, x."""
    array = np.zeros(SHAPE, np.uint8) if into is None else into
    array[tuple(slice(*extent) for extent in extents)] = value
    return array


def shifted_organ():
    """An organ whose border towards +x is 4 mm off, the other borders right."""
    return block((10, 25), (20, 40), (20, 40)), block((10, 25), (20, 40), (20, 44))


def found(fixed, other, seen=None):
    worst = worst_boundary(image(fixed), image(other), seen)
    return worst.label, worst.distance_mm, np.array(worst.point)


def assert_is_the_shift(fixed, other, seen=None):
    label, distance, point = found(fixed, other, seen)
    assert (label, distance) == (1, pytest.approx(4.0))
    assert point[0] in (39.5, 43.5) and 20 <= point[1] <= 40 and 19 <= point[2] <= 50


def test_a_real_shift_is_found_in_either_image():
    fixed, other = shifted_organ()
    assert_is_the_shift(fixed, other)
    assert_is_the_shift(other, fixed)
    # in the middle of the misplaced face, not at its corner
    _, _, point = found(fixed, other)
    assert 24 <= point[1] <= 35 and 24 <= point[2] <= 45


def test_the_farthest_of_several_labels():
    fixed, other = shifted_organ()
    block((30, 36), (20, 40), (20, 40), value=7, into=fixed)
    block((30, 36), (26, 40), (20, 40), value=7, into=other)
    label, distance, point = found(fixed, other)
    assert (label, distance) == (7, pytest.approx(6.0)) and point[1] in (19.5, 25.5)


@pytest.mark.parametrize("thickness", [1, 2, 4])
@pytest.mark.parametrize("mirrored", [False, True])
def test_slivers_at_the_edge_of_the_field_of_view_do_not_count(thickness, mirrored):
    """The edge cuts a second part of the organ, large, but only in one image; its body would be outside."""
    fixed, other = shifted_organ()
    block((2, 38), (0, thickness), (2, 58), into=fixed)
    assert_is_the_shift(*((other, fixed) if mirrored else (fixed, other)))


def test_a_border_that_the_edge_cuts_does_not_count():
    """An organ that ends at the edge in one image and 6 mm before it in the other: what lies outside is not known."""
    fixed, other = shifted_organ()
    block((0, 8), (5, 25), (45, 59), value=2, into=fixed)
    block((3, 8), (5, 25), (45, 59), value=2, into=other)
    assert_is_the_shift(fixed, other)


def test_a_real_error_near_the_edge_counts():
    fixed, other = shifted_organ()
    block((10, 30), (5, 25), (46, 58), value=2, into=fixed)
    block((10, 30), (12, 25), (46, 58), value=2, into=other)
    label, distance, point = found(fixed, other)
    assert (label, distance) == (2, pytest.approx(7.0)) and point[1] in (4.5, 11.5)


@pytest.mark.parametrize("mirrored", [False, True])
def test_fragments_do_not_count(mirrored):
    """A twelfth of the organ's volume, 12 mm away from it, and a single voxel: leftovers of a segmentation."""
    fixed, other = shifted_organ()
    block((10, 20), (22, 32), (52, 57), into=fixed)
    block((30, 31), (50, 51), (50, 51), into=fixed)
    assert_is_the_shift(*((other, fixed) if mirrored else (fixed, other)))


def test_a_missing_part_that_is_no_fragment_counts():
    """A second part of a third of the volume that the other image lacks altogether."""
    fixed, other = (np.roll(array, -15, axis=2) for array in shifted_organ())
    block((10, 22), (20, 38), (35, 43), into=fixed)
    label, distance, point = found(fixed, other)
    # the part's far face, 14 mm from the organ's border
    assert label == 1 and distance == pytest.approx(14.0) and point[0] == pytest.approx(42.5)


def test_spikes_do_not_count():
    """A row of voxels that sticks out by 10 mm is no stretch of border."""
    fixed, other = shifted_organ()
    block((15, 16), (30, 31), (10, 20), into=fixed)
    assert_is_the_shift(fixed, other)


def test_other_labels_do_not_change_the_place():
    """A label that comes first and is 3 mm off sets a bar, but what lies around the worst place is seen as before."""
    fixed, other = shifted_organ()
    alone = found(fixed * 5, other * 5)
    fixed, other = fixed * 5, other * 5
    block((30, 38), (20, 40), (20, 40), into=fixed)
    block((30, 38), (23, 40), (20, 40), into=other)
    label, distance, point = found(fixed, other)
    assert (label, distance) == alone[:2] and (point == alone[2]).all()


def test_small_structures_count_by_their_own_measure():
    fixed = block((10, 12), (10, 13), (10, 13))
    other = block((10, 12), (10, 13), (14, 17))
    label, distance, _ = found(fixed, other)
    assert label == 1 and distance == pytest.approx(4.0)


def test_beyond_the_moving_images_end_nothing_counts():
    """The moving image ends at x = 30: half of a second organ has no counterpart because of that."""
    fixed, other = shifted_organ()
    fixed, other = (np.roll(array, -18, axis=2) for array in (fixed, other))
    block((28, 38), (10, 50), (5, 55), value=3, into=fixed)
    block((28, 38), (10, 50), (5, 31), value=3, into=other)
    assert found(fixed, other)[0] == 3
    moving = image(np.zeros(SHAPE, np.uint8)[..., :31])
    label, distance, point = found(fixed, other, seen_part(moving, image(fixed)))
    assert label == 1 and distance == pytest.approx(4.0) and point[0] in (21.5, 25.5)
    still = sitk.GetImageFromArray(np.zeros((*SHAPE, 3), np.float32), isVector=True)
    still.SetSpacing(SPACING)
    compared = compare_registered(image(fixed), image(other), image(fixed), moving, still)
    assert compared["worst"] == {"label": 1, "point": pytest.approx(point.tolist()), "distance_mm": 4.0}
    assert compare_labels(image(fixed), image(other), image(other))["worst"]["label"] == 3


def test_nothing_to_find():
    fixed, other = shifted_organ()
    assert worst_boundary(image(fixed), image(other * 0)) is None
    assert worst_boundary(image(fixed), image(other * 2)) is None
    assert worst_boundary(image(fixed), image(fixed)).distance_mm == 0.0
    cut = block((0, 40), (0, 1), (0, 60))
    assert worst_boundary(image(cut), image(np.roll(cut, -1, axis=1))) is None
