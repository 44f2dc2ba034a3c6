"""How threads that compute together wait for each other."""

from __future__ import annotations

import os


def wait_briefly() -> None:
    """Let a thread of GNU OpenMP, which PyTorch uses on Linux, sleep soon when it waits; call before torch is imported.

    As it comes, a thread that waits holds its core for a millisecond or more, also where the thread that it waits for
    has none: with another busy process on two cores, a refinement of 3 s took 64 s, and takes 4 s so. What the user
    says in OMP_WAIT_POLICY or GOMP_SPINCOUNT holds.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
