"""Eqs. 2, 3 and 5, term by term."""

from __future__ import annotations

import pytest
import torch

from GradientGuidedRegistrationLib.model import (
    NETWORKS,
    PRESETS,
    Prediction,
    RegistrationLoss,
    build_network,
    gradient_magnitude,
    mind,
    mind_ssc,
    warp,
)
from GradientGuidedRegistrationLib.model.regularity import REGULARITIES, mean_squared_gradient, sum_of_gradient_norms

SHAPE = (10, 11, 12)
DUAL_TERMS = {"image_similarity", "gradient_similarity", "smoothness", "gradient_smoothness"}


@pytest.fixture
def pair(texture):
    return texture(SHAPE, seed=1), texture(SHAPE, seed=2)


@pytest.fixture
def prediction(smooth_field):
    fields = [smooth_field(SHAPE, 1.5, seed).requires_grad_() for seed in range(3)]
    return Prediction(*fields)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_total_is_eq_2(preset, pair, prediction):
    loss, (moving, fixed) = RegistrationLoss.preset(preset), pair
    result = loss(prediction, moving, fixed)
    describe = mind if loss.descriptor == "mind" else mind_ssc
    warped = describe(warp(moving, prediction.displacement))
    warped_map = describe(warp(gradient_magnitude(moving), prediction.gradient_displacement))
    expected = {
        "image_similarity": (warped - describe(fixed)).abs().mean(),
        "gradient_similarity": (warped_map - describe(gradient_magnitude(fixed))).abs().mean(),
        "smoothness": mean_squared_gradient(prediction.displacement),
        "gradient_smoothness": mean_squared_gradient(prediction.gradient_displacement),
    }
    assert set(result.terms) == set(expected) == DUAL_TERMS
    for name, value in expected.items():
        assert torch.allclose(result.terms[name], value, atol=1e-6), name
    total = (
        expected["image_similarity"]
        + loss.alpha * expected["gradient_similarity"]
        + loss.gamma * expected["smoothness"]
        + loss.beta * expected["gradient_smoothness"]
    )
    assert torch.allclose(result.total, total, atol=1e-6)
    fields = (prediction.displacement, prediction.gradient_displacement)
    for found, reference in zip(torch.autograd.grad(result.total, fields), torch.autograd.grad(total, fields)):
        assert torch.allclose(found, reference, atol=1e-4 * reference.abs().max())


def test_presets_are_the_paper_s():
    weights = {name: (loss.alpha, loss.beta, loss.gamma, loss.descriptor) for name, loss in PRESETS.items()}
    assert weights["paper-abdomen"] == (0.5, 0.5, 1.0, "mind")
    assert weights["paper-kidney"] == (0.4, 0.3, 0.8, "mind")
    assert weights["default"][3] == "mind-ssc"
    assert RegistrationLoss.preset("paper-kidney", gamma=2.0).gamma == 2.0


@pytest.mark.parametrize("name", list(NETWORKS))
def test_each_network_has_its_terms_and_all_its_parameters_learn(name, pair):
    network = build_network(name)
    for parameter_name, parameter in network.named_parameters():
        if "flow.weight" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.05)
    result = RegistrationLoss()(network(*pair), *pair)
    assert set(result.terms) == (DUAL_TERMS if name in ("gated", "average") else {"image_similarity", "smoothness"})
    result.total.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_image_branch_of_a_dual_network_has_no_term_of_its_own(pair, prediction):
    total = RegistrationLoss()(prediction, *pair).total
    assert torch.autograd.grad(total, prediction.image_displacement, allow_unused=True) == (None,)


def test_an_aligned_pair_has_no_loss(texture):
    image, zero = texture(SHAPE), torch.zeros(1, 3, *SHAPE)
    result = RegistrationLoss()(Prediction(zero, zero, zero), image, image)
    assert result.total < 1e-6


