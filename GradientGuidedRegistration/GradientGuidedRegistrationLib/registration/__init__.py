"""Two images with geometry in, one displacement field out. Speaks `SimpleITK.Image` and LPS millimetres.

Names are loaded on first use, so that importing the package imports neither SimpleITK nor PyTorch.
"""

from __future__ import annotations

from ..lazy_names import loader

_HOME = {
    "register": "pipeline",
    "Result": "result",
    "Settings": "settings",
    "read_image": "files",
    "read_labels": "files",
    "read_transform": "files",
    "write_image": "files",
    "write_transform": "files",
}

__all__ = sorted(_HOME)

__getattr__ = loader(__name__, _HOME)
