"""Grey values become [0, 1], and padding is known for what it is."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from GradientGuidedRegistrationLib.registration.intensity import is_ct, normalize


def ct_like() -> np.ndarray:
    values = np.full((20, 30, 30), -1000.0, np.float32)
    y, x = np.mgrid[:30, :30] - 14.5
    values[:, x**2 + y**2 < 11**2] = 40
    values[:, 10:14, 10:14] = 900
    return values


def test_hounsfield_units_are_recognised():
    assert is_ct(sitk.GetImageFromArray(ct_like()))
    assert not is_ct(sitk.GetImageFromArray(np.abs(ct_like())))
    assert not is_ct(sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 3, (20, 20, 20)).astype(np.float32)))


def test_ct_window_and_padding():
    values = ct_like()
    values[:, :2, :] = -3024
    result = normalize(sitk.GetImageFromArray(values))
    image, valid = sitk.GetArrayFromImage(result.image), sitk.GetArrayFromImage(result.valid)
    assert image.dtype == np.float32
    assert image.min() == result.background == -1 and image.max() == 2
    assert np.isclose(image[0, 8, 15], (40 + 200) / 500)
    shown = sitk.GetArrayFromImage(result.windowed)
    assert np.array_equal(shown, image.clip(0, 1))
    assert not valid[:, :2].any() and valid[:, 3:].all()
    assert (image[:, :2] == result.background).all()


def test_mr_is_scaled_robustly_and_its_zero_padding_does_not_count():
    values = np.zeros((24, 40, 40), np.float32)
    random = np.random.default_rng(0)
    values[4:20, 8:32, :] = random.uniform(100, 300, (16, 24, 40))
    values[10, 20, 20] = 1e6  # one bright voxel must not darken the rest
    values[6, 10:12, 10:12] = 0  # dark tissue inside stays
    result = normalize(sitk.GetImageFromArray(values))
    image, valid = sitk.GetArrayFromImage(result.image), sitk.GetArrayFromImage(result.valid)
    assert 0.2 < np.median(image[4:20, 8:32]) < 0.8
    assert valid[5:19, 9:31].all() and not valid[:4].any() and not valid[:, :8].any() and not valid[:, 32:].any()


def test_geometry_is_kept():
    image = sitk.GetImageFromArray(ct_like())
    image.SetSpacing((0.5, 0.6, 3.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    normalized = normalize(image)
    for result in (normalized.image, normalized.valid):
        assert result.GetSpacing() == image.GetSpacing() and result.GetDirection() == image.GetDirection()


def test_an_edge_against_air_lies_where_it_does_in_a_magnetic_resonance_image():
    """Half way up the blurred edge, which is not where a soft-tissue window shows it."""
    profile = np.convolve(np.repeat([0.0, 1.0], 20), np.ones(5) / 5, "same")[3:-3]
    ct, mr = (np.tile(values.astype(np.float32), (12, 12, 1)) for values in (-650 + 700 * profile, 300 * profile))
    places = []
    for image in (ct, mr):
        values = sitk.GetArrayFromImage(normalize(sitk.GetImageFromArray(image)).image)[6, 6]
        places.append(np.interp((values.min() + values.max()) / 2, values, np.arange(len(values))))
    assert abs(places[0] - places[1]) < 0.05
