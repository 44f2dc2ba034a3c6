"""Looking at one registration in the slice views: each way of looking is one call, and all of it can be undone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..errors import InputError
from ..registration.result import Result
from .colours import save_if_used
from .evaluation_nodes import (
    compare_matches,
    compare_nodes,
    landmark_table_node,
    plot_nodes_from_table,
    table_node_from_comparison,
)
from .images import image_from_node, volume_node_from_image
from .maps import disagreement_node, expected_error_node, gradient_map_node, jacobian_node, mixed_node
from .outlines import FIXED_COLOUR, MOVING_COLOUR, outline_node
from .structures import Match, match_structures, structures_of
from .transaction import all_or_nothing, remove_node
from .transforms import transform_node_from_field
from .views import (
    ViewState,
    clear_foreground,
    flicker,
    remove_marks,
    show_deformation,
    show_in_slices,
    three_up,
)

GRADIENT_MAPS = ("fixed", "before", "after")
MEASURES = ("dice", "asd_mm", "hd95_mm")


class Comparison(NamedTuple):
    """Overlap of two segmentations: the figures, their table node, and chart nodes for Dice, ASD and HD95."""

    figures: dict[str, Any]
    table: Any
    charts: tuple[Any, Any, Any]


class Review:
    """Shows one result; makes the volumes it needs when they are first asked for.

    Tables and charts are the user's; the volumes are taken out of the scene again by `close`.

    Args:
        result: of the registration of the two nodes.
        fixedNode, movingNode: volume nodes; the moving one may be under the result or not.
        scene: whose slice views are used.
    """

    def __init__(self, result: Result, fixedNode: Any, movingNode: Any, scene: Any) -> None:
        self.result, self.fixedNode, self.movingNode, self.scene = result, fixedNode, movingNode, scene
        self._before = ViewState.capture(scene)
        self._before.leave_marks(scene)
        self._made: dict[Any, str] = {}

    @property
    def made(self) -> list[str]:
        """The IDs of the nodes that were made for looking; some may be gone again."""
        return list(self._made.values())

    def fade(self, opacity: float = 0.5) -> None:
        """The registered moving image over the fixed one."""
        show_in_slices(self.scene, self.fixedNode, self.warped(), opacity)

    def flicker(self) -> bool:
        """Swap the two images; True if the moving one is shown now."""
        show_in_slices(self.scene, self.fixedNode, self.warped())
        return flicker(self.scene)

    def checkerboard(self, tile_mm: float = 25.0) -> Any:
        """Squares of the two images in turn, in one volume node, which is returned."""
        return self._mixed("checkerboard", tile_mm=tile_mm)

    def split(self, axis: int = 0, share: float = 0.5) -> Any:
        """One image on either side of a plane, in one volume node, which is returned; `axis` as for `maps.split`."""
        return self._mixed("split", axis=axis, share=share)

    def gradient_map(self, which: str = "after", opacity: float = 0.6) -> Any:
        """A gradient map in colour over the fixed image; returns its volume node.

        Args:
            which: of the "fixed" image, or of the moving one "before" or "after" registration.
        """
        if which not in GRADIENT_MAPS:
            raise InputError(f"Unknown gradient map '{which}'; choose one of {', '.join(GRADIENT_MAPS)}.")

        def make() -> Any:
            spacing = self.result.field.GetSpacing()[0]
            if which == "fixed":
                return gradient_map_node(self.fixedNode, self.scene, spacing=spacing)
            options: dict[str, Any] = {}
            if which == "after":
                options = {"transform": self.result.transform, "reference": image_from_node(self.fixedNode)}
            name = f"{self.movingNode.GetName()} gradient map, {which}"
            return gradient_map_node(
                self.movingNode, self.scene, name=name, spacing=spacing, before_registration=True, **options
            )

        return self._over(("gradient", which), make, opacity)

    def jacobian(self, opacity: float = 0.6) -> Any:
        """The Jacobian determinant over the fixed image, folding in yellow; returns its volume node."""

        def make() -> Any:
            within = image_from_node(self.fixedNode)
            return jacobian_node(self.result.field, "Jacobian determinant", self.scene, within)

        return self._over("jacobian", make, opacity)

    def disagreement(self, opacity: float = 0.6) -> Any:
        """The distance (mm) between the branches' fields over the fixed image; returns its volume node.

        Raises:
            InputError: the result has no two branches.
        """
        image_field, gradient_field = self.result.image_field, self.result.gradient_field
        if image_field is None or gradient_field is None:
            raise InputError("This result comes without a dual-branch network; there is no disagreement to show.")
        return self._over(
            "disagreement",
            lambda: disagreement_node(image_field, gradient_field, "Disagreement of the branches", self.scene),
            opacity,
        )

    def expected_error(self, opacity: float = 0.6) -> Any:
        """The error (mm) that the result expects of itself over the fixed image; returns its volume node.

        Raises:
            InputError: the result says nothing about its error.
        """
        image = self.result.expected_error
        if image is None:
            raise InputError("This result comes without an estimate of its error.")
        return self._over("expected error", lambda: expected_error_node(image, "Expected error", self.scene), opacity)

    def deformation(self, mode: str) -> None:
        """Draw the deformation over the fixed image as a warped "grid" or as "glyphs"; "off" takes it away."""

        def make() -> Any:
            node = transform_node_from_field(self.result.field, "Deformation", self.scene)
            node.CreateDefaultDisplayNodes()
            return node

        if mode != "off" or "deformation" in self._made:
            show_deformation(self._node("deformation", make), mode, regionNode=self.fixedNode)

    def outlines(self, fixedLabelsNode: Any, movingLabelsNode: Any) -> tuple[Any, Any]:
        """Draw the outlines of both images' structures, the moving ones registered; returns their nodes."""
        reference = image_from_node(self.fixedNode)
        identity = sitk.Transform(3, sitk.sitkIdentity)
        sides = (
            (fixedLabelsNode, identity, FIXED_COLOUR),
            (movingLabelsNode, self.result.transform, MOVING_COLOUR),
        )
        self.hide_outlines()
        nodes = tuple(
            _for_looking(outline_node(labels, transform, reference, f"{labels.GetName()} outlines", colour, self.scene))
            for labels, transform, colour in sides
        )
        self._made.update({("outlines", side): node.GetID() for side, node in enumerate(nodes)})
        return nodes

    def hide_outlines(self) -> None:
        """Take the outlines away."""
        for side in (0, 1):
            self._remove(self._made.pop(("outlines", side), None))

    def three_up(self) -> None:
        """Axial, coronal and sagittal view side by side, linked; `restore_layout` goes back."""
        three_up(self.scene)
        show_in_slices(self.scene)

    def restore_layout(self) -> None:
        """The layout and the linking of the views that there were when the review began."""
        self._before.restore_layout(self.scene)

    def landmarks(self, fixedPointsNode: Any, movingPointsNode: Any) -> tuple[Any, np.ndarray]:
        """The error (mm) of pairs of landmarks before and after, as for `landmark_table_node`."""
        name = f"{self.movingNode.GetName()} landmark errors"
        return landmark_table_node(fixedPointsNode, movingPointsNode, self.result.transform, name, self.scene)

    def compare_matches(self, matches: list[Match]) -> Generator[str, None, Comparison]:
        """The work of `compare` structure by structure: yields the name of the next one, returns the comparison."""
        figures = yield from compare_matches(matches, self.result.transform, image_from_node(self.fixedNode))
        return self._tabulated(figures)

    def compare(
        self, fixedSegmentationNode: Any, movingSegmentationNode: Any, by_hand: dict[str, str | None] | None = None
    ) -> Comparison:
        """Dice, ASD, HD95 and volumes before and after, as nodes; `by_hand` as for `match_structures`."""
        matches = match_structures(
            structures_of(fixedSegmentationNode, before_registration=True),
            structures_of(movingSegmentationNode, before_registration=True),
            by_hand,
        )
        figures = compare_nodes(
            fixedSegmentationNode,
            movingSegmentationNode,
            self.result.transform,
            image_from_node(self.fixedNode),
            matches,
        )
        return self._tabulated(figures)

    def warped(self) -> Any:
        """The registered moving image on the grid of the fixed one, as a volume node."""

        def make() -> Any:
            fixed = image_from_node(self.fixedNode)
            image = self.result.warp(image_from_node(self.movingNode, before_registration=True), fixed)
            name = f"{self.movingNode.GetName()} on {self.fixedNode.GetName()}, review"
            return volume_node_from_image(image, name, self.scene, display_like=self.movingNode)

        return self._node("warped", make)

    def close(self) -> None:
        """Take all that the review made for looking out of the scene and show what was shown before."""
        for node_id in self._made.values():
            self._remove(node_id)
        self._made.clear()
        self._before.restore(self.scene)
        remove_marks(self.scene)

    def _remove(self, node_id: str | None) -> None:
        node = self.scene.GetNodeByID(node_id) if node_id is not None else None
        if node is not None:
            remove_node(node, self.scene)

    def _tabulated(self, figures: dict[str, Any]) -> Comparison:
        with all_or_nothing(self.scene):
            table = table_node_from_comparison(figures, f"{self.movingNode.GetName()} overlap", self.scene)
            charts = tuple(plot_nodes_from_table(table, measure, self.scene) for measure in MEASURES)
        return Comparison(figures, table, charts)

    def _node(self, key: Any, make: Callable[[], Any]) -> Any:
        node = self.scene.GetNodeByID(self._made[key]) if key in self._made else None
        if node is None:  # never made, or the user removed it
            node = _for_looking(make())
            self._made[key] = node.GetID()
        return node

    def _mixed(self, kind: str, **options: Any) -> Any:
        """Show a mixture alone; one of the same kind with other options gives way to it."""
        key = (kind, *options.values())
        for other in [other for other in self._made if isinstance(other, tuple) and other[0] == kind and other != key]:
            self._remove(self._made.pop(other))
        node = self._node(key, lambda: mixed_node(kind, self.fixedNode, self.warped(), self.scene, **options))
        clear_foreground(self.scene)
        show_in_slices(self.scene, node)
        return node

    def _over(self, key: Any, make: Callable[[], Any], opacity: float) -> Any:
        node = self._node(key, make)
        show_in_slices(self.scene, self.fixedNode, node, opacity)
        return node


def _for_looking(node: Any) -> Any:
    """Keep a node that the review made out of saved scenes and, where no slice view has to list it, out of lists."""
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    for one in (node, *displays):
        one.SaveWithSceneOff()
    for colour in [display.GetColorNode() for display in displays]:
        if colour is not None and colour.GetSaveWithScene():  # those of Slicer itself are not saved anyway
            save_if_used(colour, node.GetScene())
    if not node.IsA("vtkMRMLVolumeNode"):
        node.HideFromEditorsOn()
    _leave_tree(node)
    return node


def _leave_tree(node: Any) -> None:
    """Take a node out of the Data module: its entries would be saved with the scene, without anything in them."""
    tree = node.GetScene().GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = tree.GetItemByDataNode(node) if tree is not None else 0
    if not item:
        return
    children = vtk.vtkIdList()
    tree.GetItemChildren(item, children)
    for index in range(children.GetNumberOfIds()):  # or Slicer removes the segments with their entries
        tree.RemoveItemAttribute(children.GetId(index), slicer.vtkMRMLSegmentationNode.GetSegmentIDAttributeName())
    tree.RemoveItem(item, False, True)
