"""What the slice views show, and how they were before."""

from __future__ import annotations

from typing import Any

import pytest

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.mrml.colours import add_legend
from GradientGuidedRegistrationLib.mrml.images import volume_node_from_image
from GradientGuidedRegistrationLib.mrml.transforms import transform_node_from_field
from GradientGuidedRegistrationLib.mrml.views import (
    THREE_UP_LAYOUT,
    ViewState,
    clear_foreground,
    flicker,
    show_deformation,
    show_in_slices,
    show_outlines,
    slice_composites,
    three_up,
    views_restored,
)


@pytest.fixture
def views(scene: Any, new_slice_view: Any) -> list[Any]:
    """Composite nodes of three slice views, and a layout."""
    made = [new_slice_view(name) for name in ("Red", "Green", "Yellow")]
    layout = scene.CreateNodeByClass("vtkMRMLLayoutNode")
    layout.UnRegister(None)
    layout = scene.AddNode(layout)
    layout.AddLayoutDescription(layout.SlicerLayoutFourUpView, "<layout/>")
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    return made


@pytest.fixture
def volumes(scene: Any, geometries: Any, new_image: Any) -> list[Any]:
    return [volume_node_from_image(new_image(geometries["lps"], seed=n), name, scene)
            for n, name in enumerate(("MR", "CT", "map"))]  # fmt: skip


def test_colour_legends_are_told_what_the_views_show(scene: Any, views: Any, new_image: Any, geometries: Any) -> None:
    """A legend looks whether its volume is in a view when it is itself modified, not when the view is."""
    volume = volume_node_from_image(new_image(geometries["lps"]), "map", scene)
    told: list[str] = []
    add_legend(volume, "mm").AddObserver("ModifiedEvent", lambda *_: told.append(views[0].GetForegroundVolumeID()))
    state = ViewState.capture(scene)
    show_in_slices(scene, foreground=volume)
    clear_foreground(scene)
    show_in_slices(scene, foreground=volume)
    state.restore(scene)
    assert told == [volume.GetID(), None, volume.GetID(), None]


def test_show_and_flicker(scene: Any, views: Any, volumes: Any) -> None:
    fixed, warped, _ = volumes
    show_in_slices(scene, fixed, warped, 0.4)
    for node in views:
        assert node.GetBackgroundVolumeID() == fixed.GetID() and node.GetForegroundVolumeID() == warped.GetID()
        assert node.GetForegroundOpacity() == pytest.approx(0.4) and node.GetLinkedControl()
    assert flicker(scene) is True and all(node.GetForegroundOpacity() == 1 for node in views)
    assert flicker(scene) is False and all(node.GetForegroundOpacity() == 0 for node in views)
    show_in_slices(scene, opacity=7.0)
    assert views[0].GetForegroundOpacity() == 1 and views[0].GetBackgroundVolumeID() == fixed.GetID()
    clear_foreground(scene)
    assert not views[2].GetForegroundVolumeID()


def test_views_come_back_as_they_were(scene: Any, views: Any, volumes: Any) -> None:
    fixed, warped, other = volumes
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    show_in_slices(scene, fixed, warped, 0.3, linked=False)
    views[1].SetForegroundOpacity(0.7)  # each view its own
    views[1].SetBackgroundVolumeID(other.GetID())
    before = layout.GetViewArrangement()
    with pytest.raises(RuntimeError), views_restored(scene):
        three_up(scene)
        show_in_slices(scene, other, fixed, 1.0)
        assert layout.GetViewArrangement() == THREE_UP_LAYOUT
        raise RuntimeError
    assert layout.GetViewArrangement() == before
    assert [node.GetForegroundOpacity() for node in views] == pytest.approx([0.3, 0.7, 0.3])
    assert [node.GetBackgroundVolumeID() for node in views] == [fixed.GetID(), other.GetID(), fixed.GetID()]
    assert not any(node.GetLinkedControl() for node in views)


def test_what_is_gone_is_left_out(scene: Any, views: Any, volumes: Any) -> None:
    fixed, warped, _ = volumes
    show_in_slices(scene, fixed, warped, 0.5)
    state = ViewState.capture(scene)
    scene.RemoveNode(warped)
    scene.RemoveNode(views[2])
    show_in_slices(scene, opacity=0.0)
    state.restore(scene)
    assert views[0].GetBackgroundVolumeID() == fixed.GetID() and not views[0].GetForegroundVolumeID()
    assert views[0].GetForegroundOpacity() == 0.5 and len(slice_composites(scene)) == 2


def test_three_up_twice(scene: Any, views: Any) -> None:
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    three_up(scene)
    three_up(scene)
    assert layout.GetViewArrangement() == THREE_UP_LAYOUT
    assert layout.GetCurrentLayoutDescription().count("vtkMRMLSliceNode") == 3


def test_outlines(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    for name in ("liver", "spleen"):
        node.GetSegmentation().AddEmptySegment(name, name)
    show_outlines(node, (1.0, 0.5, 0.0), width=3)
    display = node.GetDisplayNode()
    assert display.GetVisibility2DOutline() and not display.GetVisibility2DFill()
    assert display.GetSliceIntersectionThickness() == 3
    for name in ("liver", "spleen"):
        assert tuple(display.GetSegmentOverrideColor(name)) == pytest.approx((1.0, 0.5, 0.0))


def test_deformation_on_slices(scene: Any, geometries: Any, new_field: Any, volumes: Any) -> None:
    node = transform_node_from_field(new_field(geometries["oblique-anisotropic"]), "field", scene)
    display = show_deformation(node, "grid", 12.0, volumes[0])
    assert display.GetVisibility2D() and display.GetVisualizationMode() == display.VIS_MODE_GRID
    assert display.GetGridSpacingMm() == 12.0 and display.GetRegionNode() is volumes[0]
    assert show_deformation(node, "glyphs", 8.0) is display and display.GetGlyphSpacingMm() == 8.0
    assert display.GetVisualizationMode() == display.VIS_MODE_GLYPH
    assert not show_deformation(node, "off").GetVisibility2D()
    with pytest.raises(InputError, match="Unknown mode"):
        show_deformation(node, "fire")
