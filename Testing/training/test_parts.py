"""The small parts: intensities as the registration has them, flips, schedule, validation figures, batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import SimpleITK as sitk
import torch

from GradientGuidedRegistrationLib.model import warp
from GradientGuidedRegistrationLib.registration.intensity import normalize
from GradientGuidedRegistrationLib.training import TrainingSettings, augmentation, phantoms, sampling
from GradientGuidedRegistrationLib.training.augmentation import augmented, flipped
from GradientGuidedRegistrationLib.training.case import Case, join
from GradientGuidedRegistrationLib.training.intensity import normalize_ct, normalize_mr
from GradientGuidedRegistrationLib.training.phantom import phantom_pair
from GradientGuidedRegistrationLib.training.phantom.draws import Draws, training_seed
from GradientGuidedRegistrationLib.training.phantoms import PhantomSource, as_case, validation_phantom
from GradientGuidedRegistrationLib.training.sampling import Steps
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


def test_what_evaluates_is_never_trained_on(monkeypatch) -> None:
    """Of a seed, PyTorch's generator looks at 32 bits: of whatever run, training phantoms have none of those below."""
    seeds: list[int] = []

    def generated(seed: int, *arguments, **options):
        seeds.append(seed % 2**32)
        return pair

    pair = phantom_pair(0, (16, 16, 16))
    monkeypatch.setattr(phantoms, "phantom_pair", generated)
    for run in [*range(0, 2000, 7), 2**32 - 1]:
        source = PhantomSource((16, 16, 16), (1.0, 1.0), 0.25, run, torch.device("cpu"))
        for number in (0, 1, 20_000, 2_000_000):
            source(number)
    assert min(seeds) >= 2**31 and len(seeds) == len(set(seeds))
    seeds.clear()
    validation_phantom(5, (16, 16, 16), 1.0, torch.device("cpu"))
    assert seeds == [900_005]


def test_draws_of_a_run_have_seeds_of_their_own() -> None:
    purposes = ("phantom", "kind", "mixture", "order", "pair", "place")
    seeds = [training_seed(name, run, n) for name in purposes for run in (0, 1, 26, 429, 2**32 - 1) for n in range(500)]
    assert len(set(seeds)) == len(seeds)
    assert 2**31 <= min(seeds) and max(seeds) < 2**32


@pytest.mark.parametrize("fraction, batch, world", [(0.0, 1, 1), (0.5, 1, 1), (0.3, 2, 2), (1.0, 1, 1)])
def test_phantoms_take_no_numbers_of_own_pairs(fraction: float, batch: int, world: int) -> None:
    """However many phantoms lie between them, all processes together see own pairs 0, 1, 2, …"""

    class Files:
        numbers: list[int] = []

        def training_case(self, number: int, d: Draws) -> Case:
            self.numbers.append(number)
            return case

    case = as_case(phantom_pair(0, (16, 16, 16)), "pair")
    settings = TrainingSettings("unused", steps=60, batch=batch, phantom_fraction=fraction, augment=False)
    Files.numbers = []
    processes = [Steps(settings, lambda number: case, Files(), rank, world) for rank in range(world)]
    for step in range(60):
        for steps in processes:
            steps[step]
    assert sorted(Files.numbers) == list(range(len(Files.numbers)))
    assert len(Files.numbers) / (60 * batch * world) == pytest.approx(1 - fraction, abs=0.15)


def test_which_pairs_are_own_is_one_stream_of_draws(monkeypatch) -> None:
    """In blocks, whose size has no say: asked in any order, they are those of all steps drawn at once."""
    monkeypatch.setattr(sampling, "_BLOCK", 64)
    own = sampling.OwnNumbers(seed=3, phantom_fraction=0.4)
    drawn = torch.rand(1000, generator=torch.Generator().manual_seed(training_seed("mixture", 3, 0))) >= 0.4
    expected = torch.where(drawn, drawn.cumsum(0) - 1, -1).tolist()
    assert [own[number] for number in range(1000)] == expected
    assert [own[number] for number in (700, 699, 3, 999)] == [expected[number] for number in (700, 699, 3, 999)]


def test_long_runs_take_no_more_memory() -> None:
    """The mixture of 10¹² steps would fill it."""

    class Files:
        def training_case(self, number: int, d: Draws) -> Case:
            return case

    case = as_case(phantom_pair(0, (16, 16, 16)), "pair")
    settings = TrainingSettings("unused", steps=10**12, phantom_fraction=0.5, augment=False)
    steps = Steps(settings, lambda number: case, Files(), 0, 1)
    assert len(steps) == 10**12 and steps[0].names == ("pair",)
