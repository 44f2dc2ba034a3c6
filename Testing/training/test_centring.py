"""An image registered to itself does not move, on the mean, once a network is centred."""

from __future__ import annotations

import copy

import pytest
import torch

from GradientGuidedRegistrationLib.model import build_network, load_weights, save_weights
from GradientGuidedRegistrationLib.training import train
from GradientGuidedRegistrationLib.training.centring import centre

METHODS = ["vm", "vm-concat", "average", "gated"]


def images(count: int) -> list[torch.Tensor]:
    return list(torch.rand(count, 1, 1, 24, 20, 26, generator=torch.Generator().manual_seed(0)))


def trained(method: str):
    """A network that says something, and that with an offset of its own in each part."""
    torch.manual_seed(2)
    network = build_network(method).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "flow" in name or "fusion" in name:
                parameter.add_(0.02 * torch.randn(parameter.shape))
    return network


@torch.no_grad()
def mean_of(network, pairs) -> torch.Tensor:
    return torch.stack([network(a, b).displacement.mean((0, 2, 3, 4)) for a, b in pairs]).mean(0)


@pytest.mark.parametrize("method", METHODS)
def test_images_and_themselves_do_not_move_and_all_else_moves_as_before_but_for_a_constant(method):
    seen, others = images(4), images(6)[4:]
    before = trained(method)
    after = copy.deepcopy(before)
    centre(after, seen)
    assert float(mean_of(before, zip(seen, seen)).abs().max()) > 0.01
    assert float(mean_of(after, zip(seen, seen)).abs().max()) < 1e-5
    with torch.no_grad():
        change = after(*others).displacement - before(*others).displacement
    assert torch.allclose(change, -mean_of(before, zip(seen, seen)).view(1, 3, 1, 1, 1).expand_as(change), atol=1e-5)


def test_a_training_writes_centred_weights_and_goes_on_with_those_it_has(small):
    """Weights with an offset come out of a training that changes nothing without it, the checkpoint with it."""
    shifted = small("start", method="vm", steps=1, learning_rate=1e-12)
    start = train(shifted).weights
    assert start is not None
    network = load_weights(start)
    with torch.no_grad():
        network.branch.flow.bias.add_(torch.tensor([0.2, -0.1, 0.3]))
    save_weights(network, start.parent / "offset.pt")
    settings = small("again", method="vm", steps=1, learning_rate=1e-12, weights=start.parent / "offset.pt")
    train(settings)
    for name in ("best.pt", "last.pt"):
        written = load_weights(settings.output / name)
        assert float(written.branch.flow.bias.detach().abs().max()) < 0.01
    stored = torch.load(settings.output / "checkpoint.pt", weights_only=True)
    assert torch.allclose(stored["network"]["branch.flow.bias"], torch.tensor([0.2, -0.1, 0.3]), atol=1e-3)
