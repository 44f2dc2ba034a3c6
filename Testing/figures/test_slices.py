"""Pictures correspond to the data: pixels, sides, letters and proportions, in any geometry."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from cases import CENTRE, GEOMETRIES, ct, distance, make_image

from GradientGuidedRegistrationLib.evaluation import field_transform
from GradientGuidedRegistrationLib.figures.views import ORIENTATIONS, SliceView, box_of, three_views
from GradientGuidedRegistrationLib.figures.volumes import Volume, display_window, gradient_volume


def view_of(orientation, size_mm=(70.0, 60.0), pixel_mm=0.9):
    return SliceView(orientation, tuple((CENTRE + (1.3, -2.1, 0.7)).tolist()), size_mm, pixel_mm)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pixels_are_the_images_values(geometry, orientation):
    """Every pixel within one grey level of SimpleITK's value at the pixel's point, before and after warping."""
    image = make_image(ct, geometry)
    field = make_image(lambda p: 3 * np.sin(0.05 * p[..., ::-1]), "oblique", extent=140, kind=np.float64)
    view = view_of(orientation)
    rng = np.random.default_rng(5)
    for transform in (None, field_transform(field)):
        volume = Volume(image, transform, window=(-160.0, 240.0))
        picture = np.round(volume.grey(view))
        checked = 0
        for row, column in zip(*(rng.integers(0, n, 300) for n in picture.shape), strict=True):
            point = view.points()[row, column].tolist()
            point = transform.TransformPoint(point) if transform else point
            index = np.array(image.TransformPhysicalPointToContinuousIndex(point))
            if (index < 0).any() or (index > np.array(image.GetSize()) - 1).any():
                continue
            value = image.EvaluateAtPhysicalPoint(point, sitk.sitkLinear)
            assert abs(picture[row, column] - np.clip((value + 160) / 400, 0, 1) * 255) <= 1
            checked += 1
        assert checked > 100


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_letters_tell_the_patients_sides(geometry, orientation):
    """A ball near one side of the patient shows up at the side of the picture that has that side's letter."""
    towards = {"R": (-1, 0, 0), "L": (1, 0, 0), "A": (0, -1, 0), "P": (0, 1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    view = SliceView(orientation, tuple(CENTRE.tolist()), (70.0, 70.0), 1.0)
    sides = dict(zip(view.axes.letters, ("left", "right", "top", "bottom"), strict=True))
    assert len(sides) == 4
    for letter, side in sides.items():
        ball = make_image(lambda p, side=letter: distance(p, 22 * np.array(towards[side])) < 8, geometry)
        rows, columns = np.nonzero(Volume(ball).grey(view) > 128)
        assert len(rows) > 50
        place = {"left": columns.max() < 30, "right": columns.min() > 40, "top": rows.max() < 30}
        assert place.get(side, rows.min() > 40), f"{letter} is not at the {side} of {orientation}"


def test_radiological_convention():
    assert ORIENTATIONS["axial"].letters[:2] == ORIENTATIONS["coronal"].letters[:2] == ("R", "L")
    assert ORIENTATIONS["axial"].letters[2] == "A" and ORIENTATIONS["coronal"].letters[2] == "S"
    assert ORIENTATIONS["sagittal"].letters == ("A", "P", "S", "I")


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_true_proportions(geometry, orientation):
    """A ball is round, and as large as its diameter says, whatever the voxels are."""
    ball = make_image(lambda p: np.clip(24.5 - distance(p), 0, 1), geometry)
    view = SliceView(orientation, tuple(CENTRE.tolist()), (70.0, 64.0), 0.5)
    rows, columns = np.nonzero(Volume(ball).grey(view) > 128)
    across, down = np.ptp(columns) * 0.5, np.ptp(rows) * 0.5
    thick = max(GEOMETRIES[geometry][1])
    assert across == pytest.approx(48, abs=0.5 * thick)
    assert down == pytest.approx(48, abs=0.5 * thick)


def test_views_of_a_box():
    views = three_views((-50, -40, 0), (70, 60, 200), (0, 10, 90), pixels=300)
    assert [view.orientation for view in views] == ["axial", "coronal", "sagittal"]
    assert len({view.pixel_mm for view in views}) == 1
    axial, coronal, sagittal = views
    assert axial.size_mm == (120, 100) and coronal.size_mm == (120, 200) and sagittal.size_mm == (100, 200)
    assert axial.centre == (10, 10, 90) and coronal.centre == (10, 10, 100) and sagittal.centre == (0, 10, 100)
    assert max(max(view.size) for view in views) == 300
    assert axial.position_text == "Axial, S 90.0 mm" and coronal.position_text == "Coronal, P 10.0 mm"
    assert SliceView("sagittal", (-3, 0, 0), (1, 1), 1).position_text == "Sagittal, R 3.0 mm"
    for view in views:
        assert view.pixel_of(tuple(view.points()[7, 11])) == pytest.approx((11, 7))


def test_box_holds_the_outer_faces():
    image = sitk.Image([10, 20, 30], sitk.sitkUInt8)
    image.SetSpacing((2, 1, 1))
    lower, upper = box_of(image)
    assert lower.tolist() == [-1, -0.5, -0.5] and upper.tolist() == [19, 19.5, 29.5]


def test_windows():
    assert display_window(make_image(ct)) == (-160.0, 240.0)
    low, high = display_window(make_image(lambda p: np.where(distance(p) < 30, 300 + p[..., 0], 0)))
    assert 270 < low < 290 and 335 < high < 345


def test_outside_of_the_image_is_black():
    view = SliceView("axial", tuple((CENTRE + (500, 0, 0)).tolist()), (20.0, 20.0), 1.0)
    volume = Volume(make_image(ct), window=(-2000.0, 0.0))
    assert np.isnan(volume.slice(view)).all()
    assert (volume.grey(view) == 0).all()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradient_map_is_eq_1_per_mm(geometry):
    """A ramp along an oblique line has the ramp's slope everywhere."""
    slope = np.array([2.0, -1.0, 0.5])
    image = make_image(lambda p: 500 + (p - CENTRE) @ slope, geometry)
    values = sitk.GetArrayFromImage(image)
    low, high = np.percentile(values[values > values.min()], (0.5, 99.5))
    gradient = sitk.GetArrayFromImage(gradient_volume(image, 1.0).image)
    middle = tuple(slice(n // 2 - 2, n // 2 + 2) for n in gradient.shape)
    assert gradient[middle] == pytest.approx(np.linalg.norm(slope) / (high - low), rel=0.02)
