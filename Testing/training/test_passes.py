"""What a network that is trained for two passes is shown."""

from __future__ import annotations

import torch

from GradientGuidedRegistrationLib.model import build_network, load_weights, shrunk
from GradientGuidedRegistrationLib.training import train
from GradientGuidedRegistrationLib.training.case import Case
from GradientGuidedRegistrationLib.training.passes import seen_in_step


def pair(shape=(32, 34, 39)) -> Case:
    torch.manual_seed(0)
    fixed, moving, mask = torch.rand(3, 2, 1, *shape)
    return Case(fixed, moving, 3 * moving - 1, torch.ones_like(mask), (mask > 0.2).float(), names=("a", "b"))


def shifting(by: float):
    """A network that moves everything by `by` voxels of what it sees, along the last axis."""
    network = build_network("vm")
    with torch.no_grad():
        network.branch.flow.weight.zero_()
        network.branch.flow.bias.copy_(torch.tensor([0.0, 0.0, by]))
    return network


def test_even_steps_show_the_pair_at_half_resolution():
    case = pair()
    seen = seen_in_step(case, shifting(1.0), 4, seed=0)
    assert seen.names == case.names
    for name, volume in case.tensors().items():
        assert torch.equal(getattr(seen, name), shrunk(volume, 2))


def test_odd_steps_show_a_crop_of_what_the_coarse_pass_leaves():
    """One coarse voxel is two fine ones; the fixed image stays where it is, moving image and mask come along."""
    case = pair()
    seen = seen_in_step(case, shifting(1.0), 5, seed=0)
    assert seen.fixed.shape == (2, 1, 16, 17, 20)
    windows = case.fixed.unfold(2, 16, 1).unfold(3, 17, 1).unfold(4, 20, 1)[0, 0]
    d, h, w = (int(i) for i in (windows == seen.fixed[0, 0]).flatten(3).all(-1).nonzero()[0])
    for name in ("moving", "moving_full", "moving_mask"):
        inside = getattr(seen, name)[..., :-2] if w + 20 > 37 else getattr(seen, name)
        expected = getattr(case, name)[:, :, d : d + 16, h : h + 17, w + 2 : w + 22]
        torch.testing.assert_close(inside[..., : expected.shape[-1]], expected, atol=1e-4, rtol=0)


def test_the_crop_is_a_function_of_seed_and_step():
    case, network = pair(), shifting(0.0)
    same, again, other = (seen_in_step(case, network, step, 0).fixed for step in (1, 1, 3))
    assert torch.equal(same, again) and not torch.equal(same, other)


def test_weights_say_how_they_are_to_be_used(small):
    two, one = (train(small(str(coarse), coarse_first=coarse, steps=2)).weights for coarse in (True, False))
    assert load_weights(two).coarse_passes == (2,) and load_weights(one).coarse_passes == ()
