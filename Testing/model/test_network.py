"""The networks: what the paper and VoxelMorph publish of them, and the short way on the CPU against the plain one."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from GradientGuidedRegistrationLib.model import (
    NETWORKS,
    Prediction,
    RegistrationLoss,
    build_network,
    folding,
    gradient_magnitude,
    warp,
)
from GradientGuidedRegistrationLib.model.branch import BACKBONES, VoxelMorphBranch, pad_to_multiple
from GradientGuidedRegistrationLib.model.folding import folded
from GradientGuidedRegistrationLib.model.fusion import GatedFusion

COUNTS = {"vm": 301_411, "vm-concat": 304_003, "average": 602_822, "gated": 603_821}
DUAL = ("gated", "average")


def roughened(network):
    """Return the network with displacements of some voxels instead of the initial 1e-4."""
    for name, parameter in network.named_parameters():
        if "flow.weight" in name:
            nn.init.normal_(parameter, std=0.05)
        elif "fusion" in name or "bias" in name:
            nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("name", list(NETWORKS))
def test_number_of_parameters_is_the_published_one(name):
    assert sum(parameter.numel() for parameter in build_network(name).parameters()) == COUNTS[name]


@pytest.mark.parametrize("channels", [2, 4])
def test_layers_of_the_paper_s_branch(channels):
    layers = [module for module in VoxelMorphBranch(channels).modules() if isinstance(module, nn.Conv3d)]
    found = [(layer.in_channels, layer.out_channels, layer.stride[0]) for layer in layers]
    encoder = [(channels, 16, 2), (16, 32, 2), (32, 32, 2), (32, 32, 2)]
    decoder = [(32, 32, 1), (64, 32, 1), (64, 32, 1), (48, 32, 1)]
    full = [(32 + channels, 32, 1), (32, 16, 1), (16, 16, 1), (16, 3, 1)]
    assert found == encoder + decoder + full
    assert all(layer.kernel_size == (3, 3, 3) and layer.bias is not None for layer in layers)


def test_layers_of_the_cvpr_2018_branch():
    layers = [module for module in BACKBONES["vm2"](2).modules() if isinstance(module, nn.Conv3d)]
    found = [(layer.in_channels, layer.out_channels) for layer in layers]
    assert found[4:] == [(32, 32), (64, 32), (64, 32), (48, 32), (32, 32), (34, 16), (16, 16), (16, 3)]


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_untrained_is_the_identity(name, backbone):
    moving, fixed = torch.rand(2, 1, 1, 32, 16, 48)
    with torch.no_grad():
        prediction = build_network(name, backbone=backbone)(moving, fixed)
    assert prediction.displacement.abs().max() < 1e-3
    assert torch.allclose(prediction.warp(moving), moving, atol=1e-3)


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 30, 33), (5, 20, 8)])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_any_size_and_what_a_prediction_holds(name, shape):
    moving, fixed = torch.rand(2, 2, 1, *shape)
    prediction = build_network(name)(moving, fixed)
    assert isinstance(prediction, Prediction)
    fields = [prediction.displacement]
    if name in DUAL:
        fields += [prediction.image_displacement, prediction.gradient_displacement, *prediction.gates]
    else:
        assert prediction.image_displacement is prediction.gradient_displacement is prediction.gates is None
    assert all(field.shape == (2, 3, *shape) and field.dtype == torch.float32 for field in fields)
    if name != "vm":
        assert torch.equal(prediction.moving_gradient, gradient_magnitude(moving))
        assert torch.equal(prediction.fixed_gradient, gradient_magnitude(fixed))


def test_untrained_gated_equals_average():
    gated, average = build_network("gated"), build_network("average")
    average.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("fusion")})
    for network in (gated, average):  # displacements large enough to tell
        for branch, seed in ((network.image_branch, 1), (network.gradient_branch, 2)):
            nn.init.normal_(branch.flow.weight, std=0.1, generator=torch.Generator().manual_seed(seed))
    moving, fixed = torch.rand(2, 1, 1, 16, 32, 16)
    with torch.no_grad():
        one, other = gated(moving, fixed), average(moving, fixed)
    assert one.displacement.abs().max() > 0.1
    assert torch.allclose(one.displacement, other.displacement, atol=1e-6)
    assert torch.allclose(one.gates.image, other.gates.image) and torch.allclose(one.gates.gradient, torch.tensor(0.5))
    expected = (one.image_displacement + one.gradient_displacement) / 2
    assert torch.allclose(other.displacement, expected, atol=1e-6)


def test_fusion_is_that_of_fig_2b():
    fusion = roughened(GatedFusion())
    nn.init.normal_(fusion.gate.weight)
    image, gradient = torch.randn(2, 2, 3, 5, 6, 7)
    fused, gates = fusion(image, gradient)
    p = torch.sigmoid(F.conv3d(torch.cat([image, gradient], 1), fusion.gate.weight, fusion.gate.bias, padding=1))
    assert torch.allclose(gates.image, p[:, :3], atol=1e-6) and torch.allclose(gates.gradient, p[:, 3:], atol=1e-6)
    weighted = torch.cat([gates.image * image, gates.gradient * gradient], dim=1)
    weight, bias = fusion.bottleneck.weight[:, :, 0, 0, 0], fusion.bottleneck.bias
    expected = torch.einsum("oi,bidhw->bodhw", weight, weighted) + bias.view(1, 3, 1, 1, 1)
    assert torch.allclose(fused, expected, atol=1e-5)


def test_gradcheck_of_the_gate():
    fusion = roughened(GatedFusion()).double()
    fields = [torch.randn(1, 3, 3, 2, 3, dtype=torch.double, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda image, gradient: fusion(image, gradient)[0], fields, fast_mode=True)


def test_the_branches_see_what_the_paper_shows_them(monkeypatch):
    network, seen = build_network("gated"), {}
    for name in ("image_branch", "gradient_branch"):
        module = getattr(network, name)
        module.register_forward_pre_hook(lambda module, inputs, name=name: seen.update({name: inputs[0]}))
    moving, fixed = torch.rand(2, 1, 1, 16, 16, 16)
    network(moving, fixed)
    assert torch.equal(seen["image_branch"], torch.cat([moving, fixed], 1))
    maps = torch.cat([gradient_magnitude(moving), gradient_magnitude(fixed)], 1)
    assert torch.equal(seen["gradient_branch"], maps)


@pytest.mark.parametrize(
    ("backbone", "channels", "shape"),
    [("b", 2, (64, 16, 32)), ("b", 4, (20, 37, 16)), ("b", 6, (32, 16, 16)), ("vm2", 2, (32, 16, 48))],
)
def test_the_short_way_on_the_cpu_is_the_same_network(backbone, channels, shape):
    branch = roughened(BACKBONES[backbone](channels))
    images = torch.rand(1, channels, *shape)
    padded, window = pad_to_multiple(images, 16), (..., *(slice(size) for size in shape))
    with torch.no_grad():
        expected = branch.layer_by_layer(padded)[window]
        assert expected.abs().max() > 0.3
        assert torch.allclose(branch(images), expected, atol=1e-4)
    assert torch.allclose(branch(images), expected, atol=1e-4)
    # In double, so that no activation changes its sign by rounding.
    branch, padded = branch.double(), padded.double()
    ways = folded(branch, padded), branch.layer_by_layer(padded)
    upstream = torch.randn_like(ways[0])
    gradients = [torch.autograd.grad(way, list(branch.parameters()), upstream) for way in ways]
    for one, other in zip(*gradients):
        assert torch.allclose(one, other, atol=1e-9 * other.abs().max())


def test_the_short_way_works_by_slabs_of_many_and_of_few_planes(monkeypatch):
    branch, images = roughened(VoxelMorphBranch(2)), torch.rand(2, 2, 48, 16, 16)
    with torch.no_grad():
        expected = branch.layer_by_layer(images)
        for size, slabs in ((1, 8), (2000, 3), (20_480, 1)):
            monkeypatch.setattr(folding, "ONEDNN_SIZE", size)
            assert len(folding._slabs(48, 16)) == slabs
            assert torch.allclose(branch(images), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_agrees_with_float32(dtype):
    network = roughened(build_network("gated")).eval()
    moving, fixed = torch.rand(2, 1, 1, 16, 16, 16)
    with torch.no_grad():
        expected = network(moving, fixed)
        with torch.autocast("cpu", dtype=dtype):
            found = network(moving, fixed)
    assert found.displacement.dtype == torch.float32
    assert found.displacement.abs().max() > 0.1
    error = (found.displacement - expected.displacement).abs().max() / expected.displacement.abs().max()
    assert error < 0.03


def test_weights_in_half_precision_still_give_float32_displacements():
    network = roughened(build_network("gated")).eval()
    moving, fixed = torch.rand(2, 1, 1, 16, 16, 16)
    with torch.no_grad():
        expected = network(moving, fixed).displacement
        found = network.bfloat16()(moving, fixed).displacement
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_double_is_kept():
    network = build_network("gated").double()
    moving, fixed = torch.rand(2, 1, 1, 16, 16, 16, dtype=torch.double)
    assert network(moving, fixed).displacement.dtype == torch.double


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_gpu_agrees_with_the_cpu(name):
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    network = roughened(build_network(name)).eval()
    moving, fixed = torch.rand(2, 1, 1, 48, 32, 40)
    with torch.no_grad():
        expected = network(moving, fixed).displacement
        found = network.cuda()(moving.cuda(), fixed.cuda()).displacement.cpu()
    assert torch.allclose(found, expected, atol=2e-2 * expected.abs().max())  # TF32 where PyTorch allows it


def test_prediction_warps_the_moving_image():
    network = roughened(build_network("average"))
    moving, fixed = torch.rand(2, 1, 1, 16, 16, 16)
    prediction = network(moving, fixed)
    assert torch.equal(prediction.warp(moving), warp(moving, prediction.displacement))


def test_more_than_one_channel_an_image():
    network = build_network("vm-concat", image_channels=2)
    assert network(torch.rand(1, 2, 16, 16, 16), torch.rand(1, 2, 16, 16, 16)).displacement.shape[1] == 3
    with pytest.raises(ValueError, match="2 channel"):
        network(torch.rand(1, 1, 16, 16, 16), torch.rand(1, 1, 16, 16, 16))


GOOD = torch.rand(1, 1, 16, 16, 16)


@pytest.mark.parametrize(
    ("moving", "words"),
    [
        (torch.rand(16, 16, 16), r"moving image.*\(16, 16, 16\)"),
        (torch.rand(1, 2, 16, 16, 16), r"moving image.*1 channel.*\(1, 2, 16, 16, 16\)"),
        (torch.rand(1, 1, 16, 16, 17), r"\(1, 1, 16, 16, 17\).*\(1, 1, 16, 16, 16\)"),
        (torch.rand(2, 1, 16, 16, 16), "batches"),
        (torch.full((1, 1, 16, 16, 16), float("nan")), "moving image.*4096.*NaN"),
        (torch.rand(1, 1, 0, 16, 16), "empty"),
        (torch.ones(1, 1, 16, 16, 16).short(), "int16"),
    ],
)
@pytest.mark.parametrize("name", ["gated", "vm"])
def test_refuses_wrong_images_by_name_and_shape(name, moving, words):
    with pytest.raises(ValueError, match=words):
        build_network(name)(moving, GOOD)


def test_refuses_infinity_in_the_fixed_image():
    fixed = GOOD.clone()
    fixed[0, 0, 3, 4, 5] = float("inf")
    with pytest.raises(ValueError, match="fixed image holds 1"):
        build_network("vm")(GOOD, fixed)


def test_refuses_unknown_names_and_options():
    with pytest.raises(ValueError, match="transmorph.*gated"):
        build_network("transmorph")
    with pytest.raises(ValueError, match="backbone.*resnet"):
        build_network("vm", backbone="resnet")
    with pytest.raises(ValueError, match="depth"):
        build_network("gated", depth=3)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_training_step_reads_nothing_back_from_the_device(name, monkeypatch):
    # A "meta" tensor has a shape and no values: whatever would make a GPU wait for a value fails on it.
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())  # does not know this device
    network = build_network(name).to("meta").train()
    moving, fixed, mask = torch.rand(3, 2, 1, 20, 24, 28, device="meta")
    result = RegistrationLoss()(network(moving, fixed), moving, fixed, fixed_mask=mask, moving_mask=mask)
    result.total.backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in network.parameters())
