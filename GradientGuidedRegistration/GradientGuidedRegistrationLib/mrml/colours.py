"""Colour nodes of the maps that this extension shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from ..evaluation.colour_tables import apply_table
from .scene_nodes import nodes_of_class

ENTRIES = 256
FOLDING = (1.0, 1.0, 0.0)
JACOBIAN_RANGE = (-1.0, 3.0)  # values at the ends of the Jacobian's table; volume is kept at its middle


_NAMES = {"gradient": "Gradient colours", "distance": "Distance colours", "jacobian": "Volume change colours"}


def register_colours(scene: Any) -> None:
    """Make all colour tables, as Slicer makes its own when it starts: a saved copy of a map finds its table again."""
    for kind in _NAMES:
        colour_node(kind, scene)


def colour_node(kind: str, scene: Any) -> Any:
    """The colour table of a kind of map: "gradient", "distance" or "jacobian"; made once a scene."""
    tag = f"GradientGuidedRegistration.{kind}"
    node = scene.GetSingletonNode(tag, "vtkMRMLColorTableNode")
    if node is not None:
        return node
    node = scene.CreateNodeByClass("vtkMRMLColorTableNode")
    node.UnRegister(None)
    node.SetName(_NAMES[kind])
    node.SetSingletonTag(tag)
    node.SetAttribute("Category", "Gradient-Guided Registration")
    node.SaveWithSceneOff()
    node.SetTypeToUser()
    node.SetNumberOfColors(ENTRIES)
    for index, (colour, words) in enumerate(_jacobian_colours() if kind == "jacobian" else _heat_colours()):
        node.SetColor(index, words, *colour)
    return scene.AddNode(node)


def save_if_used(colour: Any, scene: Any) -> None:
    """Save a colour table with the scene only if something that is saved shows its colours."""
    displays = nodes_of_class(scene, "vtkMRMLDisplayNode")
    colour.SetSaveWithScene(any(node.GetSaveWithScene() and node.GetColorNode() is colour for node in displays))


def add_legend(volume_node: Any, title: str) -> Any:
    """The colour bar of a map, with its title, in every slice view that shows the map; returns its display node."""
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(volume_node)
    legend.SetTitleText(title)
    legend.SetLabelFormat("%.3g")
    legend.SetMaxNumberOfColors(ENTRIES)
    legend.SetNumberOfLabels(5)
    legend.SetSize(0.09, 0.35)  # of the view's width and height; the words are as large as that allows
    legend.SetPosition(0.97, 0.5)
    return legend


def _heat_colours() -> list[tuple[tuple[float, ...], str]]:
    shares = np.linspace(0, 1, ENTRIES)
    return [
        (tuple(colour), f"{100 * share:.0f} %") for colour, share in zip(apply_table("heat", shares) / 255.0, shares)
    ]


def _jacobian_colours() -> list[tuple[tuple[float, ...], str]]:
    """Blue below 1, red above, on a logarithmic scale from 0.5 to 2; yellow where the field folds."""
    values = np.linspace(*JACOBIAN_RANGE, ENTRIES)
    half = (values[1] - values[0]) / 2  # the entry that 0 falls into counts as folding
    position = np.log2(np.clip(values, 0.5, 2.0)) / 2 + 0.5
    colours = apply_table("diverging", position) / 255.0
    return [
        (FOLDING, "folding") if value - half <= 0 else (tuple(colour), f"{value:.2f}")
        for colour, value in zip(colours, values)
    ]
