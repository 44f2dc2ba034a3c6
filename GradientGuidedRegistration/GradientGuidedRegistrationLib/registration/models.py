"""The weights that come with the extension."""

from __future__ import annotations

import os.path
from pathlib import Path

from ..errors import InputError
from .settings import METHODS, Settings

MODELS = Path(__file__).resolve().parents[2] / "Resources" / "Models"


def weights_file(settings: Settings) -> Path | None:
    """Return the weights to predict with: the file that was asked for, else the packaged one, else None.

    Raises:
        InputError: when the file that was asked for does not exist.
    """
    if settings.weights is not None:
        path = Path(settings.weights)
        if not os.path.isfile(path):
            raise InputError(f"The weights file {str(path):.1000} does not exist; check the path.")
        return path
    packaged = MODELS / f"{settings.method or METHODS[0]}.pt"
    return packaged if packaged.is_file() else None
