"""The whole pipeline on phantoms: accuracy, geometry, repeatability, manners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import gaussian_filter

from GradientGuidedRegistrationLib.errors import Cancelled, InputError
from GradientGuidedRegistrationLib.model import Prediction, build_network
from GradientGuidedRegistrationLib.registration import Result, Settings, pipeline, problem, register
from GradientGuidedRegistrationLib.registration.descriptors import Descriptors
from GradientGuidedRegistrationLib.registration.grid import Grid
from GradientGuidedRegistrationLib.registration.intensity import Normalized
from GradientGuidedRegistrationLib.registration.models import MODELS
from GradientGuidedRegistrationLib.training.phantom import LABELS, phantom_images

PAIR_ALONE = Settings(use_network=False, refine=30)


@pytest.fixture(scope="module")
def phantom() -> dict[str, sitk.Image]:
    return phantom_images(12, shape=(68, 72, 76), spacing=2.0)


@pytest.fixture(scope="module")
def result(phantom) -> Result:
    return register(phantom["fixed"], phantom["moving"], PAIR_ALONE)


def body_points(phantom, count: int = 300) -> np.ndarray:
    inside = np.argwhere(sitk.GetArrayViewFromImage(phantom["fixed_labels"]) > 0)
    chosen = inside[np.random.default_rng(0).choice(len(inside), count, replace=False)][:, ::-1]
    return np.array([phantom["fixed"].TransformIndexToPhysicalPoint(tuple(map(int, index))) for index in chosen])


def moved(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


def target_error(result: Result, phantom) -> float:
    points = body_points(phantom)
    truth = sitk.DisplacementFieldTransform(sitk.Image(phantom["field"]))
    return float(np.linalg.norm(moved(result.transform, points) - moved(truth, points), axis=1).mean())


def test_registration_brings_the_anatomy_together(phantom, result):
    points = body_points(phantom)
    truth = sitk.DisplacementFieldTransform(sitk.Image(phantom["field"]))
    before = np.linalg.norm(moved(truth, points) - points, axis=1).mean()
    assert target_error(result, phantom) < 0.8 * before
    information = result.quality["mutual_information"]
    assert information["after"] > information["linear"] >= 0.99 * information["before"]
    assert result.quality["folding_percent"] == 0


def test_result_says_what_was_done(result):
    assert result.settings.device == "cpu"
    assert set(result.timings) == {"prepare", "align", "predict", "refine", "assemble"}
    assert {"torch", "SimpleITK", "GradientGuidedRegistration"} <= set(result.versions)
    assert result.quality["displacement_mm"]["max"] > 0


def test_same_input_same_result(phantom, result):
    again = register(phantom["fixed"], phantom["moving"], PAIR_ALONE)
    assert np.array_equal(sitk.GetArrayViewFromImage(again.field), sitk.GetArrayViewFromImage(result.field))


def test_identical_images_stay_where_they_are(phantom):
    points = body_points(phantom)
    same = register(phantom["fixed"], phantom["fixed"], PAIR_ALONE)
    assert np.linalg.norm(moved(same.transform, points) - points, axis=1).max() < 0.1


def turned(image: sitk.Image) -> sitk.Image:
    """The same anatomy in voxels that run the other way along two axes: RAS instead of LPS."""
    return sitk.Flip(image, (True, True, False))


def left_handed(image: sitk.Image) -> sitk.Image:
    return sitk.Flip(image, (False, False, True))


def oblique(image: sitk.Image) -> sitk.Image:
    turn = sitk.Euler3DTransform()
    turn.SetRotation(np.radians(25), np.radians(-25), 0.0)
    grid = Grid.of(image)
    origin = grid.center - np.array(turn.GetMatrix()).reshape(3, 3) @ ((np.array(grid.size) - 1) / 2 * grid.spacing)
    background = float(sitk.GetArrayViewFromImage(image).min())
    return sitk.Resample(
        image, grid.size, sitk.Transform(), sitk.sitkLinear, origin.tolist(), grid.spacing, turn.GetMatrix(), background
    )


def anisotropic(image: sitk.Image) -> sitk.Image:
    size = [int(n * s / t) for n, s, t in zip(image.GetSize(), image.GetSpacing(), (1.5, 1.5, 5.0))]
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), (1.5, 1.5, 5.0))


def cropped(image: sitk.Image) -> sitk.Image:
    return image[3:-4, 2:-5, 1:-4]  # sizes that 16 does not divide


# Images that hold the same voxels, only told otherwise, must give the same field; where voxels are interpolated or cut
# away, the same within a millimetre at the median.
@pytest.mark.parametrize("change", [turned, left_handed, oblique, anisotropic, cropped], ids=lambda f: f.__name__)
@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_geometry_does_not_matter(phantom, result, change, which):
    images = {name: phantom[name] for name in ("fixed", "moving")}
    images[which] = change(images[which])
    points = body_points(phantom)
    inner = np.array([images["fixed"].TransformPhysicalPointToContinuousIndex(p) for p in points.tolist()])
    points = points[np.all((inner > 3) & (inner < np.array(images["fixed"].GetSize()) - 4), axis=1)]
    other = register(images["fixed"], images["moving"], PAIR_ALONE)
    distance = np.linalg.norm(moved(other.transform, points) - moved(result.transform, points), axis=1)
    if change in (turned, left_handed):
        assert distance.max() < 0.01
    assert np.median(distance) < 1.0


def test_padding_is_not_looked_at_and_the_field_reaches_over_it(phantom, result):
    """A volume with a wide rim of padding gives the field that it gives without, on a grid that is hardly larger."""
    padded = sitk.ConstantPad(phantom["fixed"], (20, 0, 30), (0, 40, 10), -1.0)
    other = register(padded, phantom["moving"], PAIR_ALONE)
    assert other.quality["working_grid"] == result.quality["working_grid"]
    points = body_points(phantom)
    distance = np.linalg.norm(moved(other.transform, points) - moved(result.transform, points), axis=1)
    assert np.median(distance) < 0.1  # beside padding the images are smoothed differently
    far = np.array(padded.TransformIndexToPhysicalPoint((2, padded.GetSize()[1] - 3, 2)))
    assert np.linalg.norm(np.array(other.transform.TransformPoint(far.tolist())) - far) > 0.1
    assert other.quality["folding_percent"] == 0


def test_inverse_on_request(phantom, result):
    assert result.inverse_field is None
    both = register(phantom["fixed"], phantom["moving"], Settings(use_network=False, refine=5, inverse=True))
    assert both.quality["inverse_residual_mm"]["mean"] < 0.1
    assert both.quality["inverse_residual_mm"]["p99"] < 0.5


def test_masks_take_no_trust_away(phantom):
    """What they leave out does not count: neither against the similarity nor against the field of view."""
    organ = sitk.BinaryDilate(phantom["moving_labels"] == LABELS.index("liver"), [5] * 3)
    body = sitk.Cast(phantom["fixed_labels"] > 0, sitk.sitkUInt8)
    still = replace(PAIR_ALONE, initialization="none")
    free, masked, in_body = (
        register(phantom["fixed"], phantom["moving"], still, **masks)
        for masks in ({}, {"moving_mask": organ}, {"fixed_mask": body})
    )
    for result in (masked, in_body):
        assert result.quality["overlap"] == free.quality["overlap"]
        share = "information_told"
        assert result.quality[share] == pytest.approx(free.quality[share], rel=0.15)
        assert result.quality["mutual_information"]["after"] > result.quality["mutual_information"]["before"]


def test_mutual_information_as_scanned_and_through_the_initial_transform(phantom):
    away = sitk.TranslationTransform(3, (0.0, 0.0, 30.0))
    still = replace(PAIR_ALONE, initialization="none", refine=0)
    plain, shifted = (
        register(phantom["fixed"], phantom["moving"], still, initial_transform=initial).quality["mutual_information"]
        for initial in (None, away)
    )
    assert plain["initial"] == plain["before"] == shifted["before"]
    assert shifted["initial"] == pytest.approx(shifted["linear"]) and shifted["initial"] < 0.9 * shifted["before"]


def test_masks_on_any_grid(phantom):
    mask = sitk.Cast(phantom["fixed_labels"] > 0, sitk.sitkUInt8)
    coarse = sitk.Resample(mask, (26, 26, 26), sitk.Transform(), sitk.sitkNearestNeighbor, mask.GetOrigin(), (6.0,) * 3)
    masked = register(phantom["fixed"], phantom["moving"], PAIR_ALONE, fixed_mask=coarse)
    assert target_error(masked, phantom) < 4.0
    with pytest.raises(InputError, match="fixed mask is empty"):
        register(phantom["fixed"], phantom["moving"], PAIR_ALONE, fixed_mask=coarse * 0)
    coarse.SetOrigin((5000.0, 0.0, 0.0))
    with pytest.raises(InputError, match="fixed mask covers almost nothing"):
        register(phantom["fixed"], phantom["moving"], PAIR_ALONE, fixed_mask=coarse)


def test_progress_and_cancel(phantom):
    seen: list[tuple[str, float]] = []
    register(phantom["fixed"], phantom["moving"], Settings(use_network=False, refine=2),
             progress=lambda step, fraction: seen.append((step, fraction)))  # fmt: skip
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert list(dict.fromkeys(step for step, _ in seen))[:2] == ["prepare", "align"]

    def cancel(step: str, fraction: float) -> None:
        if step == "refine":
            raise Cancelled

    with pytest.raises(Cancelled):
        register(phantom["fixed"], phantom["moving"], PAIR_ALONE, progress=cancel)


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (sitk.Image((40, 40, 15), sitk.sitkFloat32), "at least 16"),
        (sitk.Image((40, 40, 40), sitk.sitkFloat32) + 7, "constant"),
        (sitk.Image((40, 40), sitk.sitkFloat32), "2 dimensions"),
    ],
)
def test_images_that_cannot_be_registered(phantom, image, match):
    for fixed, moving, name in ((image, phantom["moving"], "fixed"), (phantom["fixed"], image, "moving")):
        with pytest.raises(InputError, match=f"{name} image.*{match}"):
            register(fixed, moving, PAIR_ALONE)


def test_settings_are_checked():
    for wrong in (
        {"use_network": "A" * 5000},
        {"method": "x" * 5000},
        {"method": "x"},
        {"device": "tpu"},
        {"initialization": "b"},
        {"refine": -1},
        {"spacing": 0.0},
    ):
        with pytest.raises(InputError):
            Settings(**wrong)


def test_a_method_that_the_weights_contradict_is_refused(phantom, folding_weights):
    """Without a method the weights decide; without weights it is the gated one."""
    with pytest.raises(InputError, match="gated.pt holds weights of the network 'gated', not of 'vm'; ask for 'gated'"):
        register(phantom["fixed"], phantom["moving"], Settings(method="vm", weights=folding_weights))
    packaged = MODELS / "vm.pt"
    networks = [
        pipeline._load_network(settings, "cpu").name
        for settings in (Settings(), Settings(method="vm"), Settings(weights=packaged), Settings("vm", packaged))
    ]
    assert networks == ["gated", "vm", "vm", "vm"]


def test_a_network_that_misleads_is_not_used(phantom, result, folding_weights):
    """Random weights move the image anywhere; the result must be that of refinement alone, and say so."""
    settings = Settings(weights=folding_weights, refine=PAIR_ALONE.refine)
    misled = register(phantom["fixed"], phantom["moving"], settings)
    assert misled.quality["network"] == "gated" and not misled.quality["network_used"]
    assert np.array_equal(sitk.GetArrayViewFromImage(misled.field), sitk.GetArrayViewFromImage(result.field))
    disagreement = sitk.GetArrayFromImage(misled.image_field) - sitk.GetArrayFromImage(misled.gradient_field)
    assert np.abs(disagreement).max() > 1  # the branches are still there to be looked at


@pytest.mark.parametrize("refine", [None, 8, 0])
@pytest.mark.parametrize("helps", [True, False])
def test_a_network_is_gone_out_from_where_that_leads_closer(monkeypatch, phantom, helps, refine):
    """Of two constant fields, neither of which folds, one undoes a shift along the body and the other doubles it."""
    millimetres, spacing = 24.0, 2.0
    moving = sitk.Image(phantom["moving"])
    x, y, z = moving.GetOrigin()
    moving.SetOrigin((x, y, z + millimetres))

    def predicted(network, pair, settings):
        displacement = torch.zeros(1, 3, *pair.fixed.shape[2:])
        displacement[:, 0] = millimetres / spacing * (1 if helps else -1)
        return Prediction(displacement)

    monkeypatch.setattr(pipeline, "_predicted", predicted)
    settings = Settings(initialization="none", refine=refine, spacing=spacing)
    result = register(phantom["fixed"], moving, settings)
    assert result.quality["network_used"] is helps
    information = result.quality["mutual_information"]
    assert information["after"] > information["before"] if helps else information["after"] >= information["before"]


@pytest.mark.parametrize(("initialization", "share"), [("none", 1.0), ("rigid", 0.7)])
def test_without_refinement_half_of_what_the_network_says_in_detail_is_taken_and_a_share_after_an_alignment(
    monkeypatch, phantom, initialization, share
):
    """It says the truth of a pair that differs by the deformation alone, and errs by a little everywhere."""
    fields = {}

    def predicted(network, pair, settings):
        grid = pipeline.working_grid(Grid.of(phantom["fixed"]), settings.spacing, refined=False)
        truth = sitk.GetArrayFromImage(grid.resample(phantom["field"]))
        error = 0.1 * torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(1))
        fields["said"] = torch.from_numpy(grid.vectors_from_lps(truth).astype(np.float32))[None] + error
        fields["grid"] = grid
        return Prediction(fields["said"])

    monkeypatch.setattr(pipeline, "_predicted", predicted)
    monkeypatch.setattr(pipeline.linear_alignment, "align", lambda *_: sitk.Euler3DTransform())
    found = register(phantom["fixed"], phantom["moving"], Settings(initialization=initialization, refine=0))
    assert found.quality["network_used"]
    grid = fields["grid"]
    moved_by = grid.vectors_from_lps(sitk.GetArrayFromImage(grid.resample(found.field)))
    said = fields["said"][0].numpy()
    expected = np.stack([(gaussian_filter(part, 6.0, mode="nearest") + part) / 2 for part in said])
    inside = (slice(None), *[slice(8, -8)] * 3)
    assert np.abs(expected[inside]).max() > 2
    assert np.abs(expected - said)[inside].max() > 0.15
    assert np.allclose(moved_by[inside], share * expected[inside], atol=0.05)


def test_without_refinement_a_thin_grid_is_no_obstacle():
    """Sixteen thin slices may be fewer than four voxels of the coarse grid on which detail is told from the rest."""
    full = phantom_images(12, shape=(68, 72, 76), spacing=2.0)
    fixed = sitk.Image(full["fixed"][:, :, 26:42])
    fixed.SetSpacing((2.0, 2.0, 0.6))
    found = register(fixed, full["moving"], Settings(initialization="none", refine=0, spacing=2.0))
    assert found.quality["working_grid"]["size"][2] < 8
    assert np.isfinite(sitk.GetArrayViewFromImage(found.field)).all()


@pytest.mark.parametrize(("largest", "refine", "looks"), [(10**6, 0, 2), (10**5, 0, 1), (10**6, 4, 1)])
def test_the_full_resolution_is_looked_at_where_it_is_the_result_and_not_large(
    monkeypatch, phantom, largest, refine, looks
):
    seen = []
    network = build_network("vm").eval()
    network.coarse_passes = (2,)
    network.register_forward_pre_hook(lambda module, images: seen.append(images[0].shape[2:]))
    monkeypatch.setattr(pipeline, "_load_network", lambda *_: network)
    monkeypatch.setattr(pipeline, "_LARGEST_LOOK", largest)
    register(phantom["fixed"], phantom["moving"], Settings(refine=refine, initialization="none"))
    whole = pipeline.working_grid(Grid.of(phantom["fixed"]), refined=False)
    assert len(seen) == looks and seen[0] < torch.Size(whole.shape)


def test_a_fixed_image_of_thick_slices_is_read_between_them_by_a_spline():
    """A wave of 12 mm along slices of 3 mm, read every millimetre: a straight line between slices cuts its crests."""

    def wave(depths: np.ndarray) -> np.ndarray:
        return np.broadcast_to(0.5 + 0.4 * np.sin(2 * np.pi / 12 * depths)[:, None, None], (len(depths), 24, 24))

    image = sitk.GetImageFromArray(wave(3.0 * np.arange(20)).astype(np.float32))
    image.SetSpacing((1.0, 1.0, 3.0))
    whole = Normalized(image, sitk.GetImageFromArray(np.ones((20, 24, 24), np.uint8)))
    whole.valid.CopyInformation(image)
    grid = Grid((24, 24, 58), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), image.GetDirection())
    pair = pipeline.Pair.on(grid, whole, whole, sitk.Transform(3, sitk.sitkIdentity), "cpu")
    inside = slice(6, -6)
    expected = wave(np.arange(58.0))[inside]
    assert np.abs(pair.fixed[0, 0].numpy()[inside] - expected).max() < 0.02
    assert np.abs(sitk.GetArrayFromImage(grid.resample(image))[inside] - expected).max() > 0.04
    thin = Normalized(image[:, :, :2], whole.valid[:, :, :2])
    assert pipeline.Pair.on(grid, thin, thin, sitk.Transform(3, sitk.sitkIdentity), "cpu").fixed.abs().max() < 2


@pytest.mark.parametrize("factor", [1, 2])
def test_fields_of_the_branches_are_in_millimetres_on_the_grid_they_were_seen_on(factor):
    """One voxel along the first array axis, of an oblique grid of odd sizes."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.3, -0.2, 0.5)
    grid = Grid((33, 40, 35), (1.5,) * 3, (5.0, -7.0, 11.0), turn.GetMatrix())
    one = torch.zeros(1, 3, *(-(-n // factor) for n in grid.shape))
    one[:, 0] = 1.0
    found = pipeline._branches(Prediction(one, image_displacement=one, gradient_displacement=0 * one), grid)
    assert found["image_field"].GetSpacing() == (1.5 * factor,) * 3
    assert np.allclose(found["image_field"].GetPixel(3, 4, 5), 1.5 * factor * grid.axes[:, 2], atol=1e-5)
    assert np.allclose(found["gradient_field"].GetPixel(3, 4, 5), 0)


@pytest.mark.parametrize("points", [300, 10**6])
def test_what_the_expected_error_is_reckoned_from_lies_where_it_was_measured(monkeypatch, points):
    """Tissue begins at a plane askew to an oblique grid, at all voxels of the coarse stage or at a subset of them."""
    monkeypatch.setattr(problem, "_POINTS_PUSHED", points)
    turn = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.4)
    grid = Grid((53, 47, 58), (1.5, 1.5, 1.5), (-30.0, 12.0, 40.0), turn.GetMatrix())

    slope = np.array([0.010, 0.0075, -0.005])

    def ramp(on: Grid) -> np.ndarray:
        k, j, i = np.meshgrid(*(np.arange(n) for n in on.shape), indexing="ij")
        there = np.array(on.origin) + np.stack([i, j, k], -1) * on.spacing @ on.axes.T
        return ((there - grid.center) @ slope + 0.5).astype(np.float32)

    image = torch.from_numpy(ramp(grid))[None, None]
    held = pipeline._held(Descriptors.of(image, image), torch.zeros(1, 3, *grid.shape), grid)
    assert held.tissue.shape == held.weight.shape == held.rise.shape[1:] == held.grid.shape
    away = ramp(held.grid) - 0.125  # a quarter of the mean
    clear = np.abs(away) > 0.25 * held.grid.spacing[0] * np.linalg.norm(slope)
    assert 0.05 < (away > 0).mean() < 0.95
    assert np.array_equal(held.tissue[clear], (away > 0)[clear])
