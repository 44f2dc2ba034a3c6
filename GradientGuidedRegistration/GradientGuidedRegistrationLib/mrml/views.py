"""What the slice views show: two images faded or flickering, outlines, the deformation; and how it was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .scene_nodes import nodes_of_class

_SLOTS = ("Background", "Foreground", "Label")
_MARKS = tuple(f"gradientGuidedRegistration{slot}Before" for slot in _SLOTS)  # references of a slice view to volumes
_OPACITY_MARK = "GradientGuidedRegistration.OpacityBefore"
THREE_UP_LAYOUT = 8701  # above Slicer's own numbers
_THREE_UP = (
    '<layout type="horizontal" split="true">'
    + "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}"><property name="orientation" action="default">'
        f'{orientation}</property><property name="viewlabel" action="default">{name[0]}</property>'
        f'<property name="viewcolor" action="default">{colour}</property></view></item>'
        for name, orientation, colour in (
            ("Red", "Axial", "#F34A33"), ("Green", "Coronal", "#6EB04B"), ("Yellow", "Sagittal", "#EDD54C")
        )
    )
    + "</layout>"
)  # fmt: skip


def slice_composites(scene: Any) -> list[Any]:
    """The `vtkMRMLSliceCompositeNode`s of the scene, one a slice view."""
    return nodes_of_class(scene, "vtkMRMLSliceCompositeNode")


def show_in_slices(
    scene: Any, background: Any = None, foreground: Any = None, opacity: float | None = None, linked: bool = True
) -> None:
    """Show volumes in all slice views; what is None stays as it is.

    Args:
        background, foreground: volume nodes.
        opacity: of the foreground, 0 to 1.
        linked: zoom, move and scroll all slice views together.
    """
    for composite in slice_composites(scene):
        composite.SetLinkedControl(linked)
        if background is not None:
            composite.SetBackgroundVolumeID(background.GetID())
        if foreground is not None:
            composite.SetForegroundVolumeID(foreground.GetID())
        if opacity is not None:
            composite.SetForegroundOpacity(min(max(float(opacity), 0.0), 1.0))
    _update_legends(scene)


def clear_foreground(scene: Any) -> None:
    """Show the background alone."""
    for composite in slice_composites(scene):
        composite.SetForegroundVolumeID(None)
    _update_legends(scene)


def flicker(scene: Any) -> bool:
    """Swap foreground and background: fully one, then fully the other. Call it from a timer.

    Returns:
        Whether the foreground is shown now.
    """
    composites = slice_composites(scene)
    shown = not any(composite.GetForegroundOpacity() > 0.5 for composite in composites)
    for composite in composites:
        composite.SetForegroundOpacity(1.0 if shown else 0.0)
    return shown


def show_outlines(segmentationNode: Any, colour: tuple[float, float, float] | None = None, width: int = 2) -> None:
    """Show a segmentation as lines, without fill; `colour` (0 to 1) for all its segments, None keeps their own.

    With a colour for each image, outlines of the same structure in both can be told apart.
    """
    segmentationNode.CreateDefaultDisplayNodes()
    display = segmentationNode.GetDisplayNode()
    display.SetVisibility(True)
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    display.SetSliceIntersectionThickness(width)
    if colour is None:
        return
    segmentation = segmentationNode.GetSegmentation()
    for index in range(segmentation.GetNumberOfSegments()):
        display.SetSegmentOverrideColor(segmentation.GetNthSegmentID(index), *colour)


def show_deformation(transformNode: Any, mode: str = "grid", spacing_mm: float = 10.0, regionNode: Any = None) -> Any:
    """Draw the deformation in the slice views as a warped "grid" or as "glyphs" (arrows); "off" hides it.

    Args:
        spacing_mm: between grid lines or arrows.
        regionNode: volume node within which it is drawn: the fixed image. Without one, Slicer draws nothing in 3-D and
            the slice's own extent in 2-D.

    Returns:
        The transform's display node.

    Raises:
        InputError: an unknown mode.
    """
    transformNode.CreateDefaultDisplayNodes()
    display = transformNode.GetDisplayNode()
    if mode not in ("grid", "glyphs", "off"):
        raise InputError(f"Unknown mode {mode!r}; choose grid, glyphs or off.")
    shown = mode != "off"
    display.SetVisibility(shown)
    display.SetVisibility2D(shown)
    display.SetVisibility3D(False)
    if mode == "grid":
        display.SetVisualizationMode(display.VIS_MODE_GRID)
        display.SetGridSpacingMm(spacing_mm)
        display.SetGridResolutionMm(min(2.5, spacing_mm / 4))
        display.SetGridShowNonWarped(False)
    elif mode == "glyphs":
        display.SetVisualizationMode(display.VIS_MODE_GLYPH)
        display.SetGlyphType(display.GLYPH_TYPE_ARROW)
        display.SetGlyphSpacingMm(spacing_mm)
        display.SetGlyphScalePercent(100.0)
    if regionNode is not None:
        display.SetAndObserveRegionNode(regionNode)
    return display


@dataclass
class ViewState:
    """What the slice views showed at one moment, so that it can be brought back.

    Nodes are remembered by id; those that are gone when the state is restored are left out.
    """

    layout: int | None = None
    composites: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def capture(cls, scene: Any) -> ViewState:
        """Remember what the slice views of a scene show, and their layout."""
        layouts = nodes_of_class(scene, "vtkMRMLLayoutNode")
        return cls(
            layouts[0].GetViewArrangement() if layouts else None,
            {
                node.GetID(): {
                    "background": node.GetBackgroundVolumeID(),
                    "foreground": node.GetForegroundVolumeID(),
                    "label": node.GetLabelVolumeID(),
                    "opacity": node.GetForegroundOpacity(),
                    "linked": bool(node.GetLinkedControl()),
                }
                for node in slice_composites(scene)
            },
        )

    def restore(self, scene: Any) -> None:
        """Show it again."""
        for node in slice_composites(scene):
            state = self.composites.get(node.GetID())
            if state is None:
                continue
            # unlinked first: a linked view would hand each change on to the others
            node.SetLinkedControl(False)
            node.SetBackgroundVolumeID(_present(scene, state["background"]))
            node.SetForegroundVolumeID(_present(scene, state["foreground"]))
            node.SetLabelVolumeID(_present(scene, state["label"]))
            node.SetForegroundOpacity(state["opacity"])
        _update_legends(scene)
        self.restore_layout(scene)

    def restore_layout(self, scene: Any) -> None:
        """The layout and which views are linked, not what they show."""
        for node in slice_composites(scene):
            if node.GetID() in self.composites:
                node.SetLinkedControl(self.composites[node.GetID()]["linked"])
        layouts = nodes_of_class(scene, "vtkMRMLLayoutNode")
        if layouts and self.layout is not None:
            layouts[0].SetViewArrangement(self.layout)

    def leave_marks(self, scene: Any) -> None:
        """Let a scene that is saved while something else is shown know this state, for `restore_opened`."""
        for node in slice_composites(scene):
            state = self.composites.get(node.GetID())
            if state is not None:
                for slot, mark in zip(_SLOTS, _MARKS):
                    node.SetNodeReferenceID(mark, _present(scene, state[slot.lower()]))
                node.SetAttribute(_OPACITY_MARK, repr(state["opacity"]))


def remove_marks(scene: Any) -> None:
    """Take away what `ViewState.leave_marks` left."""
    for node in slice_composites(scene):
        for mark in _MARKS:
            node.SetNodeReferenceID(mark, None)
        node.RemoveAttribute(_OPACITY_MARK)


def restore_opened(scene: Any) -> None:
    """After a scene was opened that was saved with a look at a result: show what was shown before that look.

    The volumes of a look are not saved. Views that show one now, a look of this session, are left as they are.
    """
    marked = [node for node in slice_composites(scene) if any(map(node.GetNodeReference, _MARKS))]
    for node in marked:
        shown = [scene.GetNodeByID(getattr(node, f"Get{slot}VolumeID")() or "") for slot in _SLOTS]
        if any(volume is not None and not volume.GetSaveWithScene() for volume in shown):
            return
    for node in marked:
        for slot, mark in zip(_SLOTS, _MARKS):
            getattr(node, f"Set{slot}VolumeID")(node.GetNodeReferenceID(mark))
        node.SetForegroundOpacity(float(node.GetAttribute(_OPACITY_MARK) or 1))
    remove_marks(scene)


@contextmanager
def views_restored(scene: Any) -> Iterator[None]:
    """Whatever the block shows, the views are as they were afterwards."""
    state = ViewState.capture(scene)
    try:
        yield
    finally:
        state.restore(scene)


def three_up(scene: Any) -> None:
    """Axial, coronal and sagittal view side by side; a `ViewState` captured before brings the old layout back."""
    register_layout(scene)
    for layout in nodes_of_class(scene, "vtkMRMLLayoutNode")[:1]:
        layout.SetViewArrangement(THREE_UP_LAYOUT)


def register_layout(scene: Any) -> None:
    """Let the application know the layout of `three_up`: a saved scene tells the number of its layout and no more."""
    for layout in nodes_of_class(scene, "vtkMRMLLayoutNode")[:1]:
        if not layout.IsLayoutDescription(THREE_UP_LAYOUT):
            layout.AddLayoutDescription(THREE_UP_LAYOUT, _THREE_UP)


def _update_legends(scene: Any) -> None:
    """Slicer's colour legends do not notice by themselves that their volume has come into a view or gone from it."""
    for legend in nodes_of_class(scene, "vtkMRMLColorLegendDisplayNode"):
        legend.Modified()


def _present(scene: Any, node_id: str | None) -> str | None:
    return node_id if node_id and scene.GetNodeByID(node_id) is not None else None
