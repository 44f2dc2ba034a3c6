"""What a training starts from: inputs that are looked at first, and random weights, those of a file, or a mean."""

from __future__ import annotations

import os.path
from pathlib import Path

import torch

from ..errors import InputError
from ..model import RegistrationNetwork, build_network, load_weights
from .case_table import training_cases
from .settings import TrainingSettings

_OUTPUTS = ("settings.json", "checkpoint.pt", "best.pt", "last.pt", "losses.csv", "validation.csv", "curves.svg",
            "pairs.csv")  # fmt: skip


def check_inputs(settings: TrainingSettings, device: torch.device) -> None:
    """Raise `InputError` for what can be seen to be wrong before the run's folder is made."""
    for path in (settings.data, *settings.weights):
        if path is not None and any(_is_same(path, settings.output / name) for name in _OUTPUTS):
            raise InputError(
                f"{path} would be overwritten by this run; copy it elsewhere, or choose another output folder."
            )
    if settings.precision != "float32" and device.type == "cpu":  # where PyTorch 2.13 has wrong gradients in bfloat16
        raise InputError(
            f"The precision {settings.precision} needs a GPU, and the device is the cpu, where it is slow and its "
            "gradients can be wrong; take float32."
        )
    settings.loss()
    if not settings.resume:
        start_network(settings)
    if settings.data is not None:
        training_cases(settings.data)


def _is_same(path: Path, other: Path) -> bool:
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def start_network(settings: TrainingSettings) -> RegistrationNetwork:
    """Return a new network, or that of the weights files: their mean, if there are several.

    Trainings that go out from the same weights end about one optimum, and their mean is often closer to it than each of
    them: Wortsman et al., Model soups, ICML 2022.

    Raises:
        InputError: a file that is not there or not of the method, or networks that are not built alike.
    """
    if not settings.weights:
        return build_network(settings.method)
    networks = [_loaded(path, settings.method) for path in settings.weights]
    first = networks[0]
    for path, network in zip(settings.weights, networks):
        if network.options != first.options:
            raise InputError(
                f"{path} and {settings.weights[0]} hold networks that are not built alike ({network.options} and "
                f"{first.options}); only weights of one network have a mean."
            )
    states = [network.state_dict() for network in networks]
    first.load_state_dict({name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]})
    return first


def _loaded(path: Path, method: str) -> RegistrationNetwork:
    """Weights of `average` start `gated` too: an untrained gate is ½."""
    start = load_weights(path)
    if start.name == method:
        return start
    if (start.name, method) != ("average", "gated"):
        return load_weights(path, method)  # which says what is wrong
    network = build_network(method, **start.options)
    network.load_state_dict(start.state_dict(), strict=False)
    return network
