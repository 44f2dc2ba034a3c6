"""Sample data: an artificial patient that needs no network, and Slicer's own CT and MR of a head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .process import Outcome, WorkerProcess, new_folder, remove_folder

CATEGORY = "GradientGuidedRegistration"
PHANTOM, BRAIN = "CTMRPhantom", "CTMRBrainPatient"


def register_samples() -> None:
    """Put the samples into the Sample Data module, in a category of their own."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # since 2026
        logic.registerCustomSampleDataCategory(CATEGORY, title=_("Gradient-Guided Registration"))
    icon = str(Path(__file__).resolve().parents[2] / "Resources" / "Icons" / "GradientGuidedRegistration.png")
    for name, downloader in ((PHANTOM, download_phantom), (BRAIN, download_brain)):
        logic.registerCustomSampleDataSource(
            category=CATEGORY, sampleName=name, uris="", customDownloader=downloader, thumbnailFileName=icon
        )


def download_brain(source: Any = None) -> list[Any]:
    """Slicer's own sample CTMRBrain: a CT and two MR images of a head."""
    import SampleData

    return SampleData.SampleDataLogic().downloadSamples("CTMRBrain")


def download_phantom(source: Any = None) -> list[Any]:
    """Generate the artificial patient in a child process, and load it. The application stays alive meanwhile."""
    from ..mrml import load_phantom

    folder = new_folder()
    try:
        outcome = run_and_wait(folder, "phantom")
        if outcome.kind != "finished":
            raise RuntimeError(_("The images could not be generated: {message}").format(message=outcome.message))
        return list(load_phantom(folder / "result", slicer.mrmlScene).values())
    finally:
        remove_folder(folder)


def run_and_wait(folder: Path, task: str, **request: Any) -> Outcome:
    """Run a task of the background process to its end while Qt goes on handling events."""
    loop = qt.QEventLoop()
    outcomes: list[Outcome] = []

    def ended(outcome: Outcome) -> None:
        outcomes.append(outcome)
        loop.quit()

    process = WorkerProcess(folder, lambda event: None, ended)
    process.start(task, **request)
    if not outcomes:
        loop.exec_()
    process.kill()  # of no effect, unless the application is quitting
    return outcomes[0] if outcomes else Outcome("cancelled")
