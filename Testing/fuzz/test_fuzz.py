"""A few hundred damaged inputs for the entrances that are quick to try; `run_fuzz.py` tries thousands, and all."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.run_fuzz import fuzz
from fuzz.targets import TARGETS

from GradientGuidedRegistrationLib.registration.files import read_image

QUICK = {"image.nii": 80, "image.nii.gz": 50, "image.nrrd": 80, "image.mha": 80, "weights": 30, "table": 80,
         "settings": 40, "request": 8}  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_damage_is_refused_in_a_sentence(name: str) -> None:
    failures = [failure for failure in fuzz(name, range(QUICK[name])) if failure is not None]
    assert failures == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_whole_images_are_read(tmp_path: Path, suffix: str) -> None:
    """Else a judge that refuses everything would find no failure."""
    for number, data in enumerate(TARGETS[f"image{suffix}"].seeds(tmp_path)):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(data)
        assert read_image(path).GetSize() == (19, 18, 17)
