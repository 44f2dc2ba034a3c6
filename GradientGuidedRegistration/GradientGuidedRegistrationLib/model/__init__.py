"""The paper in PyTorch: gradient map, VoxelMorph branch, fusion, spatial transformer, MIND, losses, field algebra.

Tensors are (B, C, D, H, W); displacements are in voxels, components in array order (D, H, W); warped(x) = moving(x +
φ(x)).
"""

from __future__ import annotations

from .descriptors import mind, mind_ssc
from .fields import compose, exponentiate, invert, jacobian_determinant, mm_to_voxel, resize, voxel_to_mm
from .gradient import gradient_magnitude
from .transformer import warp

__all__ = [
    "compose",
    "exponentiate",
    "gradient_magnitude",
    "invert",
    "jacobian_determinant",
    "mind",
    "mind_ssc",
    "mm_to_voxel",
    "resize",
    "voxel_to_mm",
    "warp",
]
