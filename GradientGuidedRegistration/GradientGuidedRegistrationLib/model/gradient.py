"""The gradient intensity map, eq. 1 of the paper: an image of edge strength, blind to edge direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_volume, triple

FLAT = 1e-6  # a map whose maximum is below this has no edge to scale up, only rounding


def gradient_magnitude(image: Tensor, spacing: float | Sequence[float] | None = None, scale: bool = True) -> Tensor:
    """Return G(V) = ‖(V(x+1) − V(x−1), V(y+1) − V(y−1), V(z+1) − V(z−1))‖₂ of eq. 1, without a factor ½.

    The border value goes on outside the grid. The map of an image in [0, 1] is mostly near zero, so it is scaled to
    [0, 1] by its maximum unless `scale` is False.

    Args:
        image: (B, C, D, H, W); each channel has its own map.
        spacing: voxel size in mm, one number or three in array order (D, H, W); differences are divided by it. None:
            not divided.
        scale: divide each map by its maximum; a flat image gives zeros.

    Returns:
        (B, C, D, H, W) of the image's type.

    Raises:
        InputError: not a 5-D floating-point tensor, or a spacing that is not positive.
    """
    check_volume("image", image)
    spacing = triple("spacing", spacing)
    volume = image.to(torch.promote_types(image.dtype, torch.float32))
    differences = [_symmetric_difference(volume, axis) for axis in (2, 3, 4)]
    if spacing is not None:
        differences = [difference / size for difference, size in zip(differences, spacing)]
    if torch.is_grad_enabled() and volume.requires_grad:
        # vector_norm has a derivative at zero (zero), a square root of a sum of squares has none.
        magnitude = torch.linalg.vector_norm(torch.stack(differences), dim=0)
    else:
        x, y, z = differences
        magnitude = (x.square() + y.square() + z.square()).sqrt()  # five times faster
    if scale:
        magnitude = magnitude / magnitude.amax(dim=(2, 3, 4), keepdim=True).clamp_min(FLAT)
    return magnitude.to(image.dtype)


def _symmetric_difference(volume: Tensor, axis: int) -> Tensor:
    """Return V(x + 1) − V(x − 1) along `axis` with the border replicated."""
    padding = [0] * 6
    padding[2 * (4 - axis)] = padding[2 * (4 - axis) + 1] = 1
    padded = F.pad(volume, padding, mode="replicate")
    size = volume.shape[axis]
    return padded.narrow(axis, 2, size) - padded.narrow(axis, 0, size)
