"""Passes coarse to fine: grids that fit together, fields that add up."""

from __future__ import annotations

import pytest
import torch

from GradientGuidedRegistrationLib.model import (
    Prediction,
    RegistrationNetwork,
    build_network,
    compose,
    enlarged,
    register_in_passes,
    shrunk,
    warp,
)
from GradientGuidedRegistrationLib.model.fusion import Gates


class Shift(RegistrationNetwork):
    """Moves everything by one voxel of what it is shown along each axis, and remembers what that was."""

    def __init__(self, *coarse_passes: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.coarse_passes = coarse_passes
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def predict(self, moving, fixed):
        self.seen.append((moving, fixed))
        one = torch.ones(1, 3, *fixed.shape[2:])
        gates = Gates(0.25 * one, 0.75 * one)
        return Prediction(one, image_displacement=2 * one, gradient_displacement=0 * one, gates=gates)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("shape", [(24, 24, 24), (17, 22, 35)])
def test_a_linear_field_survives_being_shrunk_and_enlarged(shape, factor):
    """The centre of a cube of voxels is where its mean lies: inside, a linear field comes back exactly."""
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij")
    field = torch.stack([0.1 * axes[0] - 0.05 * axes[2], 0.2 * axes[1], 1 + 0.03 * axes[0]])[None]
    back = enlarged(shrunk(field, factor) / factor, shape, factor)
    inner = (..., *(slice(factor, n // factor * factor - factor) for n in shape))
    assert back.shape == field.shape
    torch.testing.assert_close(back[inner], field[inner])


@pytest.mark.parametrize("shape", [(32, 32, 32), (33, 47, 38)])
def test_passes_add_up_in_voxels_of_the_images(shape):
    network = Shift(2)
    prediction = register_in_passes(network, *torch.rand(2, 1, 1, *shape))
    for name, expected in (("displacement", 3.0), ("image_displacement", 4.0), ("gradient_displacement", 2.0)):
        torch.testing.assert_close(getattr(prediction, name), torch.full((1, 3, *shape), expected))


@pytest.mark.parametrize("shape", [(32, 32, 32), (33, 47, 38)])
@pytest.mark.parametrize(("passes", "expected"), [((2,), (2.0, 2.0, 0.0)), ((4, 2), (6.0, 4.0, 2.0))])
def test_without_the_full_resolution_the_displacement_alone_is_brought_to_the_images_grid(shape, passes, expected):
    """Branches and gates stay on the grid of the last pass, in its voxels."""
    if len(passes) > 1:
        shape = tuple(2 * n for n in shape)
    network, half = Shift(*passes), tuple((n + 1) // 2 for n in shape)
    prediction = register_in_passes(network, *torch.rand(2, 1, 1, *shape), to_full_resolution=False)
    assert tuple(network.seen[-1][0].shape[2:]) == half and len(network.seen) == len(passes)
    assert prediction.gates is not None
    for volume, grid, value in (
        (prediction.displacement, shape, expected[0]),
        (prediction.image_displacement, half, expected[1]),
        (prediction.gradient_displacement, half, expected[2]),
        (prediction.gates.image, half, 0.25),
        (prediction.gates.gradient, half, 0.75),
    ):
        torch.testing.assert_close(volume, torch.full((1, 3, *grid), value))


@pytest.mark.parametrize("passes", [(), (4,)])
def test_the_full_resolution_is_looked_at_where_no_coarse_pass_is_possible(passes):
    network = Shift(*passes)
    register_in_passes(network, *torch.rand(2, 1, 1, 32, 32, 32), to_full_resolution=False)
    assert [tuple(seen.shape[2:]) for seen, _ in network.seen] == [(32, 32, 32)]


def test_each_pass_sees_what_those_before_have_left():
    network = Shift(4, 2)
    moving, fixed = torch.rand(2, 1, 1, 64, 68, 72)
    register_in_passes(network, moving, fixed)
    (first, _), (second, _), (third, last_fixed) = network.seen
    four, six = (torch.full((1, 3, 64, 68, 72), size) for size in (4.0, 6.0))
    torch.testing.assert_close(first, shrunk(moving, 4))
    torch.testing.assert_close(second, shrunk(warp(moving, four), 2))
    torch.testing.assert_close(third, warp(moving, six))
    assert torch.equal(last_fixed, fixed)


def test_the_whole_field_is_the_composition_of_the_passes(smooth_field, texture):
    """A field that varies in space: the coarse one goes first, the fine one sees the warped image."""
    torch.manual_seed(3)
    network = build_network("gated")
    torch.nn.init.normal_(network.image_branch.flow.weight, std=0.02)
    network.coarse_passes = (2,)
    moving, fixed = texture((32, 36, 40), seed=1), texture((32, 36, 40), seed=2)
    with torch.no_grad():
        coarse = enlarged(network(shrunk(moving, 2), shrunk(fixed, 2)).displacement, (32, 36, 40), 2)
        fine = network(warp(moving, coarse), fixed).displacement
        together = register_in_passes(network, moving, fixed).displacement
    assert fine.abs().max() > 0.01
    torch.testing.assert_close(together, compose(coarse, fine))


def test_a_volume_too_small_for_a_coarse_pass_is_looked_at_as_it_is():
    network = Shift(2)
    prediction = register_in_passes(network, *torch.rand(2, 1, 1, 31, 64, 64))
    assert len(network.seen) == 1 and float(prediction.displacement.max()) == 1.0


def test_without_coarse_passes_it_is_the_network_itself(texture):
    network = build_network("vm").eval()
    moving, fixed = texture((20, 20, 20), seed=1), texture((20, 20, 20), seed=2)
    assert torch.equal(register_in_passes(network, moving, fixed).displacement, network(moving, fixed).displacement)
