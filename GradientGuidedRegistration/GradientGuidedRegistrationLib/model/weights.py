"""Weights on disk: a network's recipe and parameters in one file, read without running anything that is in it."""

from __future__ import annotations

import os.path
import pickle
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..whole_files import replacing
from .network import RegistrationNetwork
from .registry import NETWORKS, build_network

FORMAT = "GradientGuidedRegistration weights"
VERSION = 1


@dataclass(frozen=True)
class Description:
    """What a weights file is; `str` gives it as text for people."""

    path: Path
    version: int
    network: str
    options: dict[str, Any]
    parameters: int
    created: str
    metadata: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        lines = [
            f"{self.path}: {FORMAT}, version {self.version}",
            f"network: {self.network} ({options})",
            f"parameters: {self.parameters:,}",
            f"created: {self.created}",
        ]
        return "\n".join(lines + [f"{name}: {value}" for name, value in self.metadata.items()])


def save_weights(network: RegistrationNetwork, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
    """Write a network that `build_network` made to `path`, whole or not at all.

    Args:
        metadata: what else to keep, in plain values (numbers, texts, lists, dictionaries): training data, scores.

    Raises:
        InputError: a network without a name, or metadata that is not plain.
        OSError: the file cannot be written.
    """
    if getattr(network, "name", None) not in NETWORKS:
        raise InputError("Only networks made by build_network can be saved: this one has no name in the registry.")
    _check_plain("metadata", metadata or {})
    content = {
        "format": FORMAT,
        "version": VERSION,
        "network": network.name,
        "options": dict(network.options),
        "coarse_passes": list(network.coarse_passes),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "metadata": dict(metadata or {}),
        "state": {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()},
    }
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


def load_weights(path: str | Path, name: str | None = None, device: str | torch.device = "cpu") -> RegistrationNetwork:
    """Return the network of a weights file, in evaluation mode; its `metadata` is that of the file.

    Args:
        name: the network that is wanted ("gated", ...); None takes whatever the file holds.

    Raises:
        InputError: no such file, not one of ours, cut short, with code in it, of a later version, another network
            than `name`, or with parameters that do not fit or are not finite. The message names the file.
    """
    path = Path(path)
    content = _read(path)
    held = content["network"]
    if name is not None and held != name:
        raise InputError(
            f"{path} holds weights of the network {held!r}, not of {name!r}; ask for {held!r}, or give other weights."
        )
    try:
        with torch.device("meta"):  # sizes only: a file may ask for more than there is memory
            network = build_network(content["network"], **content["options"])
    except (InputError, RuntimeError, ValueError, ArithmeticError, TypeError, LookupError) as error:
        raise InputError(f"{path} asks for a network that is not known here: {error}") from error
    planned = network.state_dict()
    _check_state(path, content["state"], planned)
    # Assigned, as filling a network that has sizes only would load PyTorch's compiler.
    state = {name: value.to(device, planned[name].dtype) for name, value in content["state"].items()}
    network.load_state_dict(state, assign=True)
    network.metadata, network.coarse_passes = content["metadata"], tuple(content["coarse_passes"])
    return network.eval()


def describe(path: str | Path) -> Description:
    """Return what a weights file is; `print(describe(path))` for people. Raises as `load_weights` does."""
    path = Path(path)
    content = _read(path)
    return Description(
        path=path,
        version=content["version"],
        network=content["network"],
        options=content["options"],
        parameters=sum(value.numel() for value in content["state"].values()),
        created=content["created"],
        metadata=content["metadata"],
    )


_FIELDS = {
    "network": str, "options": dict, "coarse_passes": list, "created": str, "metadata": dict, "state": dict,
}  # fmt: skip
_COARSEST_PASS = 16


def _read(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise InputError(f"There is no weights file {path}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} was not read: it is not a weights file, or it holds code, which is never run."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except (RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path} is not a weights file, or it was cut short.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a file of {FORMAT}; it was written by another program.")
    version = content.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise InputError(f"{path} has version {version}, but this program reads up to {VERSION}: update the extension.")
    for name, kind in _FIELDS.items():
        if not isinstance(content.get(name), kind):
            raise InputError(f"{path} is damaged: its entry {name!r} is missing or is not a {kind.__name__}.")
    for name in ("options", "state"):
        if not all(isinstance(key, str) for key in content[name]):
            raise InputError(f"{path} is damaged: its entry {name!r} has keys that are no names.")
    for name, value in content["state"].items():
        if not _is_plain_tensor(value):
            raise InputError(f"{path} is damaged: its parameter {name} is no array of floating-point numbers.")
    passes = content["coarse_passes"]
    if not all(type(factor) is int and 2 <= factor <= _COARSEST_PASS for factor in passes) or len(passes) > 8:
        raise InputError(f"{path} asks for passes that are not known here: {passes!r}.")
    return content


def _check_state(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    if set(found) != set(expected):
        missing, surplus = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        raise InputError(f"{path} does not fit its network: parameters {missing} are missing, {surplus} are too many.")
    for name, value in expected.items():
        if found[name].shape != value.shape:
            shape = tuple(found[name].shape)
            raise InputError(f"{path}: parameter {name} is {shape}, but the network needs {tuple(value.shape)}.")
        if not torch.isfinite(found[name]).all():
            raise InputError(f"{path}: parameter {name} holds NaN or infinity; the training that wrote it diverged.")


def _is_plain_tensor(value: Any) -> bool:
    is_dense = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return is_dense and value.is_floating_point()


def _check_plain(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(f"{name}[{key!r}]", item)
            _check_plain(f"the key {key!r} of {name}", key)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_plain(f"{name}[{index}]", item)
    elif type(value) not in (str, int, float, bool, type(None)):
        raise InputError(
            f"{name} must be a plain value (number, text, list, dictionary), but is {type(value).__name__}."
        )