def test_what_does_not_change_is_computed_once_a_pair(pair, prediction, monkeypatch):
    from GradientGuidedRegistrationLib.model.self_similarity import Descriptor

    calls = []
    describe = Descriptor.__call__
    monkeypatch.setattr(Descriptor, "__call__", lambda self, image: calls.append(image) or describe(self, image))
    objective = RegistrationLoss().of_pair(*pair)
    values = [objective(prediction).total.item() for _ in range(3)]
    assert len(calls) == 2 and values[0] == values[1] == values[2]


def test_masks_choose_the_voxels_that_count(pair, prediction):
    moving, fixed = pair
    fixed_mask, moving_mask = torch.zeros_like(fixed), torch.zeros_like(moving)
    fixed_mask[:, :, 2:8], moving_mask[..., 3:] = 1, 1
    found = RegistrationLoss()(prediction, moving, fixed, fixed_mask=fixed_mask, moving_mask=moving_mask)
    for name, source, target, field in (
        ("image_similarity", moving, fixed, prediction.displacement),
        (
            "gradient_similarity",
            gradient_magnitude(moving),
            gradient_magnitude(fixed),
            prediction.gradient_displacement,
        ),
    ):
        error = (mind_ssc(warp(source, field)) - mind_ssc(target)).abs().mean(dim=1, keepdim=True)
        weight = fixed_mask * warp(moving_mask, field)
        assert torch.allclose(found.terms[name], (error * weight).sum() / weight.sum(), atol=1e-6), name
    nothing = RegistrationLoss()(prediction, moving, fixed, fixed_mask=torch.zeros_like(fixed))
    assert nothing.terms["image_similarity"] == 0 and torch.isfinite(nothing.total)


def test_half_precision_images_are_compared_in_float32(pair, prediction):
    halves = [image.half() for image in pair]
    found = RegistrationLoss()(prediction, *halves).total
    assert found.dtype == torch.float32
    assert torch.allclose(found, RegistrationLoss()(prediction, *(image.float() for image in halves)).total)


def test_roughness_of_a_ramp_by_hand():
    field = torch.zeros(1, 3, 4, 4, 4)
    field[0, 0] = 2 * torch.arange(4.0).view(4, 1, 1)
    field[0, 2] = torch.arange(4.0).view(1, 4, 1)
    # One of three components changes by 2 along D, one by 1 along H: means 4/3 and 1/3, a third of their sum.
    assert torch.allclose(mean_squared_gradient(field), torch.tensor((4 / 3 + 1 / 3) / 3))
    # ‖∇φ‖ is √5 inside, 1 on the last plane along D, 2 on the last along H, 0 on both.
    expected = 4 * (3 * 3 * 5**0.5 + 3 * 1.0 + 3 * 2.0)
    assert torch.allclose(sum_of_gradient_norms(field), torch.tensor(expected))


@pytest.mark.parametrize("name", list(REGULARITIES))
def test_roughness_ignores_translation_and_thin_axes_and_passes_gradcheck(name):
    roughness = REGULARITIES[name]
    field = torch.randn(1, 3, 4, 3, 5, dtype=torch.double, requires_grad=True)
    assert torch.allclose(roughness(field), roughness(field + 7.0))
    assert torch.autograd.gradcheck(roughness, field, fast_mode=True)
    flat = torch.zeros(1, 3, 1, 4, 4, requires_grad=True)
    roughness(flat).backward()
    assert torch.equal(flat.grad, torch.zeros_like(flat))


def test_refuses_wrong_settings_and_shapes(pair, prediction):
    moving, fixed = pair
    with pytest.raises(ValueError, match="descriptor.*mutual"):
        RegistrationLoss(descriptor="mutual information")
    with pytest.raises(ValueError, match="negative"):
        RegistrationLoss(alpha=-1)
    with pytest.raises(ValueError, match="preset.*brain"):
        RegistrationLoss.preset("brain")
    with pytest.raises(ValueError, match="fixed mask"):
        RegistrationLoss()(prediction, moving, fixed, fixed_mask=torch.ones(1, 1, 3, 3, 3))
    with pytest.raises(ValueError, match="moving image.*fixed image"):
        RegistrationLoss()(prediction, moving[..., 1:], fixed)
