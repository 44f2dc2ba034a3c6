"""Register a moving image (CT) to a fixed one (MR) from files, without a window.

    python register.py --fixed mr.nii.gz --moving ct.nii.gz --transform ct_to_mr.h5 --warped ct_on_mr.nii.gz
    Slicer --no-splash --no-main-window --python-script register.py --fixed … --moving … --transform …

Exit status: 0 done, 2 bad input (one line on stderr says which and what to do), 130 interrupted, 1 anything else.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from GradientGuidedRegistrationLib import headless
from GradientGuidedRegistrationLib.command import ProgressBar, meaning, run_command, whole_number
from GradientGuidedRegistrationLib.csv_rows import read_rows
from GradientGuidedRegistrationLib.errors import Cancelled, InputError, all_wrong
from GradientGuidedRegistrationLib.registration.settings import INITIALIZATIONS, METHODS


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--fixed", help="fixed image, usually the MR: NIfTI, NRRD or MetaImage file, or DICOM folder")
    parser.add_argument("--moving", help="moving image, usually the CT")
    parser.add_argument("--transform", help="output: displacement field, fixed to moving points, LPS mm; "
                        ".h5, .nrrd, .nii.gz or .mha")  # fmt: skip
    parser.add_argument("--inverse-transform", help="output: the inverse field, moving to fixed points")
    parser.add_argument("--warped", help="output: the moving image on the fixed grid")
    parser.add_argument("--fixed-segmentation", help="label map of the fixed image")
    parser.add_argument("--moving-segmentation", help="label map of the moving image")
    parser.add_argument("--warped-segmentation", help="output: the moving segmentation on the fixed grid")
    parser.add_argument("--fixed-mask", help="label map, non-zero where the fixed image counts")
    parser.add_argument("--moving-mask", help="label map, non-zero where the moving image counts")
    parser.add_argument("--initial-transform", help="fixed-to-moving transform to start from (ITK file or field)")
    parser.add_argument("--initialization", choices=INITIALIZATIONS, default="rigid",
                        help="linear alignment first; rigid if left out")  # fmt: skip
    parser.add_argument("--method", choices=METHODS, help="network; that of the weights if left out, or gated")
    parser.add_argument("--weights", help="weights file instead of the packaged one")
    parser.add_argument("--no-network", action="store_true", help="refine from the linear alignment alone")
    parser.add_argument("--refine", type=whole_number, metavar="N",
                        help="refinement iterations (30), or 0 for none; from 30 on, a pair that lies far apart is "
                        "gone over up to five more times")  # fmt: skip
    parser.add_argument("--spacing", type=float, metavar="MM",
                        help="working spacing; by default 2 mm, less for a small field of view, more for a coarse or "
                        "very large image")  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto (CUDA if there is one, else the CPU), cpu, cuda or mps")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.add_argument("--label-names", metavar="JSON", help='names of label values, as {"1": "liver"}')
    parser.add_argument("--report", metavar="DIR", help="output: folder for a report with pictures")
    parser.add_argument("--metrics", metavar="JSON", help="output: all metrics of the registration")
    parser.add_argument("--batch", metavar="CSV", help="many cases: a table with the columns name, fixed, moving and "
                        "any of the other inputs, as paths relative to its folder; outputs are given once, "
                        "with {name} in them")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no table")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Register and write; returns the exit status."""
    options = parse_arguments(arguments)
    return run_command(lambda: _batch(options) if options.batch else _single(options))


OUTPUTS = ("transform", "inverse_transform", "warped", "warped_segmentation", "report", "metrics")
INPUTS = ("fixed", "moving", "fixed_segmentation", "moving_segmentation", "fixed_mask", "moving_mask",
          "initial_transform", "label_names")  # fmt: skip


def _single(options: argparse.Namespace) -> int:
    from GradientGuidedRegistrationLib.job import request_from

    request = request_from({name: getattr(options, name) for name in INPUTS + OUTPUTS}, _settings(options))
    _register(request, options.quiet)
    return 0


