"""Endless CT-MR pairs with a known deformation, made by torch on any device.

`phantom_pair` gives tensors on one voxel grid, `phantom_images` SimpleITK images with scanner geometry.
"""

from __future__ import annotations

from .images import phantom_images
from .pair import PhantomPair, phantom_pair

__all__ = ["PhantomPair", "phantom_images", "phantom_pair"]
