"""Try every fault, and hundreds of registrations in one process; prints what survived. About an hour of one core.

python Testing/faults/run_all.py                     everything
python Testing/faults/run_all.py --only "kill -9"    those with these words in their name
python Testing/faults/run_all.py --registrations 0   without the long series
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.catalogue import FAULTS
from faults.harness import Case
from faults.many import GROWTH, growth


def main() -> int:
    """Returns 0 if everything survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="words in the name of a fault")
    parser.add_argument("--registrations", type=int, default=200, help="registrations in one process")
    options = parser.parse_args()
    survived, failed = 0, []
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder))
        for fault in FAULTS:
            if options.only not in fault.name:
                continue
            start = time.monotonic()
            try:
                fault.do(case)
                survived += 1
                verdict = "survived"
            except Exception:
                failed.append(fault.name)
                verdict = "FAILED\n" + traceback.format_exc()
            print(f"{time.monotonic() - start:6.1f} s  {fault.name}: {verdict}", flush=True)
    if options.registrations:
        factor = growth(options.registrations, warm_up=10, say=True)
        print(f"{options.registrations} registrations in one process: memory × {factor:.3f} (limit {GROWTH})")
        if factor > GROWTH:
            failed.append("flat memory")
    print(f"{survived + len(failed)} tried, {survived} survived" + "".join(f"\nfailed: {name}" for name in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
