"""Error maps as text."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.evaluation.overlap import same_grid
from GradientGuidedRegistrationLib.registration.grid import Grid
from GradientGuidedRegistrationLib.registration.packed import packed, unpacked


@pytest.fixture
def error(grid: Grid) -> sitk.Image:
    """Errors of 0 to 40 mm."""
    return grid.image(np.linspace(0, 40, int(np.prod(grid.size)), dtype=np.float32).reshape(grid.shape))


def test_a_map_comes_back_to_a_sixteenth_of_a_millimetre(error: sitk.Image) -> None:
    back = unpacked(packed(error), "it")
    assert back.GetPixelID() == sitk.sitkFloat32 and same_grid(back, error, 0.0)
    values, expected = map(sitk.GetArrayFromImage, (back, error))
    np.testing.assert_allclose(values, expected.clip(0, 31.875), atol=1 / 16)
    assert packed(back) == packed(error)


def damaged(text: str, how: str) -> str:
    values = json.loads(text)
    if how == "cut":
        return text[:-30]
    if how == "size":
        values[0] = [1000, 1000, 1000]
    elif how == "spacing":
        values[1] = ["a", 1.0, 1.0]
    elif how == "no number":
        values[1] = [float("nan"), 1.0, 1.0]
    elif how == "sign":
        values[0] = [-n for n in values[0][:1]] + values[0][1:]
    elif how == "too few":
        values = values[1:]
    elif how == "content":
        values[-1] = values[-1][:-8]
    elif how == "a number":
        values[-1] = 5
    return json.dumps(values)


@pytest.mark.parametrize("how", ["cut", "size", "spacing", "no number", "sign", "too few", "content", "a number"])
def test_what_is_no_map_is_told(error: sitk.Image, how: str) -> None:
    with pytest.raises(InputError, match="The result in 'x' is damaged; start the registration again"):
        unpacked(damaged(packed(error), how), "The result in 'x'")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100000])
def test_no_text_of_a_map(text: str) -> None:
    with pytest.raises(InputError):
        unpacked(text, "it")
