"""The small parts: intensities as the registration has them, flips, schedule, validation figures, batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import SimpleITK as sitk
import torch

from GradientGuidedRegistrationLib.model import warp
from GradientGuidedRegistrationLib.registration.intensity import normalize
from GradientGuidedRegistrationLib.training import augmentation
from GradientGuidedRegistrationLib.training.augmentation import augmented, flipped
from GradientGuidedRegistrationLib.training.case import join
from GradientGuidedRegistrationLib.training.intensity import normalize_ct, normalize_mr
from GradientGuidedRegistrationLib.training.phantom import phantom_pair
from GradientGuidedRegistrationLib.training.phantom.draws import Draws
from GradientGuidedRegistrationLib.training.phantoms import as_case, validation_phantom
from GradientGuidedRegistrationLib.training.schedule import learning_rate
from GradientGuidedRegistrationLib.training.validation import mean_scores, score


@pytest.fixture(scope="module")
def pair():
    return phantom_pair(2, (40, 36, 44))


def test_intensities_are_those_of_the_registration(pair) -> None:
    """Trained on one mapping and used with another, a network would see images it has never seen."""
    full, measured = normalize_ct(pair.moving)
    expected = normalize(sitk.GetImageFromArray(pair.moving[0, 0].numpy()))
    assert torch.allclose(full[0, 0], torch.from_numpy(sitk.GetArrayFromImage(expected.image)), atol=1e-6)
    case = as_case(pair, "pair")
    assert torch.equal(case.moving_full, full) and torch.equal(case.moving, full.clamp(0, 1))
    assert torch.equal(measured[0, 0] > 0, torch.from_numpy(sitk.GetArrayFromImage(expected.valid)) > 0)
    fixed = normalize(sitk.GetImageFromArray(pair.fixed[0, 0].numpy()))
    assert torch.allclose(
        normalize_mr(pair.fixed)[0, 0], torch.from_numpy(sitk.GetArrayFromImage(fixed.image)), atol=0.02
    )


def test_flipped_truth_still_aligns(pair) -> None:
    case = as_case(pair, "pair")
    for axes in ([0], [1, 2], [0, 1, 2]):
        turned = flipped(case, axes)
        warped = warp(turned.moving_labels.float(), turned.displacement, mode="nearest")
        agreement = (warped == turned.fixed_labels).float().mean()
        straight = (warp(case.moving_labels.float(), case.displacement, mode="nearest") == case.fixed_labels).float()
        assert float(agreement) == pytest.approx(float(straight.mean()), abs=2e-3)


def test_augmentation_keeps_range_and_grid(pair) -> None:
    case = augmented(as_case(pair, "pair").without_labels(), Draws(3), with_warp=True)
    assert case.fixed.shape == pair.fixed.shape
    assert 0 <= float(case.moving.min()) and float(case.moving.max()) <= 1
    assert case.displacement is None  # the random warp is not part of the old truth


def test_augmentation_ends_a_field_of_view_within_the_volume(pair) -> None:
    """What is cut off is measured in neither image nor mask; what is left is as it was."""
    case = replace(as_case(pair, "pair").without_labels(), fixed=torch.ones_like(pair.fixed))
    shares = []
    for seed in range(40):
        varied = augmented(case, Draws(seed), with_warp=False)
        outside = varied.fixed_mask == 0
        assert torch.equal(varied.fixed == 0, outside)
        assert float(varied.moving[varied.moving_mask == 0].abs().sum()) == 0
        assert bool((varied.moving_full[varied.moving_mask == 0] == -1).all())
        shares += [1 - float(mask.mean()) for mask in (varied.fixed_mask, varied.moving_mask)]
    cut = [share for share in shares if share > 0]
    assert 5 < len(cut) < 40 and max(cut) < 0.65


def test_what_is_seen_and_what_is_compared_stay_one_image(pair, monkeypatch) -> None:
    """Only the contrast is the network's affair: flips, warps and cuts are those of one patient."""
    case = as_case(pair, "pair").without_labels()
    case = replace(case, moving_full=case.moving)  # a window on both would not commute with a warp
    of_contrast = augmented(case, Draws(1), with_warp=False)
    assert not torch.equal(of_contrast.moving, of_contrast.moving_full)
    monkeypatch.setattr(augmentation, "_contrast", lambda image, d: image)
    for seed in range(12):
        varied = augmented(case, Draws(seed), with_warp=True)
        assert not torch.equal(varied.moving, case.moving)
        torch.testing.assert_close(varied.moving, varied.moving_full, atol=0, rtol=0)


def test_score_knows_truth_and_identity(pair) -> None:
    case = as_case(pair, "pair")
    truth, zero = score(case.displacement, case), score(torch.zeros_like(case.displacement), case)
    assert truth["tre_mm"] == 0 and zero["tre_mm"] > 0.5
    assert truth["dice"] > zero["dice"] and truth["asd_mm"] < zero["asd_mm"]
    assert truth["folding_percent"] == 0
    folded = -3.0 * torch.arange(40.0).view(1, 1, -1, 1, 1).expand(1, 3, 40, 36, 44).clone()
    assert score(folded, case, distances=False)["folding_percent"] > 90
    assert mean_scores([{"dice": 0.5, "asd_mm": None}, {"dice": 1.0}]) == {"dice": 0.75, "asd_mm": None}


def test_cosine_schedule_warms_up_and_comes_down() -> None:
    rates = [learning_rate(step, 1000, 1e-3, "cosine") for step in range(1000)]
    assert rates[0] < 1e-4 and max(rates) == pytest.approx(1e-3) and rates[-1] < 3e-5
    assert rates.index(max(rates)) <= 20
    assert learning_rate(999, 1000, 1e-3, "constant") == 1e-3


def test_batch_of_two_keeps_both(pair) -> None:
    case = as_case(pair, "a")
    both = join([case, as_case(pair, "b").without_labels()])
    assert both.fixed.shape[0] == both.moving_full.shape[0] == 2 and both.names == ("a", "b")
    assert both.fixed_labels is None  # not all have them


def test_validation_phantoms_are_not_trained_on() -> None:
    case = validation_phantom(0, (24, 24, 24), 1.0, torch.device("cpu"))
    assert case.names == ("phantom 900000",)
