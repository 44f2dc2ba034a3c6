"""Own pairs from a CSV or a folder: reading, checks that tell everything at once, grid, crops, cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration import pipeline
from GradientGuidedRegistrationLib.registration.files import read_image, write_image
from GradientGuidedRegistrationLib.registration.settings import Settings
from GradientGuidedRegistrationLib.training import train
from GradientGuidedRegistrationLib.training.case_table import read_cases
from GradientGuidedRegistrationLib.training.own_files import FileSource
from GradientGuidedRegistrationLib.training.phantom import phantom_images
from GradientGuidedRegistrationLib.training.phantom.draws import Draws

NAMES = ("fixed", "moving", "fixed_labels", "moving_labels")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases with segmentations; the MR is oblique and anisotropic."""
    root = tmp_path_factory.mktemp("pairs")
    for seed in (0, 1):
        images = phantom_images(seed, (36, 36, 32), 4.0, geometry="scanner")
        for name in NAMES:
            write_image(images[name], root / f"case{seed}" / f"{name}.nii.gz")
    return root


def source(folder: Path, cache: Path, **options) -> FileSource:
    return FileSource(folder, **{"shape": (16, 16, 16), "spacing": 6.0, "crop": False, "cache": cache, **options})


def test_folder_and_csv_give_the_same_cases(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    lines = ["fixed,moving,fixed_labels,moving_labels,split,name"]
    lines += [",".join([*(f"{folder}/case{s}/{n}.nii.gz" for n in NAMES), "training", f"case{s}"]) for s in (0, 1)]
    table.write_text("\n".join(lines), encoding="utf-8")
    from_csv, from_folder = read_cases(table), read_cases(folder)
    assert [(c.name, c.fixed, c.moving_labels) for c in from_csv] == [
        (c.name, c.fixed, c.moving_labels) for c in from_folder
    ]


def test_pair_lies_on_one_isotropic_grid(folder: Path, tmp_path: Path) -> None:
    files = source(folder, tmp_path, shape=(24, 24, 24))
    case = files.training_case(1, Draws(0))
    assert case.names == ("case1",) and case.fixed.shape == case.moving.shape == (1, 1, 24, 24, 24)
    assert 0 <= float(case.fixed.min()) and float(case.fixed.max()) <= 1
    assert float(case.moving_full.min()) == pytest.approx(-1, abs=0.01)  # air
    assert float(case.moving_full.max()) > 1.2  # bone
    assert np.array_equal(case.moving.numpy(), case.moving_full.clamp(0, 1).numpy())
    assert case.spacing == (6.0, 6.0, 6.0)
    assert set(np.unique(case.fixed_labels.numpy())) <= set(range(15))
    organs = (case.fixed_labels == 1) & (case.moving_labels == 1)
    assert int(organs.sum()) > 20  # both livers are there, and at about the same place


@pytest.mark.parametrize("stored", ["LIP", "PIR", "RPS"])  # coronal, sagittal, left-handed
def test_how_a_file_stores_its_axes_has_no_say(folder: Path, tmp_path: Path, stored: str) -> None:
    for name in NAMES:
        image = sitk.ReadImage(str(folder / "case0" / f"{name}.nii.gz"))
        write_image(sitk.DICOMOrient(image, stored), tmp_path / "data" / "case0" / f"{name}.nii.gz")
    turned = source(tmp_path / "data", tmp_path / "cache", shape=(24, 28, 32)).training_case(0, Draws(0))
    files = source(folder, tmp_path / "cache", shape=(24, 28, 32))
    straight = next(c for c in map(files.training_case, range(9), map(Draws, range(9))) if c.names == ("case0",))
    for name, value in straight.tensors().items():
        torch.testing.assert_close(getattr(turned, name), value, atol=2e-3, rtol=0)


def test_pair_lies_as_the_registration_lays_it(folder: Path, tmp_path: Path, monkeypatch) -> None:
    """Grid, spline between thick slices, masks: the network is trained on what it will be shown."""

    class Laid(Exception):
        pass

    def lay(pair, settings) -> None:
        raise Laid(pair)

    monkeypatch.setattr(pipeline, "_predicted", lambda network, pair, settings: lay(pair, settings))
    fixed, moving = (read_image(folder / "case0" / f"{name}.nii.gz") for name in ("fixed", "moving"))
    with pytest.raises(Laid) as laid:
        pipeline.register(fixed, moving, Settings(initialization="none", refine=0, spacing=3.0, device="cpu"))
    pair = laid.value.args[0]
    files = source(folder, tmp_path, shape=pair.fixed.shape[2:], spacing=3.0)
    case = next(c for c in map(files.training_case, range(9), map(Draws, range(9))) if c.names == ("case0",))
    torch.testing.assert_close(case.fixed, pair.fixed.clamp(0, 1), atol=1e-3, rtol=0)
    torch.testing.assert_close(case.moving_full, pair.moving.clamp(*case.moving_full.aminmax()), atol=2e-3, rtol=0)
    assert torch.equal(case.fixed_mask, pair.fixed_mask) and torch.equal(case.moving_mask, pair.moving_mask)


@pytest.mark.parametrize("initialization", ["rigid", "affine"])
def test_pair_is_aligned_first_where_that_is_wanted(folder: Path, tmp_path: Path, initialization: str) -> None:
    for name in NAMES:
        image = sitk.ReadImage(str(folder / "case0" / f"{name}.nii.gz"))
        if name.startswith("moving"):
            image.SetOrigin(np.add(image.GetOrigin(), (0.0, 30.0, -40.0)).tolist())
        write_image(image, tmp_path / "data" / "case0" / f"{name}.nii.gz")

    def overlap(choice: str) -> float:
        files = source(tmp_path / "data", tmp_path / "cache", shape=(24, 24, 24), initialization=choice)
        case = files.training_case(0, Draws(0))
        fixed, moving = case.fixed_labels == 1, case.moving_labels == 1
        return 2 * float((fixed & moving).sum()) / float(fixed.sum() + moving.sum())

    assert overlap(initialization) > 0.6 > 0.3 > overlap("none")


def test_voxels_that_lie_beside_their_header_are_read_again_when_they_change(folder: Path, tmp_path: Path) -> None:
    case = tmp_path / "data" / "case0"
    case.mkdir(parents=True)
    for name in ("fixed", "moving"):
        sitk.WriteImage(sitk.ReadImage(str(folder / "case0" / f"{name}.nii.gz")), str(case / f"{name}.mhd"))
    first = source(tmp_path / "data", tmp_path / "cache").training_case(0, Draws(0))
    voxels = np.fromfile(case / "fixed.raw", np.float32)
    voxels[::2] = voxels.max()
    voxels.tofile(case / "fixed.raw")
    second = source(tmp_path / "data", tmp_path / "cache").training_case(0, Draws(0))
    assert not torch.equal(first.fixed, second.fixed)


def test_each_epoch_sees_every_case_once(folder: Path, tmp_path: Path) -> None:
    files = source(folder, tmp_path)
    files.training = files.training + files.validation if len(files.training) == 1 else files.training
    count = len(files.training)
    for epoch in range(3):
        names = [files.training_case(epoch * count + i, Draws(i)).names[0] for i in range(count)]
        assert len(set(names)) == count


def test_crops_differ_and_small_volumes_are_padded(folder: Path, tmp_path: Path) -> None:
    files = source(folder, tmp_path, crop=True)
    first, second = (files.training_case(0, Draws(seed)) for seed in (1, 2))
    assert first.fixed.shape == (1, 1, 16, 16, 16)
    assert not np.array_equal(first.fixed.numpy(), second.fixed.numpy())
    padded = source(folder, tmp_path, shape=(64, 16, 16)).training_case(0, Draws(0))
    assert float(padded.fixed_mask[0, 0, 0].max()) == float(padded.moving[0, 0, 0].max()) == 0
    assert float(padded.moving_full[0, 0, 0].max()) == pytest.approx(-1, abs=0.01)


@pytest.mark.parametrize("shape, coarse_first", [((48, 48, 48), True), ((16, 50, 17), False), ((33, 40, 47), True)])
def test_crops_of_any_size_are_trained_on(folder: Path, small, shape: tuple[int, int, int], coarse_first: bool) -> None:
    """Larger than the case along some axes or all, and no multiple of what the network needs."""
    result = train(small(data=folder, spacing=6.0, crop=True, steps=2, shape=shape, coarse_first=coarse_first))
    assert result.steps == 2 and result.best["dice"] is not None


def test_case_along_whose_axis_almost_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="take a smaller spacing"):
        source(folder, tmp_path, spacing=19.0)


