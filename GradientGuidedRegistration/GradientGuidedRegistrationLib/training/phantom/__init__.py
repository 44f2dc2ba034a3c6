"""Endless CT-MR pairs with a known deformation, made by torch on any device.

`phantom_pair` gives tensors on one voxel grid, `phantom_images` SimpleITK images with scanner geometry. Names are
loaded on first use: `phantom_pair` needs torch only.
"""

from __future__ import annotations

from importlib import import_module

_HOME = {
    "PhantomPair": "pair",
    "phantom_pair": "pair",
    "phantom_images": "images",
    "Scan": "images",
    "LABELS": "tissues",
    "ORGANS": "tissues",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
