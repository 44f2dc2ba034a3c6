"""Writing whole or not at all, and names that are loaded on first use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from GradientGuidedRegistrationLib import registration
from GradientGuidedRegistrationLib.whole_files import replacing, replacing_folder, write_text

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")


def test_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep ü" / "a.txt"
    assert write_text(path, "one\r\n") == path
    write_text(path, "two\n")
    assert path.read_bytes() == b"two\n"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@POSIX
def test_a_link_stays_one(tmp_path: Path) -> None:
    """Results that are kept on another disk are written there."""
    disk = tmp_path / "disk"
    disk.mkdir()
    file, folder, loop = tmp_path / "a.txt", tmp_path / "report", tmp_path / "loop"
    file.symlink_to(disk / "a.txt")  # which is not there yet
    folder.symlink_to(disk / "report")
    loop.symlink_to(loop)
    for content in ("one", "two"):
        assert write_text(file, content) == file
        with replacing_folder(folder) as part:
            (part / content).touch()
        assert (disk / "a.txt").read_text() == content and os.listdir(disk / "report") == [content]
    assert file.is_symlink() and folder.is_symlink()
    assert sorted(os.listdir(disk)) == ["a.txt", "report"]
    with pytest.raises(OSError, match="cannot be written"):
        write_text(loop / "a.txt", "x")


def test_the_ending_of_the_temporary_name_can_be_chosen(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.nii.gz", ".nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz") and temporary.parent == tmp_path


@POSIX
@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_have_the_permissions_of_the_users_other_files(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_lazy_names_are_complete_and_kept() -> None:
    assert registration.Settings.__name__ == "Settings"
    assert "Settings" in vars(registration)
    with pytest.raises(AttributeError, match="registration' has no attribute 'nothing'"):
        _ = registration.nothing
    code = ("import sys; from GradientGuidedRegistrationLib import registration, training; "
            "from GradientGuidedRegistrationLib.training import phantom; "
            "print(*({'torch', 'SimpleITK', 'numpy'} & set(sys.modules))); "
            "[getattr(m, n) for m in (registration, training, phantom) for n in m.__all__]")  # fmt: skip
    folder = str(Path(__file__).resolve().parents[1] / "GradientGuidedRegistration")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": folder})  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_the_longest_legal_name_can_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / ("n" * 251 + ".txt"), tmp_path / ("a." + "n" * 253)):
        assert write_text(path, "x").read_text() == "x"
    with replacing_folder(tmp_path / ("f" * 255)) as part:
        (part / "a").touch()
    assert (tmp_path / ("f" * 255) / "a").is_file()
