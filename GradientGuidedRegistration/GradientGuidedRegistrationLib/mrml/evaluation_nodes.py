"""Dice, ASD, HD95 and landmark errors of nodes, as table and plot nodes and as CSV."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import vtk

from ..errors import InputError
from ..evaluation import csv_of, means_before_and_after, rows_of, target_registration_error
from ..evaluation.overlap import Region, box_around, region_metrics
from .label_grid import LabelGrid
from .points import placed_indices, points_from_markups
from .structures import Match, match_structures, structures_of
from .transaction import all_or_nothing

HEADINGS = {
    "name": "Structure",
    "matched_by": "Matched by",
    "dice_before": "Dice before",
    "dice_after": "Dice after",
    "asd_mm_before": "ASD before (mm)",
    "asd_mm_after": "ASD after (mm)",
    "hd95_mm_before": "HD95 before (mm)",
    "hd95_mm_after": "HD95 after (mm)",
    "fixed_volume_ml": "Volume fixed (ml)",
    "moving_volume_ml": "Volume moving (ml)",
    "warped_volume_ml": "Volume warped (ml)",
}
_TEXT = ("name", "matched_by")


def compare_nodes(
    fixedNode: Any,
    movingNode: Any,
    transform: sitk.Transform,
    reference: sitk.Image,
    matches: Sequence[Match] | None = None,
    *,
    before_registration: bool = True,
) -> dict[str, Any]:
    """Overlap of two segmentations or label maps, in any mix, before and after a registration.

    Args:
        fixedNode, movingNode: nodes of the fixed and of the moving image.
        transform: LPS mm, fixed to moving points (a result's `transform`).
        reference: grid (LPS mm) on which both are compared: the fixed image.
        matches: what belongs together; `match_structures` finds it if None.
        before_registration: leave out the result of an earlier registration that a node is under.

    Returns:
        The value of `evaluation.compare_labels`, one entry a match ("1", "2", …) with "matched_by" in addition.
        Overlapping segments are each compared whole.

    Raises:
        InputError: as `structures_of`, or there is no structure in either node.
    """
    if matches is None:
        matches = match_structures(
            structures_of(fixedNode, before_registration=before_registration),
            structures_of(movingNode, before_registration=before_registration),
        )
    steps = compare_matches(matches, transform, reference)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def compare_matches(
    matches: Sequence[Match], transform: sitk.Transform, reference: sitk.Image
) -> Generator[str, None, dict[str, Any]]:
    """The work of `compare_nodes` structure by structure: yields the name of the next one, returns the figures.

    So that an application can show how far it is and stay alive in between.
    """
    if not matches:
        raise InputError("There is nothing to compare: both segmentations are empty.")
    before, after = LabelGrid(reference), LabelGrid(reference, transform)
    spacing = reference.GetSpacing()
    entries: dict[str, Any] = {}
    for number, match in enumerate(matches, start=1):
        yield match.name
        parts = ((before, match.fixed), (before, match.moving), (after, match.moving))
        box = box_around(grid.box(structure) for grid, structure in parts)
        fixed, *sides = (Region(grid.mask(structure, box), spacing) for grid, structure in parts)
        figures = {when: region_metrics(fixed, side) for when, side in zip(("before", "after"), sides)}
        figures["before"]["moving_volume_ml"] = before.volume_ml(match.moving)
        if match.fixed is None or match.moving is None:  # there is nothing that it could overlap with
            for side in figures.values():
                side["dice"] = None
        entries[str(number)] = {"name": match.name, "matched_by": match.by, **figures}
    return {"labels": entries, "mean": means_before_and_after(entries)}


def table_node_from_comparison(comparison: Mapping[str, Any], name: str, scene: Any) -> Any:
    """A new `vtkMRMLTableNode` with one row a structure and a last one for the mean.

    Figures are numbers, so that they can be sorted and plotted; what is not defined is an empty (NaN) cell.
    """
    entries = list(comparison["labels"].values())
    rows = rows_of(comparison)
    for row, entry in zip(rows, entries):
        row["matched_by"] = entry.get("matched_by", "")
    with all_or_nothing(scene):
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))
        for key, heading in HEADINGS.items():
            values = [row.get(key) for row in rows]
            node.AddColumn(_text_column(heading, values) if key in _TEXT else _number_column(heading, values))
        node.SetUseColumnTitleAsColumnHeader(True)
    return node


def plot_nodes_from_table(tableNode: Any, measure: str, scene: Any) -> Any:
    """A new `vtkMRMLPlotChartNode` with bars before and after, one group a row of the table.

    Args:
        tableNode: made by `table_node_from_comparison`.
        measure: "dice", "asd_mm" or "hd95_mm".
    """
    words = HEADINGS[f"{measure}_after"].replace(" after", "")
    with all_or_nothing(scene):
        chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(words))
        chart.SetTitle(words)
        chart.SetYAxisTitle(words)
        chart.SetXAxisTitle("Structure (point at a bar for its name)")
        chart.SetXAxisRangeAuto(False)  # Slicer numbers the bars from 0 and would go on below that
        chart.SetXAxisRange(-0.7, tableNode.GetNumberOfRows() - 0.3)
        if measure == "dice":  # room above the bars for the legend, but no number above 1 on the axis
            chart.SetYAxisRangeAuto(False)
            chart.SetYAxisRange(0.0, 1.19)
        for when, colour in (("before", (0.42, 0.45, 0.50)), ("after", (0.23, 0.44, 0.71))):
            series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", scene.GenerateUniqueName(f"{words} {when}"))
            series.SetAndObserveTableNodeID(tableNode.GetID())
            series.SetPlotType(series.PlotTypeBar)
            series.SetLabelColumnName(HEADINGS["name"])
            series.SetYColumnName(HEADINGS[f"{measure}_{when}"])
            series.SetColor(*colour)
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return chart


def export_csv(comparison: Mapping[str, Any], path: str | Path) -> Path:
    """Write the comparison as comma-separated text (UTF-8), whole or not at all; returns the path.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(csv_of(rows_of(comparison)), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"The table cannot be written to {path}: {error.strerror}. Choose another folder.") from error
    return path


def landmark_table_node(
    fixedPoints: Any, movingPoints: Any, transform: sitk.Transform, name: str, scene: Any
) -> tuple[Any, np.ndarray]:
    """A new table with the error of each pair of landmarks (mm) before and after registration.

    Args:
        fixedPoints, movingPoints: markups nodes, the n-th point of one belonging to the n-th of the other. Points that
            are not placed in both are left out. Both count where they were before they were put under a result.
        transform: LPS mm, fixed to moving points.

    Returns:
        The table node and the errors (N, 2): before, after.

    Raises:
        InputError: the lists differ in length and it is not clear what belongs together, or there is no pair.
    """
    counts = [node.GetNumberOfControlPoints() for node in (fixedPoints, movingPoints)]
    placed = [placed_indices(node) for node in (fixedPoints, movingPoints)]
    both = sorted(set(placed[0]) & set(placed[1]))
    if not both or (counts[0] != counts[1] and placed[0] != placed[1]):
        raise InputError(
            f"The fixed image has {counts[0]} landmarks and the moving one {counts[1]}, {len(both)} of them placed in "
            "both; as many of each are needed, in the same order."
        )
    fixed, moving = (
        points_from_markups(node, before_registration=True)[[indices.index(index) for index in both]]
        for node, indices in zip((fixedPoints, movingPoints), placed)
    )
    identity = sitk.Transform(3, sitk.sitkIdentity)
    errors = np.stack([target_registration_error(map_, fixed, moving) for map_ in (identity, transform)], axis=1)
    labels = [fixedPoints.GetNthControlPointLabel(index) for index in both]
    with all_or_nothing(scene):
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))
        node.AddColumn(_text_column("Landmark", [*labels, "Mean"]))
        for heading, column in (("Error before (mm)", errors[:, 0]), ("Error after (mm)", errors[:, 1])):
            node.AddColumn(_number_column(heading, [*column, column.mean()]))
        node.SetUseColumnTitleAsColumnHeader(True)
    return node, errors


def _text_column(heading: str, values: Sequence[Any]) -> Any:
    column = vtk.vtkStringArray()
    column.SetName(heading)
    for value in values:
        column.InsertNextValue("" if value is None else str(value))
    return column


def _number_column(heading: str, values: Sequence[Any]) -> Any:
    column = vtk.vtkDoubleArray()
    column.SetName(heading)
    for value in values:
        column.InsertNextValue(float("nan") if value is None else float(value))
    return column
