"""Feed every entrance with damaged input and print what happened.

    python Testing/fuzz/run_fuzz.py                              5,500 inputs
    python Testing/fuzz/run_fuzz.py --count 100                  a hundredth of it and so on
    python Testing/fuzz/run_fuzz.py --target weights --seed 17   one input again

A failure is a crash, more than 30 s, an exception that is not the one sentence for users, or code that was run.
"""

from __future__ import annotations

import argparse
import json
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.targets import TARGETS

SECONDS = 30.0
_START = 120.0  # for a child to import everything
COUNT = 5500
SHARES = {"image.nii": 14, "image.nii.gz": 10, "image.nrrd": 14, "image.mha": 14, "register": 2, "transform": 12,
          "weights": 12, "table": 12, "request": 2, "settings": 8}  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """One input and what it did."""

    target: str
    seed: int
    what: str


def fuzz(name: str, seeds: Iterable[int]) -> Iterator[Failure | None]:
    """Try the inputs of a target in a process that is replaced when it dies or hangs."""
    pending = list(seeds)
    with tempfile.TemporaryDirectory(prefix="fuzz ") as folder:
        while pending:
            done = 0
            for outcome in _in_one_process(name, pending, Path(folder)):
                done += 1
                yield outcome
            assert done, f"{name}: the process does not start"
            pending = pending[done:]


def _in_one_process(name: str, seeds: list[int], folder: Path) -> Iterator[Failure | None]:
    command = [sys.executable, str(Path(__file__).with_name("child.py")), str(folder), name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            limit = _START
            for seed in seeds:
                process.stdin.write(f"{seed}\n".encode())
                process.stdin.flush()
                start = time.monotonic()
                line = process.stdout.readline() if selector.select(limit) else b""
                seconds = time.monotonic() - start
                if not line:
                    hung = seconds >= limit
                    process.kill()
                    yield Failure(name, seed, "hang" if hung else f"crash, exit status {process.wait()}")
                    return
                failure = json.loads(line)["failure"]
                if failure is None and seconds > SECONDS and limit == SECONDS:
                    failure = f"took {seconds:.0f} s"
                limit = SECONDS
                yield None if failure is None else Failure(name, seed, failure)
    except BrokenPipeError:
        yield Failure(name, seeds[0], f"crash, exit status {process.wait()}")
    finally:
        process.kill()
        process.wait()


def plan(count: int, first: int = 0) -> list[tuple[str, range]]:
    """How many inputs each target gets."""
    whole = sum(SHARES.values())
    return [(name, range(first, first + max(1, round(count * SHARES[name] / whole)))) for name in TARGETS]


def main() -> int:
    """Returns 0 if nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--target", choices=sorted(TARGETS))
    parser.add_argument("--seed", type=int, help="one input alone")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    work = plan(options.count, options.first)
    if options.target:
        seeds = range(options.seed, options.seed + 1) if options.seed is not None else range(options.count)
        work = [(options.target, seeds)]

    def one(name: str, seeds: range) -> list[Failure]:
        start = time.monotonic()
        found = [failure for failure in fuzz(name, seeds) if failure is not None]
        print(f"{name}: {len(seeds)} inputs, {len(found)} failures, {time.monotonic() - start:.0f} s", flush=True)
        return found

    with ThreadPoolExecutor(options.processes) as pool:
        failures = [failure for found in pool.map(one, *zip(*work)) for failure in found]
    for failure in failures:
        print(f"\n--- {failure.target}, seed {failure.seed}\n{failure.what}")
    print(f"{sum(len(seeds) for _, seeds in work)} inputs, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
