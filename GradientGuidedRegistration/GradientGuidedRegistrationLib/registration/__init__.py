"""Two images with geometry in, one displacement field out. Speaks `SimpleITK.Image` and LPS millimetres.

Names are loaded on first use, so that importing the package imports neither SimpleITK nor PyTorch.
"""

from __future__ import annotations

from importlib import import_module

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


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
