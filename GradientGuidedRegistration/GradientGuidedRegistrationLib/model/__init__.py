"""The paper in PyTorch: gradient map, VoxelMorph branch, fusion, spatial transformer, MIND, losses, field algebra.

Tensors are (B, C, D, H, W); displacements are in voxels, in array order (D, H, W); warped(x) = moving(x + φ(x)).
"""

from __future__ import annotations

from .descriptors import mind, mind_ssc, mind_ssc_descriptor
from .fields import compose, exponentiate, jacobian_determinant, mm_to_voxel, resize, voxel_to_mm
from .gradient import gradient_magnitude
from .inverse import invert
from .losses import PRESETS, LossTerms, PairObjective, RegistrationLoss
from .network import Prediction, RegistrationNetwork
from .passes import enlarged, register_in_passes, shrunk
from .registry import NETWORKS, build_network
from .transformer import warp
from .weights import Description, describe, load_weights, save_weights

__all__ = [
    "NETWORKS",
    "PRESETS",
    "Description",
    "LossTerms",
    "PairObjective",
    "Prediction",
    "RegistrationLoss",
    "RegistrationNetwork",
    "build_network",
    "compose",
    "describe",
    "enlarged",
    "exponentiate",
    "gradient_magnitude",
    "invert",
    "jacobian_determinant",
    "load_weights",
    "mind",
    "mind_ssc",
    "mind_ssc_descriptor",
    "mm_to_voxel",
    "register_in_passes",
    "resize",
    "save_weights",
    "shrunk",
    "voxel_to_mm",
    "warp",
]
