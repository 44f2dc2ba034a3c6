"""What a training leaves behind to look at: tables, curves, TensorBoard where it is installed, and a progress bar."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ..whole_files import write_text


class Table:
    """A CSV that grows by rows; when a run is resumed, rows after `last_step` are dropped and written again."""

    def __init__(self, path: Path, last_step: int):
        self.path = path
        self.columns: list[str] | None = None
        self.rows: list[dict[str, str]] = []
        if last_step and path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self.columns = list(reader.fieldnames or [])
                self.rows = [row for row in reader if (row["step"] or "").isdigit() and int(row["step"]) <= last_step]
            self._rewrite()
        elif path.is_file():
            path.unlink()

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Append rows; all have a "step". A None is an empty cell."""
        if not rows:
            return
        texts = [{name: _text(value) for name, value in row.items()} for row in rows]
        names = list(dict.fromkeys(name for row in texts for name in row))
        self.rows += texts
        if self.columns is None or any(name not in self.columns for name in names):
            self.columns = (self.columns or []) + [name for name in names if name not in (self.columns or [])]
            self._rewrite()
            return
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, restval="").writerows(texts)

    def curve(self, column: str) -> list[tuple[float, float]]:
        """(step, value) of one column."""
        return [(float(row["step"]), float(row[column])) for row in self.rows if row.get(column)]

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns or [], restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def _text(value: object) -> str:
    return "" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)


def draw_curves(losses: Table, validation: Table, path: Path) -> None:
    """The loss, smoothed over a fiftieth of the run, and the validation Dice (loss, without labels), as one SVG.

    Without any validation, the loss alone.
    """
    try:
        from ..evaluation.plots import line_plot, stacked
    except ImportError:  # a bare training machine has no SimpleITK, which the evaluation needs; the tables are there
        return

    window = max(1, len(losses.rows) // 50)
    upper = line_plot(
        {
            name.replace("_", " "): _smoothed(losses.curve(name), window)
            for name in (losses.columns or [])
            if name in ("total", "image_similarity", "gradient_similarity")
        },
        title="Training loss",
        x_label="step",
        y_label="loss",
    )
    dice, loss = validation.curve("dice"), validation.curve("loss")
    lower = []
    if dice:
        lower = [line_plot({"Dice": dice}, title="Validation", x_label="step", y_label="mean organ Dice")]
    elif loss:  # pairs without labels
        lower = [line_plot({"total": loss}, title="Validation", x_label="step", y_label="loss")]
    write_text(path, stacked([upper, *lower]) + "\n")


def _smoothed(curve: list[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    groups = [curve[i : i + window] for i in range(0, len(curve), window)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups if g]


class Board:
    """TensorBoard's scalars and image panels where `tensorboard` is installed, nothing where it is not."""

    def __init__(self, folder: Path, enabled: bool, step: int):
        """`step`: the last one of the run that is resumed; what was written after it counts no more."""
        self.writer = None
        if enabled:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def scalars(self, values: Mapping[str, object], step: int, group: str) -> None:
        """Write the numbers among the values."""
        if self.writer is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self.writer.add_scalar(f"{group}/{name}", value, step)

    def panel(self, fixed: torch.Tensor, moving: torch.Tensor, warped: torch.Tensor, step: int) -> None:
        """Write the middle slices of fixed, moving and warped image side by side."""
        if self.writer is not None:
            middle = fixed.shape[2] // 2
            row = torch.cat(
                [volume[0, :, middle].detach().float().cpu().clamp(0, 1) for volume in (fixed, moving, warped)], dim=-1
            )
            self.writer.add_image("validation/fixed, moving, warped", row, step)

    def close(self) -> None:
        """Write out what is pending."""
        if self.writer is not None:
            self.writer.close()


def say(message: str) -> None:
    """Write a line to stderr, where there is one."""
    if sys.stderr is not None:
        print(message, file=sys.stderr, flush=True)


class ProgressBar:
    """One line on the terminal: steps, loss, time for a step, time left; in a log file, a line every ten seconds."""

    def __init__(self, steps: int, first: int, enabled: bool):
        self.steps, self.first, self.enabled = steps, first, enabled
        self.live = sys.stderr is not None and sys.stderr.isatty()
        self.start = time.monotonic()
        self.last = -1e9

    def show(self, step: int, text: str) -> None:
        """Tell that `step` steps are done."""
        now = time.monotonic()
        if (
            not self.enabled
            or sys.stderr is None
            or (now - self.last < (0.2 if self.live else 10.0) and step < self.steps)
        ):
            return
        self.last = now
        each = (now - self.start) / max(1, step - self.first)
        left = int(each * (self.steps - step))
        filled = round(24 * step / self.steps)
        line = (
            f"step {step}/{self.steps} [{'#' * filled}{'.' * (24 - filled)}] {text}  {each:.2f} s/step, "
            f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
        )
        sys.stderr.write(f"\r{line}\x1b[K" if self.live else f"{line}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """End the line."""
        if self.enabled and self.live:
            sys.stderr.write("\n")