def _batch(options: argparse.Namespace) -> int:
    """Register every case of a table; one that fails does not stop the others, but shows in the exit status."""
    table = Path(options.batch)
    requests = _requests(table, options)
    rows: list[dict[str, Any]] = []
    try:
        for number, (name, request) in enumerate(requests.items(), start=1):
            if not options.quiet:
                print(f"[{number}/{len(requests)}] {name}", flush=True)
            rows.append({"name": name, **_case(name, request, options.quiet)})
    except KeyboardInterrupt:
        done = ", ".join(row["name"] for row in rows if "error" not in row) or "none"
        raise KeyboardInterrupt(
            f"interrupted at {name}, case {number} of {len(requests)}; written whole: {done}"
        ) from None
    if options.report:
        from GradientGuidedRegistrationLib.figures import batch_report

        batch_report(rows, _overview_folder(options.report))
    failures = sum("error" in row for row in rows)
    if failures:
        raise InputError(f"{failures} of {len(requests)} cases failed; see above.")
    return 0


def _case(name: str, request: Any, quiet: bool) -> dict[str, Any]:
    """Register one case; returns its metrics and report, or the error, for the overview."""
    try:
        metrics = _register(replace(request, title=name), quiet)
    except Cancelled:
        raise
    except Exception as error:
        print(f"{name}: {meaning(error)}", file=sys.stderr)
        return {"error": meaning(error)}
    return {"metrics": metrics} | ({"report": request.report / "report.html"} if request.report is not None else {})


def _overview_folder(report: str) -> Path:
    """The folder in which the cases have theirs."""
    return Path(report.split("{name}")[0] + "name").parent


