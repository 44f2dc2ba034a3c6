"""A network's displacements without the constant that training leaves in them.

To read an image between its voxels averages its noise, so that a pair that is aligned seems more alike when the moving
image is a tenth of a voxel or two off, to either side (Pluim et al., Interpolation artefacts, Computer Vision and Image
Understanding 77, 2000). Networks learn that offset, always the same; what they say of an image and itself shows it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import RegistrationNetwork


@torch.no_grad()
def centre(network: RegistrationNetwork, images: list[Tensor]) -> None:
    """Change the last biases of a network so that images do not move, on the mean, when registered to themselves.

    Args:
        images: (1, C, D, H, W) each, intensities in [0, 1].
    """
    offset = torch.stack([network(image, image).displacement.mean((0, 2, 3, 4)) for image in images]).mean(0)
    for bias in network.last_biases():
        bias.sub_(offset)
