"""The generated pairs: anatomy, truth, determinism, appearance, scanner geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.model import jacobian_determinant, warp
from GradientGuidedRegistrationLib.training.phantom import (
    LABELS,
    ORGANS,
    PhantomPair,
    deformation,
    phantom_images,
    phantom_pair,
)
from GradientGuidedRegistrationLib.training.phantom.draws import Draws

SHAPE = (56, 52, 60)


@pytest.fixture(scope="module")
def pairs() -> list[PhantomPair]:
    return [phantom_pair(seed, SHAPE) for seed in range(4)]


def dice(first: torch.Tensor, second: torch.Tensor, label: int) -> float:
    a, b = first == label, second == label
    return 2.0 * int((a & b).sum()) / max(1, int(a.sum() + b.sum()))


def test_every_structure_of_the_abdomen_is_there(pairs: list[PhantomPair]) -> None:
    for pair in pairs:
        for labels in (pair.fixed_labels, pair.moving_labels):
            assert set(np.unique(labels.numpy())) == set(range(len(LABELS)))
    assert set(ORGANS) <= set(pairs[0].label_names.values())


def test_truth_carries_the_moving_anatomy_onto_the_fixed_one(pairs: list[PhantomPair]) -> None:
    for pair in pairs:
        warped = warp(pair.moving_labels.float(), pair.displacement, mode="nearest").to(torch.uint8)
        for organ in ("liver", "spleen", "kidneys", "stomach"):
            label = LABELS.index(organ)
            after = dice(pair.fixed_labels, warped, label)
            # What is left is half a voxel of nearest-neighbour sampling; a sign error would make it worse than before.
            assert after > 0.84
            assert after > dice(pair.fixed_labels, pair.moving_labels, label)


def test_organs_overlap_by_three_quarters_before_registration() -> None:
    values = []
    for seed in range(20, 26):
        pair = phantom_pair(seed, (48, 48, 44))
        values.append(np.mean([dice(pair.fixed_labels, pair.moving_labels, LABELS.index(o)) for o in LABELS[1:4]]))
    assert 0.72 < np.mean(values) < 0.85


def test_body_askew_to_the_grid_is_deformed_along_its_own_axes(monkeypatch) -> None:
    """On a grid turned by a right angle, the same patient breathes the same way."""
    monkeypatch.setattr(deformation, "_random_warp", lambda *_: 0.0)
    line = torch.linspace(-0.9, 0.9, 24)
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"))
    axes = deformation.rotation((math.pi / 2, 0.0, 0.0))
    turned = torch.einsum("ij,jdhw->idhw", axes, points)
    upright = deformation.draw_deformation(Draws(5), points, 13.0)
    askew = deformation.draw_deformation(Draws(5), turned, 13.0, axes=axes)
    in_body = torch.einsum("ij,bjdhw->bidhw", axes, askew)
    # The body's (D, H, W) lie along the grid's (D, W, -H).
    torch.testing.assert_close(in_body, upright.transpose(3, 4).flip(4), atol=1e-4, rtol=0)
    assert float((in_body - upright).abs().max()) > 0.5


def test_turned_phantom_keeps_its_truth(pairs: list[PhantomPair]) -> None:
    askew, liver = phantom_pair(0, SHAPE, turn=40.0), LABELS.index("liver")
    assert dice(pairs[0].fixed_labels, askew.fixed_labels, liver) < 0.8
    warped = warp(askew.moving_labels.float(), askew.displacement, mode="nearest").to(torch.uint8)
    before, after = (dice(askew.fixed_labels, labels, liver) for labels in (askew.moving_labels, warped))
    assert after > max(0.84, before)


@pytest.mark.parametrize("kind", ["abdomen", "shapes"])
def test_deformation_never_folds(kind: str) -> None:
    for seed in range(4):
        pair = phantom_pair(seed, (24, 28, 26), kind=kind, strength=2.0, zoom=1.0 + seed / 3)
        assert float(jacobian_determinant(pair.displacement).min()) > 0
        assert float(pair.displacement.abs().max()) > 0.5


def test_same_seed_same_pair_other_seed_other_patient(pairs: list[PhantomPair]) -> None:
    again = phantom_pair(1, SHAPE)
    for name in ("fixed", "moving", "fixed_labels", "moving_labels", "displacement"):
        assert torch.equal(getattr(again, name), getattr(pairs[1], name))
    assert not torch.equal(pairs[0].moving_labels, pairs[1].moving_labels)


def test_ct_has_hounsfield_units(pairs: list[PhantomPair]) -> None:
    pair = phantom_pair(3, SHAPE, phase="none")
    hu, labels = pair.moving[0, 0], pair.moving_labels[0, 0]

    def median(name: str) -> float:
        return float(hu[labels == LABELS.index(name)].median())

    assert -125 < median("fat") < -75
    assert 30 < median("liver") < 80
    assert 25 < median("spleen") < 70
    assert median("spine") > 100
    assert median("lung") < -600
    assert float(hu[labels == 0].median()) < -950
    enhanced = phantom_pair(3, SHAPE, phase="arterial")
    assert float(enhanced.moving[0, 0][labels == LABELS.index("aorta")].median()) > median("aorta") + 100


def test_mr_contrast_follows_the_sequence() -> None:
    def signal(sequence: str) -> dict[str, float]:
        pair = phantom_pair(5, SHAPE, sequence=sequence)
        labels = pair.fixed_labels[0, 0]
        assert float(pair.fixed.min()) >= 0
        return {name: float(pair.fixed[0, 0][labels == LABELS.index(name)].median()) for name in LABELS}

    t1, t2, water, fat = (signal(name) for name in ("t1", "t2-fs", "dixon-water", "dixon-fat"))
    assert t1["fat"] > t1["liver"] > t1["spleen"]  # fat is bright, spleen darker than liver
    assert t2["gallbladder"] > t2["spleen"] > t2["liver"]  # water is bright, spleen brighter than liver
    assert water["liver"] > 1.5 * water["fat"]
    assert fat["fat"] > 3 * fat["liver"]
    assert t1["background"] < 0.3 * t1["liver"]


def test_organs_and_fat_are_not_featureless(pairs: list[PhantomPair]) -> None:
    pair = phantom_pair(2, (72, 72, 64), zoom=1.5)
    smooth = torch.nn.functional.avg_pool3d(pair.moving, 3, stride=1, padding=1)[0, 0]
    for name in ("liver", "fat"):
        inside = smooth[pair.moving_labels[0, 0] == LABELS.index(name)]
        assert float(inside.std()) > 6.0  # HU that remain after the noise is averaged


def test_shapes_carry_no_common_contrast() -> None:
    """MR and CT values of the labels are unrelated: over many cases the rank correlation is about zero."""
    correlations = []
    for seed in range(8):
        pair = phantom_pair(seed, (20, 20, 20), kind="shapes", strength=0.0, rigid=0.0)
        labels = [v for v in pair.label_names if int((pair.fixed_labels == v).sum()) > 20]
        ct = [float(pair.moving[pair.moving_labels == v].median()) for v in labels]
        mr = [float(pair.fixed[pair.fixed_labels == v].median()) for v in labels]
        correlations.append(np.corrcoef(np.argsort(np.argsort(ct)), np.argsort(np.argsort(mr)))[0, 1])
    assert abs(np.mean(correlations)) < 0.35


def test_without_strength_and_rigid_error_the_pair_is_aligned() -> None:
    pair = phantom_pair(0, (24, 24, 24), strength=0.0, rigid=0.0)
    assert float(pair.displacement.abs().max()) < 1e-4
    assert torch.equal(pair.fixed_labels, pair.moving_labels)


@pytest.mark.parametrize("change, words", [
    ({"kind": "brain"}, "abdomen, shapes"),
    ({"shape": (8, 40, 40)}, "16 voxels"),
])  # fmt: skip
def test_bad_input_is_named(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        phantom_pair(0, **{"shape": (24, 24, 24), **change})


def test_images_truth_holds_in_scanner_geometry() -> None:
    """Oblique, anisotropic, left-handed MR, another CT grid, a moved patient: the truth still aligns the labels."""
    handed = set()
    for seed in (0, 1, 2):
        images = phantom_images(seed, (60, 60, 56), 2.0, geometry="scanner")
        fixed, field = images["fixed_labels"], images["field"]
        transform = sitk.DisplacementFieldTransform(sitk.Image(field))
        warped = sitk.Resample(images["moving_labels"], fixed, transform, sitk.sitkNearestNeighbor, 0)
        before = sitk.Resample(images["moving_labels"], fixed, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        reference, after, unaligned = (sitk.GetArrayViewFromImage(image) for image in (fixed, warped, before))
        label = LABELS.index("liver")
        overlap = [2 * np.sum((a == label) & (reference == label)) / (np.sum(a == label) + np.sum(reference == label))
                   for a in (unaligned, after)]  # fmt: skip
        assert overlap[1] > 0.90
        assert overlap[1] > overlap[0]
        direction = np.array(images["fixed"].GetDirection()).reshape(3, 3)
        assert abs(direction[0, 0]) < 1 - 1e-6
        handed.add(np.linalg.det(direction) > 0)
        assert len({round(s, 6) for s in images["fixed"].GetSpacing()}) > 1
    assert handed == {True, False}


def test_field_image_equals_the_displacement() -> None:
    images, pair = phantom_images(4, (24, 20, 28), 1.5), phantom_pair(4, (24, 20, 28), 1.5)
    vector = images["field"].GetPixel(7, 11, 13)
    expected = pair.displacement[0, :, 13, 11, 7].flip(0).numpy() * 1.5
    np.testing.assert_allclose(vector, expected, atol=1e-5)
