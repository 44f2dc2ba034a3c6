"""Between Slicer's nodes and SimpleITK images: the only room that knows RAS (nodes) from LPS (everything else).

Everything that comes out of here as an image, point or transform is in world coordinates, LPS mm, with the linear
parent transforms of its node applied. Everything that goes in becomes a node without a parent transform, and the scene
gains all nodes of a call or none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .images import image_from_node, volume_node_from_image
    from .labels import carry_labels, labels_from_node, segment_names
    from .modality import modality, recognize_pair
    from .outputs import apply_to, is_registered, move_into, set_registered
    from .points import carry_points, markups_from_points, points_from_markups
    from .transaction import all_or_nothing
    from .transforms import observe_transform, transform_from_node, transform_node_from_field

__all__ = [
    "all_or_nothing",
    "apply_to",
    "carry_labels",
    "carry_points",
    "image_from_node",
    "is_registered",
    "labels_from_node",
    "markups_from_points",
    "modality",
    "move_into",
    "observe_transform",
    "points_from_markups",
    "recognize_pair",
    "segment_names",
    "set_registered",
    "transform_from_node",
    "transform_node_from_field",
    "volume_node_from_image",
]

_HOMES = {
    "images": ("image_from_node", "volume_node_from_image"),
    "labels": ("carry_labels", "labels_from_node", "segment_names"),
    "modality": ("modality", "recognize_pair"),
    "outputs": ("apply_to", "is_registered", "move_into", "set_registered"),
    "points": ("carry_points", "markups_from_points", "points_from_markups"),
    "transaction": ("all_or_nothing",),
    "transforms": ("observe_transform", "transform_from_node", "transform_node_from_field"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
