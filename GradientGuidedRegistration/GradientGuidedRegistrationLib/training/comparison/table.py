"""Table 1 as text, CSV and picture, from the measures of all cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...evaluation.plots import box_plot
from ...evaluation.tables import csv_of
from ...whole_files import write_text
from .statistics import mean_and_sd, paired_p_value

MEASURE_COLUMNS = ("method", "case", "label", "dice", "asd_mm", "hd95_mm", "folding_percent", "tre_mm", "seconds",
                   "used")  # fmt: skip
_WHOLE = {"Dice mean (%)": "dice", "ASD mean (mm)": "asd_mm", "HD95 (mm)": "hd95_mm", "TRE (mm)": "tre_mm",
          "folding (%)": "folding_percent", "time (s)": "seconds"}  # fmt: skip
_PERCENT = 100.0


class Table:
    """Table 1: `measures` are rows with the keys `MEASURE_COLUMNS`, in the order in which methods shall appear.

    `missing` says why a row or column is left out; `notes` are sentences that go below the text.
    """

    def __init__(
        self, measures: Sequence[dict], organs: Sequence[str], missing: dict[str, str], notes: Sequence[str] = ()
    ):
        self.measures, self.missing, self.notes = list(measures), missing, list(notes)
        self.methods = list(dict.fromkeys(row["method"] for row in measures))
        self.cases = list(dict.fromkeys(row["case"] for row in measures))
        labels = {row["label"] for row in measures}
        self.organs = [organ for organ in organs if organ in labels]

    def values(self, method: str, label: str, measure: str) -> list[float | None]:
        """A measure of one method for each case, in percent for Dice."""
        found = {
            row["case"]: row[measure] for row in self.measures if row["method"] == method and row["label"] == label
        }
        factor = _PERCENT if measure == "dice" else 1.0
        return [None if found.get(case) is None else factor * found[case] for case in self.cases]

    def columns(self) -> dict[str, tuple[str, str]]:
        """Heading → (label, measure); the label "" is the whole case."""
        columns = {f"Dice {organ} (%)": (organ, "dice") for organ in self.organs}
        columns |= {f"ASD {organ} (mm)": (organ, "asd_mm") for organ in self.organs}
        return columns | {heading: ("", measure) for heading, measure in _WHOLE.items()}

    def rows(self) -> list[dict[str, object]]:
        """One row a method: mean and standard deviation of each column, p of the mean Dice against the last method."""
        rows: list[dict[str, object]] = []
        reference = self.methods[-1]
        for method in self.methods:
            row: dict[str, object] = {"method": method, "cases": len(self.cases)}
            for heading, (label, measure) in self.columns().items():
                summary = mean_and_sd(self.values(method, label, measure))
                row[heading], row[f"{heading} s.d."] = summary or (None, None)
            row["p"] = None
            if method != reference:
                row["p"] = paired_p_value(self.values(method, "", "dice"), self.values(reference, "", "dice"))
            rows.append(row)
        return rows

    def text(self) -> str:
        """The table for people, mean ± s.d. (of more cases than one), in columns of even width."""
        headings = ["", *self.columns(), "p"]
        lines = [headings]
        for row in self.rows():
            cells = [str(row["method"])]
            for heading in self.columns():
                mean, sd = row[heading], row[f"{heading} s.d."]
                spread = "" if sd is None else f" ± {sd:.2f}"
                cells.append("–" if mean is None else f"{mean:.2f}{spread}")
            lines.append([*cells, "" if row["p"] is None else f"{row['p']:.3f}"])
        widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
        rendered = []
        for line in lines:
            padded = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))
            rendered.append("  ".join([line[0].ljust(widths[0]), *padded]))
        notes = [
            f"{len(self.cases)} cases: {', '.join(self.cases)}. Mean ± standard deviation. "
            f"p: sign-flip permutation test of the mean Dice against {self.methods[-1]}, two-sided."
            if len(self.cases) > 1
            else f"1 case: {self.cases[0]}."
        ]
        fewer = self._fewer()
        if fewer:
            notes.append(f"On fewer than {len(self.cases)} cases rest: {', '.join(fewer)}.")
        unused = {method: self.values(method, "", "used").count(0) for method in self.methods}
        if any(unused.values()):
            counts = ", ".join(f"{method} {count}" for method, count in unused.items() if count)
            notes.append(
                f"Cases in which the network's field folds or leads no closer, so that it is not used: {counts}."
            )
        notes += self.notes
        notes += [f"Left out: {method}: {why}." for method, why in self.missing.items()]
        return "\n".join([*rendered, "", *notes]) + "\n"

    def _fewer(self) -> list[str]:
        """The columns that rest on some of the cases only, and on how many, which may differ between methods."""
        told = []
        for heading, (label, measure) in self.columns().items():
            known = [[value is not None for value in self.values(method, label, measure)] for method in self.methods]
            counts = sorted({sum(cases) for cases in known if any(cases) and not all(cases)})
            if counts:
                most = f" to {counts[-1]}" if len(counts) > 1 else ""
                told.append(f"{heading} on {counts[0]}{most}")
        return told

    def csv(self) -> str:
        """The table with means and standard deviations in columns of their own."""
        rows = self.rows()
        return csv_of(rows, tuple(rows[0]))

    def picture(self) -> str:
        """Mean organ Dice of every case by method, as SVG."""
        groups = {method: self.values(method, "", "dice") for method in self.methods}
        width = max(640, 120 * len(groups))
        return box_plot(groups, title="Organ Dice by method", y_label="mean organ Dice (%)", width=width, height=360)

    def write(self, folder: Path) -> None:
        """Write table.txt, table.csv, table.svg and measures.csv."""
        for name, text in {"table.txt": self.text(), "table.csv": self.csv(), "table.svg": self.picture(),
                           "measures.csv": csv_of(self.measures, MEASURE_COLUMNS)}.items():  # fmt: skip
            write_text(folder / name, text)
