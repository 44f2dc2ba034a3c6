"""Linear alignment finds known motions from any start, and says when it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.stats import entropy

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration import linear
from GradientGuidedRegistrationLib.registration.grid import Grid
from GradientGuidedRegistrationLib.registration.intensity import Normalized, normalize
from GradientGuidedRegistrationLib.registration.pipeline import _restricted
from GradientGuidedRegistrationLib.training.phantom import phantom_images


@pytest.fixture(scope="module")
def pair() -> dict[str, sitk.Image]:
    """A phantom pair that differs by contrast only."""
    return phantom_images(7, shape=(64, 60, 56), spacing=4.0, strength=0.0, rigid=0.0)


def moved(image: sitk.Image, motion: sitk.Euler3DTransform) -> sitk.Image:
    """The same voxels, with the patient lying elsewhere: a point p is found at motion(p)."""
    image = sitk.Image(image)
    rotation = np.array(motion.GetMatrix()).reshape(3, 3)
    image.SetOrigin(motion.TransformPoint(image.GetOrigin()))
    image.SetDirection((rotation @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
    return image


def motion(image: sitk.Image, degrees: float, millimetres: float, seed: int = 0) -> sitk.Euler3DTransform:
    random = np.random.default_rng(seed)
    axis, shift = random.normal(size=(2, 3))
    versor = sitk.VersorRigid3DTransform()
    versor.SetRotation((axis / np.linalg.norm(axis)).tolist(), np.radians(degrees))
    result = sitk.Euler3DTransform()
    result.SetMatrix(versor.GetMatrix())
    result.SetCenter(Grid.of(image).center.tolist())
    result.SetTranslation((shift * millimetres / np.linalg.norm(shift)).tolist())
    return result


def mean_error(found: sitk.Transform, truth: sitk.Transform, image: sitk.Image) -> float:
    random = np.random.default_rng(1)
    points = [Grid.of(image).point(random.uniform(0.2, 0.8, 3) * image.GetSize()) for _ in range(100)]
    differences = [np.subtract(found.TransformPoint(p), truth.TransformPoint(p)) for p in points]
    return float(np.linalg.norm(differences, axis=1).mean())


@pytest.mark.parametrize(("degrees", "millimetres"), [(0, 0), (10, 25), (20, 40)])
def test_known_motion(pair, degrees, millimetres):
    truth = motion(pair["fixed"], degrees, millimetres)
    found = linear.align(normalize(pair["fixed"]), normalize(moved(pair["moving"], truth)), "rigid")
    assert mean_error(found, truth, pair["fixed"]) < 2.5  # of 4 mm voxels


def test_slab_in_a_larger_image_with_an_unrelated_origin(pair):
    slab = pair["fixed"][:, :, 24:40]
    far = motion(slab, 5, 0)
    far.SetTranslation((30.0, -20.0, 700.0))
    found = linear.align(normalize(slab), normalize(moved(pair["moving"], far)), "rigid")
    assert mean_error(found, far, slab) < 4.0


def test_affine_finds_a_scaling(pair):
    stretched = sitk.Image(pair["moving"])
    stretched.SetSpacing([s * f for s, f in zip(stretched.GetSpacing(), (1.08, 1.0, 0.95))])
    center = Grid.of(pair["fixed"]).center
    stretched.SetOrigin([c + (o - c) * f for c, o, f in zip(center, stretched.GetOrigin(), (1.08, 1.0, 0.95))])
    truth = sitk.ScaleTransform(3, (1.08, 1.0, 0.95))
    truth.SetCenter(center.tolist())
    fixed, moving = normalize(pair["fixed"]), normalize(stretched)
    rigid, affine = (linear.align(fixed, moving, kind) for kind in ("rigid", "affine"))
    assert mean_error(affine, truth, pair["fixed"]) < min(2.5, mean_error(rigid, truth, pair["fixed"]))


def test_initial_transform_is_the_start(pair):
    truth = motion(pair["fixed"], 8, 20)
    start = motion(pair["fixed"], 10, 26)
    fixed, moving = normalize(pair["fixed"]), normalize(moved(pair["moving"], truth))
    assert linear.align(fixed, moving, "none", start) is start
    assert mean_error(linear.align(fixed, moving, "rigid", start), truth, pair["fixed"]) < 2.5


def test_a_bent_start_is_kept_and_aligned_on_top(pair, tmp_path):
    grid = Grid.of(pair["fixed"])
    bend = sitk.DisplacementFieldTransform(grid.image(np.full((*grid.shape, 3), (4.0, 0.0, -6.0))))
    truth = motion(pair["fixed"], 6, 10)
    fixed, moving = normalize(pair["fixed"]), normalize(moved(pair["moving"], truth))
    assert linear.align(fixed, moving, "none", bend) is bend
    # The field ends with the image, so that its rim pulls: three quarters of a voxel are allowed.
    assert mean_error(bend, truth, pair["fixed"]) > 10
    found, again = (linear.align(fixed, moving, "rigid", bend) for _ in range(2))
    assert mean_error(found, truth, pair["fixed"]) < 3.0
    sitk.WriteTransform(
        linear.align(fixed, moving, "rigid", sitk.CompositeTransform([truth, bend])), str(tmp_path / "t.h5")
    )
    points = Grid.of(pair["fixed"]).corners.tolist()
    assert [found.TransformPoint(p) for p in points] == [again.TransformPoint(p) for p in points]


@pytest.mark.parametrize(("millimetres", "descents"), [(2.0, 1), (25.0, 2)])
def test_where_the_images_start_is_followed_unless_it_is_near_what_was_found(pair, monkeypatch, millimetres, descents):
    followed = []
    optimized = linear.Level.optimized

    def counted(level, start, seed):
        if level.fixed.GetSpacing()[0] < 3:
            followed.append(start.GetParameters())
        return optimized(level, start, seed)

    monkeypatch.setattr(linear.Level, "optimized", counted)
    fixed, ct = normalize(pair["fixed"]), pair["moving"]
    truth = motion(ct, 0.0, millimetres)
    found = linear.align(fixed, normalize(moved(ct, truth)), "rigid")
    assert len(followed) == descents
    assert (np.zeros(6).tolist() in [list(start) for start in followed]) == (descents == 2)
    assert mean_error(found, truth, pair["fixed"]) < 2.5


def test_without_overlap(pair):
    fixed = normalize(pair["fixed"])
    away = sitk.Image(pair["moving"])
    away.SetOrigin((-100.0, -100.0, 900.0))
    with pytest.raises(InputError, match="do not overlap.*initial transform"):
        linear.align(fixed, normalize(away), "none")
    away.SetOrigin((1000.0, 1000.0, 1000.0))
    with pytest.raises(InputError, match="too far for one patient"):
        linear.align(fixed, normalize(away), "rigid")
    lost = sitk.TranslationTransform(3, (900.0, 0.0, 0.0))
    with pytest.raises(InputError, match="Through the initial transform the fixed and .* do not overlap"):
        linear.align(fixed, normalize(pair["moving"]), "rigid", lost)


@pytest.mark.parametrize("seed", [4, 2**32 - 1])
def test_same_seed_same_result(pair, seed):
    fixed, moving = normalize(pair["fixed"]), normalize(moved(pair["moving"], motion(pair["fixed"], 5, 10)))
    first, second = (linear.align(fixed, moving, "rigid", seed=seed).GetParameters() for _ in range(2))
    assert first == second


def test_mutual_information_against_counting():
    values = np.random.default_rng(0).integers(0, 32, (16, 16, 16))
    image = sitk.GetImageFromArray(((values + 0.5) / 32).astype(np.float32))
    everywhere = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    level = linear.Level(image, image, everywhere, everywhere)
    share = np.bincount(values.ravel()) / values.size
    assert np.isclose(level.mutual_information(sitk.Transform(3, sitk.sitkIdentity)), -(share * np.log(share)).sum())


def test_information_told_against_its_definition():
    """Grey values that go on over several voxels, so that something is left of what they say when pushed off."""
    rng = np.random.default_rng(0)
    values = np.kron(rng.integers(0, 32, (7, 8, 9)), np.ones((3, 3, 3), int))
    related = np.where(rng.random(values.shape) < 0.6, (values // 4) ** 2 % 32, rng.integers(0, 8, values.shape))
    fixed, moving = (sitk.GetImageFromArray(((v + 0.5) / 32).astype(np.float32)) for v in (values, related))
    for image in (fixed, moving):
        image.SetSpacing((3.0, 3.0, 3.0))
    everywhere = sitk.BinaryThreshold(fixed, 0.0, 1.0)
    still = sitk.Transform(3, sitk.sitkIdentity)
    of_fixed, of_moving = (entropy(np.bincount(v.ravel())) for v in (values, related))

    def shared(offset: np.ndarray) -> float:
        z, y, x = (slice(2 + by, 2 + by + n) for by, n in zip(offset, values.shape))
        there = np.pad(related, 2, mode="edge")[z, y, x]
        joint = np.histogram2d(values.ravel(), there.ravel(), bins=[range(33)] * 2)[0]
        return entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel())

    pushed = np.mean([shared(by * axis) for axis in np.eye(3, dtype=int) for by in (-2, 2)])
    level = linear.Level(fixed, moving, everywhere, everywhere)
    told = (shared(np.zeros(3, int)) - pushed) / min(of_fixed, of_moving)
    assert told > 0.1 and np.isclose(level.information_told(still, 6.0), told)
    nothing = fixed * 0
    assert replace(level, fixed=nothing, moving=nothing).information_told(still, 6.0) == 0.0


def test_mutual_information_of_a_large_image_is_had_from_a_part_of_it(pair):
    """Of a level with an outer transform, so that the voxels left must keep their places; a small one stays whole."""
    shift = sitk.TranslationTransform(3, (9.0, -5.0, 4.0))
    level = linear.Level.of(normalize(pair["fixed"]), normalize(pair["moving"]), shift)
    large, motion_ = level.at(1.8), sitk.TranslationTransform(3, (2.0, 1.0, -3.0))
    thin = large.thinned()
    assert thin.fixed.GetNumberOfPixels() < 0.2 * large.fixed.GetNumberOfPixels()
    assert thin.mutual_information(motion_) == pytest.approx(large.mutual_information(motion_), rel=0.02)
    assert level.thinned().fixed.GetSize() == level.fixed.GetSize()


def test_a_tight_mask_does_not_lead_the_alignment_astray(pair):
    """Within one organ hardly anything says where the rest of the body lies."""
    fixed, moving = normalize(pair["fixed"]), normalize(moved(pair["moving"], motion(pair["fixed"], 6, 15)))
    free = linear.align(fixed, moving, "rigid")
    values = sitk.GetArrayViewFromImage(pair["fixed"])
    spot = np.zeros(values.shape, np.uint8)
    z, y, x = (slice(int(0.45 * n), int(0.6 * n)) for n in values.shape)
    spot[z, y, x] = 1
    inside = Grid.of(fixed.image).image(spot) * fixed.valid
    masked = replace(fixed, valid=inside, excluded=fixed.valid - inside)
    assert 0 < masked.counted < 0.05 and fixed.counted == 1.0
    corners = Grid.of(pair["fixed"]).corners_through(free)
    assert np.allclose(Grid.of(pair["fixed"]).corners_through(linear.align(masked, moving, "rigid")), corners)


def test_a_thin_slab_does_not_blow_up_the_other_image(pair, monkeypatch):
    monkeypatch.setattr(linear, "_MOST", 200_000)
    slab = pair["fixed"][:, :, 30:34]
    level = linear.Level.of(normalize(slab), normalize(pair["moving"])).at(0.8)
    assert level.moving.GetNumberOfPixels() < 250_000 and level.fixed.GetSpacing()[0] >= 0.8
    assert min(linear._spacings(pair["fixed"][:, :, 30:32])) > 1.4
    whole = linear.Level.of(normalize(slab), normalize(pair["moving"])).at(5.0)
    assert whole.moving.GetSpacing()[0] == pytest.approx(5.0)


def test_a_level_made_from_a_finer_one_shows_the_same(pair):
    """Oblique images with what was not measured around them: on grids that may differ, values hardly do."""
    turned = moved(pair["fixed"], motion(pair["fixed"], 25, 0))
    level = linear.Level.of(normalize(turned), normalize(pair["moving"]))
    direct, by_steps = level.at(16.0), level.at(8.0).at(16.0)
    for image, mask, other in (
        (direct.fixed, direct.fixed_mask, by_steps.fixed),
        (direct.moving, direct.moving_mask, by_steps.moving),
    ):
        there = sitk.GetArrayFromImage(Grid.of(image).resample(other))
        inside = sitk.GetArrayFromImage(sitk.BinaryErode(mask, [1] * 3)) > 0
        here = sitk.GetArrayFromImage(image)
        assert np.corrcoef(here[inside], there[inside])[0, 1] > 0.99
        assert np.abs(here - there)[inside].mean() < 0.03


def test_masked_regions_do_not_decide(pair):
    """A bright block that is in the moving image only, and masked out there, must not move the result."""
    truth = motion(pair["fixed"], 6, 12)
    other = moved(pair["moving"], truth)
    values = sitk.GetArrayFromImage(other)
    values[:, :16] = np.random.default_rng(0).uniform(-1000, 1500, values[:, :16].shape)
    spoiled = sitk.GetImageFromArray(values)
    spoiled.CopyInformation(other)
    mask = np.ones(values.shape, np.uint8)
    mask[:, :16] = 0
    valid = sitk.GetImageFromArray(mask)
    valid.CopyInformation(other)
    found = linear.align(normalize(pair["fixed"]), _restricted(normalize(spoiled), valid, "moving mask"), "rigid")
    assert mean_error(found, truth, pair["fixed"]) < 4.0


def test_background_is_added_along_axes_where_the_moving_image_can_hold_the_fixed_one(pair):
    """One half as long cannot; an oblique fixed image is as long as its shadow."""
    fixed = normalize(pair["fixed"])
    depth = pair["moving"].GetDepth()
    short = normalize(pair["moving"][:, :, : depth // 2])
    assert linear.Level.of(fixed, normalize(pair["moving"])).at(8.0)._rim() == [10, 10, 10]
    assert linear.Level.of(fixed, short).at(8.0)._rim() == [10, 10, 0]
    turned = moved(pair["fixed"], motion(pair["fixed"], 45, 0))
    assert 0 in linear.Level.of(normalize(turned), short).at(8.0)._rim()


def test_background_follows_what_was_measured_and_leaves_out_what_was_masked():
    """A field of view without one of its edges, as a turned one in its box, and a mask without another."""
    valid, mask = np.ones((2, 40, 40, 40), np.uint8)
    valid[20:, 20:] = 0
    mask[:10, :10] = 0
    image, valid_image, mask_image = (sitk.GetImageFromArray(array) for array in (np.float32(valid), valid, mask))
    measured = Normalized(image, valid_image)
    masked = _restricted(measured, mask_image, "moving mask")
    for moving, counts_where_masked in ((measured, 1), (masked, 0)):
        mask_with_rim = linear.Level.of(measured, moving).at(0.9)._rimmed[1]
        points = (20, 10, 30), (20, 25, 25), (-5, 10, 30), (20, 36, 36), (-8, -8, 30), (20, 5, 5)
        counts = [mask_with_rim[mask_with_rim.TransformPhysicalPointToIndex(tuple(map(float, p)))] for p in points]
        assert counts == [1, 1, 1, 0, 0, counts_where_masked]  # inside, beside twice, too far twice, masked
