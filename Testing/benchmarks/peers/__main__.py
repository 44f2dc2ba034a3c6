"""Peers side by side with this extension: accuracy, regularity, time and memory on cases with a known truth.

    python -m venv peers && peers/bin/pip install -r Testing/benchmarks/requirements-peers.txt
    python Testing/benchmarks/peers --peer-python peers/bin/python --data FOLDER --output OUTPUT
    python Testing/benchmarks/peers --peer-python peers/bin/python --data FOLDER --output OUTPUT --again ours

Every method runs in a process of its own with the same number of threads. What is in OUTPUT already is not computed
again unless --again names it (a method or the first word of several) or --redo asks for everything; ratios of times
are fair in one run only, and the table says where there were several. FOLDER holds STS_010/MR_T1_image.nii.gz,
STS_010/CT_image.nii.gz and so on, see known_warps.py; without it the groups of patients are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "GradientGuidedRegistration"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # known_warps

import report
from case_folder import ON_ONE_GRID, CaseFolder
from cases import GROUPS, PATIENTS, case_folders
from clock import STARTED
from measures import BEFORE, measure

_HERE = Path(__file__).resolve().parent
PEERS = ("SyN", "elastix", "convexAdam")
OURS = ("linear", "ours", "ours fast", "ours no network")
_LIMIT_S = 3600


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--peer-python", type=Path, help="Python of the peers' environment; none leaves them out")
    parser.add_argument("--data", type=Path, help="folder of the patients' pairs")
    parser.add_argument("--groups", nargs="+", choices=tuple(GROUPS), default=tuple(GROUPS))
    parser.add_argument("--methods", nargs="+", choices=(*PEERS, *OURS), default=(*PEERS, *OURS))
    parser.add_argument("--cases", type=int, default=3, help="cases of each group; sts has 3, rendered 6")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", help="device of this extension; the peers run on the CPU")
    parser.add_argument("--again", nargs="+", default=(), metavar="METHOD", help="compute these again")
    parser.add_argument("--redo", action="store_true", help="compute everything again, cases included")
    options = parser.parse_args()
    if options.peer_python is None:
        options.methods = [method for method in options.methods if method in OURS]
    if options.data is None:
        options.groups = [group for group in options.groups if group not in PATIENTS]
    options.output = options.output.resolve()
    return options


def wanted(method: str, options: argparse.Namespace) -> bool:
    return options.redo or any(method == name or method.startswith(f"{name} ") for name in options.again)


def run(case: CaseFolder, method: str, options: argparse.Namespace) -> None:
    """Run a method on a case in its own process; raises RuntimeError with the end of its output where that fails."""
    folder = case.method(method)
    if (folder / "run.json").is_file() and not wanted(method, options):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if method in PEERS:
        # not resolved: a virtual environment's interpreter is a link out of it
        command = [str(options.peer_python.absolute()), str(_HERE / "run_peer.py"), str(case.path), method]
    else:
        command = [sys.executable, str(_HERE / "run_ours.py"), str(case.path), method]
    command.append(str(options.threads))
    command += [] if method in PEERS else [options.device]
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"),
        str(options.threads),
    )
    environment = {**os.environ, **threads, STARTED: repr(time.time())}
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        done = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment, timeout=_LIMIT_S
        )
    if done.returncode:
        last = (folder / "log.txt").read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(last)}")
    about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    about |= {"run": options.started, "threads": options.threads}
    (folder / "run.json").write_text(json.dumps(about, indent=2), encoding="utf-8")


def notes(rows: list[dict], options: argparse.Namespace) -> list[str]:
    found = [
        "Means over cases. time and CPU: the registration call alone, without imports and files; memory: peak resident "
        "memory of the process.",
        "convexAdam has no linear stage: outside the group common it starts from our linear alignment (row linear), "
        "whose time is not in its own, and runs on an isotropic grid over the fixed field of view.",
        "TRE: against the known warp and motion. Patients were not quite aligned as scanned: TRE aligned counts the "
        "rigid alignment that mutual information finds before the warp as part of the truth. TRE own counts all of a "
        "method's own registration of the pair as scanned as part of it: what it misses of the known warp and motion. "
        "TRE scanned: what TRE would be if it missed nothing of them, and registered the pair as scanned as it does.",
        f"Threads: {options.threads}.",
    ]
    if len({row["run"] for row in rows} - {None}) > 1:
        found.append("The rows are from several runs: their times do not compare strictly.")
    return found


def main() -> int:
    options = arguments()
    options.started = time.strftime("%Y-%m-%d %H:%M:%S")
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    failures: list[str] = []
    for group in options.groups:
        for case in case_folders(group, options.cases, options.data, options.output, options.redo):
            methods = list(options.methods)
            if "convexAdam" in methods and group not in ON_ONE_GRID:
                methods = ["linear", *(method for method in methods if method != "linear")]
            rows.append({**measure(case, BEFORE), "group": group})
            for method in methods:
                try:
                    for pair in (case, case.scanned) if case.spoiling.is_file() else (case,):
                        run(pair, method, options)
                    rows.append({**measure(case, method), "group": group})
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    failures.append(f"{group} {case.path.name} {method}: {error}")
                    print(failures[-1], file=sys.stderr, flush=True)
                    continue
                row = rows[-1]
                print(f"{group} {case.path.name} {method}: TRE {row['tre_mm']:.2f} mm, folding "
                      f"{row['folding_percent']:.3f} %, {row['seconds']:.1f} s", flush=True)  # fmt: skip
            report.write(rows, failures, notes(rows, options), options.output)
    print(report.write(rows, failures, notes(rows, options), options.output))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
