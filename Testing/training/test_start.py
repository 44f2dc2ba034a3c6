"""What a training starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.model import build_network, save_weights
from GradientGuidedRegistrationLib.training.start import start_network


def weights_file(path: Path, seed: int, method: str = "vm", **options) -> Path:
    torch.manual_seed(seed)
    save_weights(build_network(method, **options), path)
    return path


def test_several_files_give_their_mean(small, tmp_path: Path) -> None:
    files = [weights_file(tmp_path / f"{seed}.pt", seed) for seed in (1, 2, 3)]
    mean = start_network(small(weights=files)).state_dict()
    states = [start_network(small(weights=file)).state_dict() for file in files]
    for name, value in mean.items():
        torch.testing.assert_close(value, sum(state[name] for state in states) / 3)
    assert any(not torch.equal(value, states[0][name]) for name, value in mean.items())


def test_networks_that_are_not_built_alike_have_no_mean(small, tmp_path: Path) -> None:
    files = [
        weights_file(tmp_path / "a.pt", 1),
        weights_file(tmp_path / "b.pt", 1, backbone="vm2"),
    ]
    with pytest.raises(InputError, match=r"b\.pt and .*a\.pt hold networks that are not built alike"):
        start_network(small(weights=files))


def test_averaged_fusion_starts_gated_fusion(small, tmp_path: Path) -> None:
    file = weights_file(tmp_path / "average.pt", 4, "average")
    found = start_network(small(method="gated", weights=file)).state_dict()
    for name, value in start_network(small(method="average", weights=file)).state_dict().items():
        assert torch.equal(found[name], value)
    with pytest.raises(InputError, match="not of 'vm'"):
        start_network(small(method="vm", weights=file))
