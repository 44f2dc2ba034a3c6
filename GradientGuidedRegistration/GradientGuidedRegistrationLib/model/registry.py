"""One name, one network: the rows of Table 1 and whatever is added to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import InputError
from .network import DualBranchNetwork, RegistrationNetwork, SingleBranchNetwork

NETWORKS: dict[str, Callable[..., RegistrationNetwork]] = {
    "gated": partial(DualBranchNetwork, fusion="gated"),
    "average": partial(DualBranchNetwork, fusion="average"),
    "vm": partial(SingleBranchNetwork, with_gradients=False),
    "vm-concat": partial(SingleBranchNetwork, with_gradients=True),
}


def build_network(name: str, **options: Any) -> RegistrationNetwork:
    """Return an untrained network, which moves nothing yet, by the name of its row in Table 1.

    Args:
        name: "gated", "average", "vm" or "vm-concat".
        image_channels: channels of each image (1).
        backbone: "b", the paper's, or "vm2", that of the CVPR 2018 VoxelMorph ("b").

    Raises:
        InputError: no network of that name, or an option that it does not know.
    """
    if name not in NETWORKS:
        raise InputError(f"There is no network {name!r}; choose one of {', '.join(NETWORKS)}.")
    try:
        network = NETWORKS[name](**options)
    except TypeError as error:
        raise InputError(f"Network {name!r} does not take these options: {options} ({error}).") from error
    network.name = name  # type: ignore[assignment]
    return network
