"""A job and a result written to a folder and read back are the same, and never half there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration import Settings, storage
from GradientGuidedRegistrationLib.registration.result import Result


def image(components: int = 1, seed: int = 0) -> sitk.Image:
    """Random, oblique, anisotropic, left-handed."""
    shape = (5, 6, 7) + ((components,) if components > 1 else ())
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    result = sitk.GetImageFromArray(values, isVector=components > 1)
    result.SetSpacing((0.7, 1.1, 3.3))
    result.SetOrigin((-11.0, 22.0, 33.5))
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.3, -0.2, 0.1)
    axes = np.array(turn.GetMatrix()).reshape(3, 3) * [1, 1, -1]
    result.SetDirection(axes.ravel().tolist())
    return result


def same(first: sitk.Image | None, second: sitk.Image | None) -> bool:
    if first is None or second is None:
        return first is second
    geometry = all(np.allclose(getattr(first, name)(), getattr(second, name)(), atol=1e-9)
                   for name in ("GetOrigin", "GetSpacing", "GetDirection"))  # fmt: skip
    return geometry and np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))


def euler() -> sitk.Transform:
    transform = sitk.Euler3DTransform()
    transform.SetRotation(0.1, 1 / 3, -0.2)
    transform.SetTranslation((1 / 7, 2.0, -3.0))
    return transform


def bent() -> sitk.Transform:
    return sitk.DisplacementFieldTransform(sitk.Cast(image(3, 9), sitk.sitkVectorFloat64))


@pytest.mark.parametrize("initial", [None, euler(), sitk.CompositeTransform([euler(), euler()]), bent()])
def test_job(tmp_path: Path, initial: sitk.Transform | None) -> None:
    weights = tmp_path / "gewichte ü.pt"
    settings = Settings(initialization="affine", refine=7, spacing=2.5, weights=weights, inverse=True)
    before = storage.Job(image(), image(seed=1), settings, moving_mask=image() > 0, initial_transform=initial)
    storage.write_job(before, tmp_path / "job")
    after = storage.read_job(tmp_path / "job")
    assert after.settings == settings
    assert after.fixed_mask is None
    assert all(same(getattr(before, name), getattr(after, name)) for name in ("fixed", "moving", "moving_mask"))
    if initial is None:
        assert after.initial_transform is None
    else:
        point = image().TransformIndexToPhysicalPoint((3, 2, 4))
        assert after.initial_transform.TransformPoint(point) == pytest.approx(initial.TransformPoint(point), abs=1e-9)


def test_settings_of_a_job_can_be_replaced(tmp_path: Path) -> None:
    storage.write_job(storage.Job(image(), image(), Settings()), tmp_path / "job")
    storage.write_settings(Settings(device="cpu", spacing=4.0), tmp_path / "job")
    assert storage.read_job(tmp_path / "job").settings == Settings(device="cpu", spacing=4.0)


@pytest.mark.parametrize("linear", [euler(), sitk.CompositeTransform([euler(), euler()]), bent()])
@pytest.mark.parametrize("whole", [True, False])
def test_result(tmp_path: Path, whole: bool, linear: sitk.Transform) -> None:
    extra = {"inverse_field": image(3, 2), "image_field": image(3, 3), "gradient_field": image(3, 4),
             "gates": (image(seed=5), image(seed=6))} if whole else {}  # fmt: skip
    figures = {"quality": {"notes": ["a"]}, "timings": {"align": 1.5}, "versions": {"torch": "2"}}
    before = Result(image(3), linear, Settings(device="cpu"), **extra, **figures)
    storage.write_result(before, tmp_path / "result")
    after = storage.read_result(tmp_path / "result")
    for name in ("field", "inverse_field", "image_field", "gradient_field"):
        assert same(getattr(before, name), getattr(after, name)), name
    assert (after.gates is None) == (not whole)
    assert all(same(a, b) for a, b in zip(before.gates or (), after.gates or ()))
    for name in ("settings", "quality", "timings", "versions"):
        assert getattr(before, name) == getattr(after, name)
    point = image().TransformIndexToPhysicalPoint((3, 2, 4))
    assert after.linear.TransformPoint(point) == pytest.approx(before.linear.TransformPoint(point), abs=1e-9)


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        storage.write_result(Result(image(3), euler(), Settings()), tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        storage.read_result(tmp_path / "nothing")
    storage.write_job(storage.Job(image(), image(), Settings()), tmp_path / "job")
    (tmp_path / "job" / "moving.mha").unlink()
    with pytest.raises(InputError, match="no images"):
        storage.read_job(tmp_path / "job")
    (tmp_path / "job" / "settings.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="another version"):
        storage.read_job(tmp_path / "job")
