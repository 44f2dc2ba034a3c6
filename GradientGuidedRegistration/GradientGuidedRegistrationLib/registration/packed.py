"""An error map as a short text, which the attribute of a node can hold."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import astuple

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .grid import Grid

_STEP_MM = 0.125  # 255 of them reach past the largest error that is expected of a registration


def packed(error: sitk.Image) -> str:
    """Return a map of an error in mm (scalar image, LPS mm) as text, to an eighth of a millimetre, 31.9 mm at most."""
    steps = np.rint(sitk.GetArrayViewFromImage(error) / _STEP_MM).clip(0, 255).astype(np.uint8)
    return json.dumps([*astuple(Grid.of(error)), base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode("ascii")])


def unpacked(text: str, name: str) -> sitk.Image:
    """Return the map, float32 in mm, that `packed` made a text of.

    Args:
        name: what the text is from, for the error.

    Raises:
        InputError: it is no such text.
    """
    try:
        *place, content = json.loads(text)
        grid = Grid(*map(tuple, place))
        if min(grid.size) < 1 or not np.isfinite([*grid.spacing, *grid.origin, *grid.direction]).all():
            raise ValueError("no place")
        steps = np.frombuffer(zlib.decompress(base64.b64decode(content, validate=True)), np.uint8)
        return grid.image(steps.reshape(grid.shape).astype(np.float32) * np.float32(_STEP_MM))
    except (ValueError, TypeError, RuntimeError, RecursionError, zlib.error):
        raise InputError(f"{name} is damaged; start the registration again.") from None