def test_padding_keeps_the_case_in_the_middle_and_all_of_it(folder: Path, tmp_path: Path) -> None:
    files = source(folder, tmp_path)
    whole = files._load(*files.training[0])
    d, h, w = whole.fixed.shape[2:]
    files.shape = (d + 5, h - 4, w + 2)
    for draws in (None, Draws(1)):
        case = files._fitted(whole, draws)
        assert case.fixed.shape[2:] == files.shape
        assert float(case.fixed_mask[:, :, :2].sum() + case.fixed_mask[:, :, d + 2 :].sum()) == 0
        assert int(case.fixed_labels[:, :, 2 : d + 2].count_nonzero()) == int(case.fixed_labels.count_nonzero())
    start = (h - files.shape[1]) // 2
    middle = files._fitted(whole, None)
    assert torch.equal(middle.moving[:, :, 2 : d + 2, :, 1 : w + 1], whole.moving[..., start : start + h - 4, :])


def test_arrays_are_cached_until_a_file_changes(folder: Path, tmp_path: Path) -> None:
    source(folder, tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.npz")}
    source(folder, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.npz")} == stamps
    source(folder, tmp_path, spacing=7.0)
    assert len(list(tmp_path.glob("*.npz"))) == 2 * len(stamps)


def test_different_label_sets_are_named_for_every_case(folder: Path, tmp_path: Path) -> None:
    for case in ("case0", "case1"):
        for name in NAMES:
            image = sitk.ReadImage(str(folder / case / f"{name}.nii.gz"))
            if name == "moving_labels":
                image = sitk.ChangeLabel(image, {1.0: 99.0})
            write_image(image, tmp_path / "data" / case / f"{name}.nii.gz")
    with pytest.raises(InputError) as error:
        source(tmp_path / "data", tmp_path / "cache")
    for case in ("case0", "case1"):
        assert f"{case}: The segmentations have different labels: only in the fixed one 1, only" in str(error.value)
    assert "only in the moving one 99;" in str(error.value)


def test_training_on_own_files_scores_their_labels(folder: Path, small, tmp_path: Path, capsys) -> None:
    data = tmp_path / "pairs.csv"
    rows = [",".join([*(f"{folder}/case{seed}/{name}.nii.gz" for name in NAMES), "training"]) for seed in (0, 1)]
    data.write_text("\n".join([",".join([*NAMES, "split"]), *rows]), encoding="utf-8")
    result = train(small(data=data, spacing=6.0, crop=True, steps=3))
    assert result.best["dice"] is not None
    told = capsys.readouterr().err
    assert told.startswith("Training on 2 pairs (line 2, line 3), validating on the same.\nWarning:")
    assert "no pair for validation" in told
    assert read_cases(result.weights.parent / "pairs.csv") == read_cases(data)
    assert (result.weights.parent / "cache").is_dir()
