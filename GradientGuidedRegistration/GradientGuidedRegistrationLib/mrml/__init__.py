"""Between Slicer's nodes and SimpleITK images: the only room that knows RAS (nodes) from LPS (everything else).

Everything that comes out of here as an image, point or transform is in world coordinates, LPS mm, with the linear
parent transforms of its node applied. Everything that goes in becomes a node without a parent transform, and the scene
gains all nodes of a call or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import loader

if TYPE_CHECKING:
    from .colours import register_colours
    from .evaluation_nodes import (
        compare_nodes,
        export_csv,
        landmark_table_node,
        plot_nodes_from_table,
        table_node_from_comparison,
    )
    from .geometry import parent_to_world
    from .images import grid_from_node, image_from_node, volume_node_from_image
    from .labels import carry_labels, check_labels, labels_from_node, segment_names
    from .maps import disagreement_node, expected_error_node, gradient_map_node, jacobian_node, mixed_node
    from .modality import modality_of, recognize_pair
    from .outlines import outline_node
    from .outputs import apply_to, check_targets, is_registered, move_into, observe_transform, set_registered
    from .pairing import Pairing
    from .points import carry_points, markups_from_points, points_from_markups
    from .registered_nodes import RegisteredNodes, add_result, registration_input, results_in
    from .review import Review
    from .samples import load_phantom
    from .slice_pipeline import through_slicer
    from .structures import match_structures, structures_of
    from .suggestions import suggest_structures
    from .transaction import all_or_nothing
    from .transforms import field_from_node, holds_field, transform_from_node, transform_node_from_field
    from .unchanged import PairWatch, check_fits, fingerprint, input_fingerprints, registered_pair
    from .views import (
        ViewState,
        clear_foreground,
        flicker,
        register_layout,
        restore_opened,
        show_deformation,
        show_in_slices,
        show_outlines,
        three_up,
        views_restored,
    )


__all__ = [
    "PairWatch",
    "Pairing",
    "RegisteredNodes",
    "Review",
    "ViewState",
    "add_result",
    "all_or_nothing",
    "apply_to",
    "carry_labels",
    "carry_points",
    "check_fits",
    "check_labels",
    "check_targets",
    "clear_foreground",
    "compare_nodes",
    "disagreement_node",
    "expected_error_node",
    "export_csv",
    "field_from_node",
    "fingerprint",
    "flicker",
    "gradient_map_node",
    "grid_from_node",
    "holds_field",
    "image_from_node",
    "input_fingerprints",
    "is_registered",
    "jacobian_node",
    "labels_from_node",
    "landmark_table_node",
    "load_phantom",
    "markups_from_points",
    "match_structures",
    "mixed_node",
    "modality_of",
    "move_into",
    "observe_transform",
    "outline_node",
    "parent_to_world",
    "plot_nodes_from_table",
    "points_from_markups",
    "recognize_pair",
    "register_colours",
    "register_layout",
    "registered_pair",
    "registration_input",
    "restore_opened",
    "results_in",
    "segment_names",
    "set_registered",
    "show_deformation",
    "show_in_slices",
    "show_outlines",
    "structures_of",
    "suggest_structures",
    "table_node_from_comparison",
    "three_up",
    "through_slicer",
    "transform_from_node",
    "transform_node_from_field",
    "views_restored",
    "volume_node_from_image",
]

_NAMES = {
    "colours": ("register_colours",),
    "evaluation_nodes": (
        "compare_nodes",
        "export_csv",
        "landmark_table_node",
        "plot_nodes_from_table",
        "table_node_from_comparison",
    ),
    "geometry": ("parent_to_world",),
    "images": ("grid_from_node", "image_from_node", "volume_node_from_image"),
    "labels": ("carry_labels", "check_labels", "labels_from_node", "segment_names"),
    "maps": ("disagreement_node", "expected_error_node", "gradient_map_node", "jacobian_node", "mixed_node"),
    "modality": ("modality_of", "recognize_pair"),
    "outlines": ("outline_node",),
    "outputs": ("apply_to", "check_targets", "is_registered", "move_into", "observe_transform", "set_registered"),
    "pairing": ("Pairing",),
    "points": ("carry_points", "markups_from_points", "points_from_markups"),
    "registered_nodes": ("RegisteredNodes", "add_result", "registration_input", "results_in"),
    "review": ("Review",),
    "samples": ("load_phantom",),
    "slice_pipeline": ("through_slicer",),
    "structures": ("match_structures", "structures_of"),
    "suggestions": ("suggest_structures",),
    "transaction": ("all_or_nothing",),
    "transforms": ("field_from_node", "holds_field", "transform_from_node", "transform_node_from_field"),
    "unchanged": ("PairWatch", "check_fits", "fingerprint", "input_fingerprints", "registered_pair"),
    "views": (
        "ViewState",
        "clear_foreground",
        "flicker",
        "register_layout",
        "restore_opened",
        "show_deformation",
        "show_in_slices",
        "show_outlines",
        "three_up",
        "views_restored",
    ),
}

__getattr__ = loader(__name__, {name: home for home, names in _NAMES.items() for name in names})
