"""Where outputs are to go is looked at before any work is done for them."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration import files


def refused(match: str, path, suffixes=None) -> None:
    with pytest.raises(InputError, match=match) as error:
        files.check_output(path, "warped image", suffixes)
    str(error.value).encode("utf-8")


def test_outputs_are_checked_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    refused("cannot be written", tmp_path / "file" / "x.nrrd")
    refused("is a folder", tmp_path)
    refused("unknown file type", tmp_path / "x.jpg", files.IMAGE_SUFFIXES)
    assert files.check_output(tmp_path / "new" / "x.nrrd", "warped image", files.IMAGE_SUFFIXES)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_outputs_are_checked_where_their_links_lead(tmp_path):
    for name, target in (("report", "nowhere"), ("file.nrrd", "folder/new.nrrd"), ("in.nrrd", "text/x.nrrd")):
        (tmp_path / name).symlink_to(tmp_path / target)
    (tmp_path / "text").write_text("")
    refused("the link .*report leads nowhere", tmp_path / "report" / "report.html")
    refused("cannot be written: Not a directory", tmp_path / "in.nrrd")
    assert files.check_output(tmp_path / "file.nrrd", "warped image")
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    refused("udcff.*rename it", tmp_path / os.fsdecode(b"\xff") / "x.nrrd")


def test_an_output_in_a_folder_without_access(tmp_path, monkeypatch):
    """As any but root finds it."""
    folder = tmp_path / "locked"
    folder.mkdir()

    def denied(call, where):
        def checked(*arguments, **options):
            if str(options["dir"] if "dir" in options else arguments[0]).startswith(where):
                raise PermissionError(errno.EACCES, "Permission denied")
            return call(*arguments, **options)

        return checked

    monkeypatch.setattr(os, "stat", denied(os.stat, f"{folder}{os.sep}"))
    monkeypatch.setattr(files.tempfile, "TemporaryFile", denied(files.tempfile.TemporaryFile, str(folder)))
    refused("cannot be written: Permission denied", folder / "x.nrrd")
