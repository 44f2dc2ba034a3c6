"""Each of the four networks learns the known warps of two small pairs, from the paper's objective alone."""

from __future__ import annotations

import math

import pytest
import torch

from GradientGuidedRegistrationLib.model import NETWORKS, RegistrationLoss, build_network, invert, warp

SHAPE = (16, 16, 32)
STEPS = 45


def known_warps():
    """Return two displacements (2, 3, *SHAPE) of up to 2.7 voxels, one the opposite of the other."""
    axes = torch.meshgrid(*(torch.linspace(0, math.pi, size) for size in SHAPE), indexing="ij")
    bump = torch.stack(axes).sin().prod(dim=0)
    field = torch.stack([bump, -1.5 * bump, 2 * bump])
    return torch.stack([field, -field])


@pytest.mark.parametrize("name", list(NETWORKS))
def test_overfits_pairs_with_a_known_warp(name, texture):
    truth = known_warps()
    images = torch.cat([texture(SHAPE, seed=5), texture(SHAPE, seed=6)])
    moving, fixed = warp(images, invert(truth)[0]), 1 - images  # the other modality has the opposite contrast
    before = truth.norm(dim=1).mean()

    network = build_network(name)
    objective = RegistrationLoss(beta=0.3, gamma=0.3).of_pair(moving, fixed)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        objective(network(moving, fixed)).total.backward()
        optimizer.step()
    with torch.no_grad():
        after = (network(moving, fixed).displacement - truth).norm(dim=1).mean()
    assert before > 0.5
    assert after < 0.3 * before, f"mean error {before:.2f} voxels before, {after:.2f} after"