def _requests(table: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return a request for each case, by name. Raises `InputError` with all that is wrong with the table."""
    from GradientGuidedRegistrationLib.figures.earlier import OVERVIEW_NAME, check_replaceable
    from GradientGuidedRegistrationLib.job import request_from, wrong_with
    from GradientGuidedRegistrationLib.registration.files import check_output

    cases, wrong = _cases(table, options)
    settings = _settings(options)
    requests = {}
    for name, values in cases.items():
        try:
            requests[name] = request_from(values, settings)
        except InputError as error:
            wrong.append(f"{name}: {error}")
    wrong += wrong_with(requests)
    if options.report:
        check_output(_overview_folder(options.report) / OVERVIEW_NAME, "report")
        check_replaceable(_overview_folder(options.report), [OVERVIEW_NAME])
    if wrong:
        raise all_wrong(f"The table of cases {table} cannot be used; nothing was done:", wrong)
    return requests


def _cases(table: Path, options: argparse.Namespace) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the paths of each case by name, those in the table relative to its folder; and what is wrong with it."""
    without = [f"--{name.replace('_', '-')}" for name in OUTPUTS
               if getattr(options, name) and "{name}" not in getattr(options, name)]  # fmt: skip
    if without:
        raise InputError(
            f"With --batch, {', '.join(without)} must contain {{name}}, so that no case overwrites another."
        )
    alone = [f"--{name.replace('_', '-')}" for name in INPUTS if getattr(options, name)]
    if alone:
        raise InputError(f"With --batch, inputs are columns of the table, not options: {', '.join(alone)}.")
    columns, rows = read_rows(table, "table of cases")
    wrong = [f"There is no column {name}; found: {', '.join(columns)[:500] or 'none'}."
             for name in ("name", "fixed", "moving") if name not in columns]  # fmt: skip
    unknown = sorted(set(columns) - {"name", *INPUTS, *OUTPUTS})
    if unknown:
        wrong.append(f"Unknown column {', '.join(unknown)[:500]}; known are name, {', '.join(INPUTS)}.")
    outputs = sorted(set(columns) & set(OUTPUTS))
    if outputs:
        wrong.append(f"It names outputs ({', '.join(outputs)}); give them as options instead.")
    if not rows:
        wrong.append("It holds no case.")
    if wrong:
        return {}, wrong
    cases: dict[str, dict[str, str]] = {}
    taken: set[str] = set()
    for number, row in rows:
        name = (row.pop("name", None) or "").strip()
        paths = {str(column): path.strip() for column, path in row.items() if column is not None and path is not None}
        if len(paths) < len(row):
            wrong.append(f"Line {number} has another number of columns than the header.")
        elif not _is_file_name(name):
            wrong.append(f"Line {number} needs a name that can be a file name, not '{name[:100]}'.")
        elif name.casefold() in taken:
            wrong.append(f"Line {number} needs a name of its own: '{name[:100]}' is that of a line above.")
        else:
            cases[name] = {column: str(table.parent / path) for column, path in paths.items() if path}
            cases[name] |= {o: getattr(options, o).replace("{name}", name) for o in OUTPUTS if getattr(options, o)}
        taken.add(name.casefold())
    return cases, wrong


def _is_file_name(name: str) -> bool:
    """Whether a text can be part of a file name on every system, and leads into no other folder."""
    return name.isprintable() and 0 < len(name) <= 100 and name[0] != "." and not set(name) & set('/\\:*?"<>|')


def _settings(options: argparse.Namespace):
    from GradientGuidedRegistrationLib.model import load_weights
    from GradientGuidedRegistrationLib.registration.device import pick_device
    from GradientGuidedRegistrationLib.registration.models import weights_file
    from GradientGuidedRegistrationLib.registration.settings import Settings

    if options.no_network and options.weights:
        raise InputError(f"--no-network leaves no use for --weights {options.weights}; leave out one or the other.")
    settings = Settings(
        method=options.method,
        weights=Path(options.weights) if options.weights else None,
        use_network=not options.no_network,
        initialization=options.initialization,
        refine=options.refine,
        spacing=options.spacing,
        device=options.device,
        seed=options.seed,
    )
    pick_device(settings.device)
    path = weights_file(settings)
    if path is not None and settings.weights is not None:  # which is then told before the first case
        load_weights(path, settings.method)
    return settings


def _register(request, quiet: bool) -> dict[str, Any]:
    headless.start()
    from GradientGuidedRegistration import GradientGuidedRegistrationLogic

    with ProgressBar(quiet) as bar:
        metrics = GradientGuidedRegistrationLogic().run(request, progress=bar)
    if not quiet:
        print(_summary(metrics))
    return metrics


def _summary(metrics: dict[str, Any]) -> str:
    """A short table of what was measured, and the verdict."""
    from GradientGuidedRegistrationLib.registration.trust import VERDICTS

    lines = []
    if "labels" in metrics:
        lines.append(f"{'label':<24}{'Dice before':>12}{'after':>8}{'ASD mm before':>15}{'after':>8}")
        rows = [(row["name"], row["before"], row["after"]) for row in metrics["labels"].values()]
        rows.append(("mean", metrics["mean"]["before"], metrics["mean"]["after"]))
        for name, before, after in rows:
            cells = [_cell(before["dice"]), _cell(after["dice"]), _cell(before["asd_mm"]), _cell(after["asd_mm"])]
            lines.append(f"{name[:23]:<24}{cells[0]:>12}{cells[1]:>8}{cells[2]:>15}{cells[3]:>8}")
    information = metrics["mutual_information"]
    lines.append(f"mutual information      {information['before']:.3f} before, {information['after']:.3f} after")
    moved = metrics["displacement_mm"]
    lines.append(f"displacement            {moved['mean']:.1f} mm mean, {moved['max']:.1f} mm largest")
    folding, smallest = metrics["folding_percent"], metrics["jacobian_min"]
    lines.append(f"folding                 {folding:.3f} % (smallest Jacobian {smallest:.2f})")
    if "inverse_residual_mm" in metrics:
        residual = metrics["inverse_residual_mm"]
        lines.append(f"inverse                 off by {residual['mean']:.3f} mm mean, {residual['p99']:.3f} mm p99")
    lines.append(f"network                 {_network(metrics)}")
    lines.append(f"time                    {metrics['seconds']['total']:.0f} s on {metrics['device']}")
    lines.append(f"verdict                 {VERDICTS[metrics['verdict']]}")
    lines += [f"{'':<24}{reason}" for reason in metrics["reasons"]]
    return "\n".join(lines)


def _network(metrics: dict[str, Any]) -> str:
    if metrics["network"] is None:
        return "none"
    if metrics["network_used"]:
        return metrics["network"]
    why = "it folds or leads" if metrics["settings"]["refine"] == 0 else "it leads"
    return f"{metrics['network']}, not used: {why} no closer than the alignment alone"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    headless.leave(main())
