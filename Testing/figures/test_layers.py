"""Lines, maps and marks lie where the data say."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from cases import CENTRE, GEOMETRIES, distance, make_image

from GradientGuidedRegistrationLib.evaluation import jacobian_determinant, worst_boundary
from GradientGuidedRegistrationLib.figures import composition as c
from GradientGuidedRegistrationLib.figures.case import body_mask, describe_case
from GradientGuidedRegistrationLib.figures.render import render_panel
from GradientGuidedRegistrationLib.figures.views import ORIENTATIONS, SliceView
from GradientGuidedRegistrationLib.figures.volumes import Volume

RED = (255, 0, 0)


def view_of(orientation="axial", pixel_mm=0.5):
    return SliceView(orientation, tuple(CENTRE.tolist()), (70.0, 60.0), pixel_mm)


def lines_of(layer, volumes, view):
    """Distance (mm) from CENTRE of the pixels that the layer paints clearly."""
    picture = render_panel(c.Panel("", view, (layer,)), volumes)
    return np.linalg.norm(view.points() - CENTRE, axis=-1)[picture[..., 0] > 140]


@pytest.mark.parametrize("geometry", ["straight", "oblique", "left-handed"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_outline_and_contour_run_along_the_border(geometry, orientation):
    view = view_of(orientation)
    body = Volume(make_image(lambda p: 20 - distance(p), geometry))
    radii = lines_of(c.Contours("body", ((0.0, RED),), smooth_mm=0.5), {"body": body}, view)
    assert len(radii) > 150 and abs(np.median(radii) - 20) < 0.5
    assert np.percentile(np.abs(radii - 20), 95) < 1.5
    label = Volume(make_image(lambda p: 3 * (distance(p) < 20), geometry, kind=np.uint8), nearest=True)
    radii = lines_of(c.Outline("label", 3, RED), {"label": label}, view)
    assert len(radii) > 150 and abs(np.median(radii) - 20) < 1.0
    assert np.abs(radii - 20).max() < max(GEOMETRIES[geometry][1]) + 1
    assert len(lines_of(c.Outline("label", 4, RED), {"label": label}, view)) == 0


def test_edges_run_along_the_border():
    step = Volume(make_image(lambda p: 300.0 * (distance(p) < 20)), window=(0.0, 300.0))
    radii = lines_of(c.Edges("step", RED), {"step": step}, view_of())
    assert len(radii) > 100 and np.percentile(np.abs(radii - 20), 90) < 1.5


@pytest.mark.parametrize("geometry", ["straight", "oblique"])
def test_warped_grid_shows_where_the_moving_grid_lands(geometry):
    """Pure translation by 3 mm towards L: planes x = 10 k of the moving image are drawn at x = 10 k - 3."""
    field = make_image(lambda p: np.broadcast_to([3.0, 0, 0], p.shape), geometry, extent=140)
    view = view_of()
    picture = render_panel(c.Panel("", view, (c.WarpedGrid("field", 10.0, RED),)), {"field": Volume(field)})
    columns = np.nonzero((picture[..., 0] > 100).mean(axis=0) > 0.9)[0]
    x = view.points()[0, columns, 0] + 3
    assert len(columns) >= 6 and np.abs(x - 10 * np.round(x / 10)).max() < 0.6


def test_folding_is_marked_and_only_folding():
    def fold(points):
        vectors = np.zeros(points.shape)
        x = points[..., 0] - CENTRE[0]
        vectors[..., 0] = np.where(np.abs(x) < 6, -1.8 * x, -1.8 * 6 * np.sign(x))
        return vectors

    jacobian = jacobian_determinant(make_image(fold, extent=90))
    layers = (c.ColourMap("j", "diverging", (0.5, 2.0), 0.8, fade=True, logarithmic=True), c.Marks("j", 0.0, RED))
    view = view_of()
    picture = render_panel(c.Panel("", view, layers), {"j": Volume(jacobian, nearest=True)})
    marked = (picture == RED).all(axis=-1)
    x = view.points()[..., 0] - CENTRE[0]
    assert marked[np.abs(x) < 4].all() and not marked[np.abs(x) > 8].any()
    assert (picture[np.abs(x) > 10] == 0).all()  # volume kept: no colour


def test_colour_map_has_the_colour_bars_colours():
    ramp = Volume(make_image(lambda p: (p[..., 0] - CENTRE[0] + 30) / 60))
    view = view_of()
    picture = render_panel(c.Panel("", view, (c.ColourMap("r", "grey", (0.0, 1.0), 1.0),)), {"r": ramp})
    expected = np.clip((view.points()[..., 0] - CENTRE[0] + 30) / 60, 0, 1) * 255
    assert np.abs(picture[..., 1] - expected).max() <= 1


def test_colours_stay_inside_the_body():
    full = Volume(make_image(lambda p: np.ones(p.shape[:-1])))
    body = Volume(make_image(lambda p: distance(p) < 20, kind=np.uint8))
    layer = c.ColourMap("full", "heat", (0.0, 1.0), 1.0, inside="body")
    radii = lines_of(layer, {"full": full, "body": body}, view_of())
    assert 19 < radii.max() < 22 and len(radii) > 0.95 * np.pi * (20 / 0.5) ** 2


@pytest.mark.parametrize("geometry", ["straight", "oblique", "anisotropic"])
def test_body_holds_the_gas_in_it_but_not_the_air_around(geometry):
    """A body of 30 mm radius with a gas bubble inside, and gas in a channel that leaves the image."""

    def patient(points):
        channel = np.linalg.norm((points - CENTRE)[..., :2] - (14, 0), axis=-1) < 5
        gas = (distance(points) < 10) | channel
        return np.where(np.linalg.norm((points - CENTRE)[..., :2], axis=-1) < 30, np.where(gas, -900, 40), -1000)

    mask = body_mask(make_image(patient, geometry, kind=np.int16))
    volume = Volume(mask, nearest=True)
    view = SliceView("axial", tuple(CENTRE.tolist()), (70.0, 70.0), 1.0)
    radius = np.linalg.norm((view.points() - CENTRE)[..., :2], axis=-1)
    inside = np.nan_to_num(volume.slice(view)) > 0.5
    assert inside[radius < 26].mean() > 0.97 and inside[(radius > 35)].mean() < 0.02


def test_contours_of_a_small_specimen_are_not_smoothed_away():
    """Bone of 0.4 mm with a hole, in voxels of 0.02 mm."""
    r = np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0) * 0.02
    ct = sitk.GetImageFromArray(np.where((r < 0.2) & (r > 0.07), 700, -1000).astype(np.int16))
    ct.SetSpacing((0.02,) * 3)
    mr = sitk.GetImageFromArray(np.where(r < 0.2, np.where(r < 0.05, 50.0, 300.0), 0.0).astype(np.float32))
    mr.SetSpacing((0.02,) * 3)
    for moving in (ct, mr):
        field = sitk.Image(mr.GetSize(), sitk.sitkVectorFloat32, 3)
        field.CopyInformation(mr)
        result = SimpleNamespace(field=field, linear=None, image_field=None, gradient_field=None, expected_error=None)
        volumes, pages = describe_case(result, mr, moving)
        view, lines = pages[1].rows[0][1].view, pages[1].rows[0][1].layers[1]
        assert lines.smooth_mm < 0.04 and max(pages[2].rows[0][0].view.size_mm) < 0.3
        drawn = render_panel(c.Panel("", view, (lines,)), volumes).max(axis=-1) > 100
        radii = np.linalg.norm(view.points() - 11.5 * 0.02, axis=-1)[drawn]
        off = np.minimum(np.abs(radii - 0.2), np.abs(radii - 0.07))
        assert len(radii) > 200 and np.percentile(off, 90) < 0.03


def test_the_body_in_tiny_voxels_takes_no_time():
    image = sitk.Image((40, 40, 40), sitk.sitkInt16) - 1000
    image[10:30, 10:30, 10:30] = 40
    image.SetSpacing((0.04,) * 3)
    started = time.perf_counter()
    assert sitk.GetArrayFromImage(body_mask(image)).sum() == 20**3
    assert time.perf_counter() - started < 5


def test_checkerboard_and_fusion_take_both_images():
    bright, dark = (Volume(make_image(lambda p, v=value: np.full(p.shape[:-1], v))) for value in (1.0, 0.0))
    view, volumes = view_of(), {"a": bright, "b": dark}
    picture = render_panel(c.Panel("", view, (c.Checker("a", "b", 10.0),)), volumes)[..., 0]
    assert picture[0, 0] == 255 and picture[0, 25] == 0 and picture[25, 0] == 0 and picture[25, 25] == 255
    fused = render_panel(c.Panel("", view, (c.Fusion("a", "a"),)), volumes)
    assert (fused == 255).all()  # both bright: white
    only = render_panel(c.Panel("", view, (c.Fusion("a", "b"),)), volumes)
    assert only[0, 0, 0] > 200 and only[0, 0, 1] < 100


def test_ring_and_frame():
    view = view_of()
    point = tuple((CENTRE + (10, -5, 0)).tolist())
    radii = lines_of(c.Ring(tuple(CENTRE.tolist()), 12.0, RED), {}, view)
    assert np.abs(radii - 12).max() < 1.0
    inner = view.at(point, (20.0, 10.0))
    picture = render_panel(c.Panel("", view, (c.Frame(inner, RED),)), {})
    rows, columns = np.nonzero(picture[..., 0])
    points = view.points()[rows, columns] - CENTRE
    assert points[:, 0].min() == pytest.approx(0, abs=1) and points[:, 0].max() == pytest.approx(20, abs=1)
    assert points[:, 1].min() == pytest.approx(-10, abs=1) and points[:, 1].max() == pytest.approx(0, abs=1)


@pytest.mark.parametrize("geometry", ["straight", "oblique"])
def test_worst_boundary_is_found(geometry):
    """A bump towards A that only the fixed label has."""
    bump = np.array([0, -24.0, 0])
    fixed = make_image(lambda p: (distance(p) < 20) | (distance(p, bump) < 7), geometry, kind=np.uint8)
    moving = make_image(lambda p: distance(p) < 20, geometry, kind=np.uint8)
    worst = worst_boundary(fixed, moving)
    assert worst.label == 1
    assert np.linalg.norm(np.array(worst.point) - CENTRE - (0, -31, 0)) < 4.5
    assert worst.distance_mm == pytest.approx(11, abs=2.5)
    assert worst_boundary(fixed, sitk.Image(fixed) * 0) is None


def test_the_images_edge_is_not_the_worst_boundary():
    """A structure that the edge cuts in one image and not in the other, and a real error of 3 mm elsewhere."""
    fixed, moving = np.zeros((2, 30, 30, 30), np.uint8)
    fixed[10:20, 10:20, 10:20] = moving[10:20, 10:20, 10:23] = 1
    fixed[0, 0, 0:2] = 1
    worst = worst_boundary(*(sitk.GetImageFromArray(array) for array in (fixed, moving)))
    assert worst.distance_mm == pytest.approx(3.0) and worst.point[0] == pytest.approx(19.5)
    touching = np.zeros((5, 5, 5), np.uint8)
    touching[0] = 1
    assert worst_boundary(sitk.GetImageFromArray(touching), sitk.GetImageFromArray(touching)) is None
