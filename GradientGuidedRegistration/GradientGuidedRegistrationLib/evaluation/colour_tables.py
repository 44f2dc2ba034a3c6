"""Colour tables of maps: gradient strength, deformation, disagreement, Jacobian determinant."""

from __future__ import annotations

import numpy as np

TABLES = {
    "grey": [(0, 0, 0), (255, 255, 255)],
    "heat": [(0, 0, 0), (58, 12, 96), (150, 30, 108), (226, 78, 66), (252, 160, 40), (252, 250, 170)],
    # below 1 blue (shrinks), above 1 red (grows)
    "diverging": [(20, 70, 200), (120, 170, 240), (245, 245, 245), (245, 150, 110), (190, 15, 35)],
}


def apply_table(name: str, values: np.ndarray) -> np.ndarray:
    """Colours (..., 3) float32 in [0, 255] of values in [0, 1]."""
    anchors = np.array(TABLES[name], np.float32)
    positions = np.linspace(0, 1, len(anchors))
    values = np.clip(np.nan_to_num(values), 0, 1)
    return np.stack([np.interp(values, positions, anchors[:, c]) for c in range(3)], axis=-1).astype(np.float32)
