"""Endless CT-MR pairs with a known deformation, made by torch on any device.

`phantom_pair` gives tensors on one voxel grid, `phantom_images` SimpleITK images with scanner geometry. Names are
loaded on first use: `phantom_pair` needs torch only.
"""

from __future__ import annotations

from ...lazy_names import loader

_HOME = {
    "PhantomPair": "pair",
    "phantom_pair": "pair",
    "phantom_images": "images",
    "Scan": "images",
    "LABELS": "tissues",
    "ORGANS": "tissues",
}

__all__ = sorted(_HOME)

__getattr__ = loader(__name__, _HOME)
