"""Slicer's slice pipeline draws the same grey values as SimpleITK's sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.evaluation import field_transform
from GradientGuidedRegistrationLib.figures.composition import Contours, Grey, Panel
from GradientGuidedRegistrationLib.figures.render import render_panel
from GradientGuidedRegistrationLib.figures.views import ORIENTATIONS, SliceView
from GradientGuidedRegistrationLib.figures.volumes import Volume
from GradientGuidedRegistrationLib.mrml.slice_pipeline import SlicePipeline, through_slicer


def smooth(image: sitk.Image) -> sitk.Image:
    return sitk.DiscreteGaussian(sitk.Cast(image, sitk.sitkFloat32), 4.0)


def view_of(image: sitk.Image, orientation: str) -> SliceView:
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return SliceView(orientation, tuple(c + s for c, s in zip(centre, (0.6, -1.1, 0.4))), (30.0, 24.0), 0.53)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_within_one_grey_level(scene: Any, geometry: Any, new_image: Any, orientation: str) -> None:
    image = smooth(new_image(geometry))
    volume = Volume(image, window=(20.0, 80.0))
    view = view_of(image, orientation)
    ours, slicers = volume.grey(view), SlicePipeline().grey(volume, view)
    inside = ~np.isnan(volume.slice(view))
    assert inside.sum() > 300 and np.std(ours[inside]) > 6
    # the rim, where one sampler stops half a voxel before the other, aside
    differences = np.abs(ours - slicers)[inside]
    assert np.percentile(differences, 97) <= 1.0
    core = np.zeros_like(inside)
    core[5:-5, 5:-5] = True
    for shift in ((0, 4), (0, -4), (4, 0), (-4, 0)):
        core &= np.roll(inside, shift, (0, 1))
    assert core.sum() > 100 and np.abs(ours - slicers)[core].max() <= 1.0


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_registered_image_within_one_grey_level(
    scene: Any, geometries: Any, new_image: Any, new_field: Any, orientation: str
) -> None:
    """Through the displacement field: SimpleITK's LPS path and the RAS grid transform node agree."""
    image = smooth(new_image(geometries["lps"]))
    transform = field_transform(new_field(geometries["lps"], amplitude=3.0))
    volume = Volume(image, transform, window=(20.0, 80.0))
    still = Volume(image, window=(20.0, 80.0))
    view = view_of(image, orientation).at(view_of(image, orientation).centre, (18.0, 18.0))
    ours, slicers = volume.grey(view), SlicePipeline().grey(volume, view)
    assert np.abs(ours - slicers).max() <= 1.0
    assert np.abs(ours - still.grey(view)).mean() > 5  # the field does something


def test_plugs_into_the_figures(scene: Any, geometries: Any, new_image: Any) -> None:
    image = smooth(new_image(geometries["oblique-anisotropic"]))
    other = smooth(new_image(geometries["oblique-anisotropic"], seed=3))
    volumes = {"a": Volume(image, window=(20.0, 80.0)), "b": Volume(other, window=(0.0, 100.0), within=image)}
    view = view_of(image, "coronal").at(view_of(image, "coronal").centre, (8.0, 8.0))
    nodes = scene.GetNumberOfNodes()
    render = through_slicer(render_panel)
    for key in ("a", "b", "a"):
        panel = Panel("", view, (Grey(key), Contours("a", ((50.0, (255, 0, 0)),))))
        pictures = [paint(panel, volumes).astype(int) for paint in (render_panel, render)]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1
    assert scene.GetNumberOfNodes() == nodes  # the user's scene is left alone
