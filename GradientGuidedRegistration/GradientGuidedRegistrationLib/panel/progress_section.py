"""What the user sees of a run: the button, the bar, the time left, the queue, the log, and how it ended."""

from __future__ import annotations

import time
from typing import Any

from slicer.i18n import tr as _

from .process import Outcome
from .runs import Run, RunQueue


def step_name(step: str) -> str:
    """A step of the background process in the user's words."""
    return {
        "prepare": _("Preparing the images"),
        "align": _("Aligning"),
        "predict": _("Preparing the deformation"),
        "refine": _("Refining the deformation"),
        "assemble": _("Building the transform"),
        "done": _("Finishing"),
        "phantom": _("Generating an artificial patient"),
        "report": _("Drawing the figures"),
    }.get(step, step)


def time_left(elapsed: float, fraction: float) -> str:
    """How long it still takes, in words; empty while that cannot be said. Seconds, and a fraction of the whole."""
    if elapsed < 3.0 or fraction < 0.05 or fraction >= 1.0:
        return ""
    seconds = elapsed * (1 - fraction) / fraction
    if seconds < 10:
        return _("a few seconds left")
    if seconds < 90:
        return _("about {count} s left").format(count=round(seconds / 5) * 5)
    return _("about {count} min left").format(count=max(round(seconds / 60), 2))


class ProgressSection:
    """Shows the state of a `RunQueue`. Holds no state of its own but what is on the screen."""

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        ui.dismissButton.clicked.connect(self.clear_error)

    def show_queue(self, queue: RunQueue) -> None:
        """Show which run is under way and which wait."""
        ui, run = self.ui, queue.current
        ui.progressFrame.visible = run is not None
        ui.registerButton.text = _("&Cancel") if run is not None else _("&Register")
        if run is not None and queue.cancelling:
            ui.statusLabel.text = _("Cancelling…")
        elif run is not None and not ui.statusLabel.text:
            ui.statusLabel.text = _("{title}: starting").format(title=run.title)
        if run is None:
            ui.progressBar.value = 0
            ui.statusLabel.text = ""
        waiting = ", ".join(other.title for other in queue.waiting)
        ui.queueLabel.text = _("Waiting: {titles}").format(titles=waiting) if waiting else ""
        ui.queueLabel.visible = ui.clearQueueButton.visible = bool(waiting)

    def show_event(self, run: Run, event: dict[str, Any]) -> None:
        """Show one event of the background process."""
        if event["event"] == "started":  # the bar of the run before it goes
            self.ui.progressBar.value = 0
            self.ui.statusLabel.text = _("{title}: starting").format(title=run.title)
        elif event["event"] == "progress":
            left = time_left(time.monotonic() - run.started, event["fraction"])
            step = f"{run.title}: {step_name(event['step'])}"
            if not self.ui.statusLabel.text.startswith(step):
                self.log(step)
            self.ui.progressBar.value = int(1000 * event["fraction"])
            self.ui.statusLabel.text = step + (f", {left}" if left else "")
        elif event["event"] == "note":
            self.show_note(event["text"])

    def clear(self) -> None:
        """A new run, or a new scene: what the last one left on the screen goes."""
        self.clear_error()
        self.ui.noteLabel.visible = False
        self.ui.progressBar.value = 0
        self.ui.statusLabel.text = ""

    def show_note(self, text: str) -> None:
        """A word to the user that is no error."""
        self.ui.noteLabel.text = text
        self.ui.noteLabel.visible = True
        self.log(text)

    def show_outcome(self, run: Run, outcome: Outcome) -> None:
        """How a run ended, with a way on where there is one."""
        if outcome.kind == "finished":
            seconds = time.monotonic() - run.started
            self.log(_("{title}: done in {seconds:.0f} s").format(title=run.title, seconds=seconds))
        elif outcome.kind == "cancelled":
            self.show_note(_("{title}: cancelled. The scene is as it was.").format(title=run.title))
        else:
            log = "" if outcome.kind == "input" else outcome.log
            can_retry = outcome.kind in ("memory", "crash", "error") and run.task == "register"
            self.show_error(run.title, outcome, log, can_retry)

    def show_error(self, title: str, outcome: Outcome, log: str = "", can_retry: bool = False) -> None:
        """What went wrong, why, and what the process printed last."""
        reasons = {
            "memory": _("Memory ran out."),
            "crash": _("It crashed or was ended from outside; too little memory is the most frequent cause."),
            "torch": _("PyTorch is missing or does not start; see Setup."),
        }
        text = "\n".join(part for part in (title, reasons.get(outcome.kind, ""), outcome.message) if part)
        self.log(text + ("\n" + log if log else ""))
        lines = "\n".join(log.splitlines()[-3:])
        self.ui.errorLabel.text = text + (f"\n\n{lines}" if lines else "")
        self.ui.errorFrame.visible = True
        self.ui.retryCpuButton.visible = self.ui.retryCoarserButton.visible = can_retry
        self.ui.logCollapsibleButton.collapsed = self.ui.logCollapsibleButton.collapsed and not log

    def clear_error(self, *_args: Any) -> None:
        """Close the message."""
        self.ui.errorFrame.visible = False

    def log(self, text: str) -> None:
        """Add a line with the time."""
        self.ui.logText.appendPlainText(time.strftime("%H:%M:%S ") + text)
