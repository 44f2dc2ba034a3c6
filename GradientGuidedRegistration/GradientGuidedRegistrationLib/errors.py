"""The exceptions that cross every wall of the house, and what other people's exceptions mean."""

from __future__ import annotations

from collections.abc import Iterable

_MEMORY_WORDS = ("out of memory", "allocate memory", "not enough memory", "bad_alloc", "failed to allocate",
                 "bad allocation", "failed to map segment")  # fmt: skip
_GPU_WORDS = ("cuda error", "cudnn", "cublas", "nvml", "device-side", "torch not compiled with cuda", "no cuda gpus",
              "mps backend", "mps device", "hip error",
              "unable to find an engine")  # fmt: skip


class InputError(ValueError):
    """Bad input: the message says what is wrong, with which input, and what to do. Scripts exit with status 2."""


def all_wrong(what: str, wrong: Iterable[str]) -> InputError:
    """One error for all that is wrong with an input: `what` it is, then a line for each."""
    return InputError("\n- ".join([what, *wrong]))


class Cancelled(Exception):
    """Raised by a progress callback to stop the work; whoever receives it leaves no trace of the work begun."""


class Incomplete(Exception):
    """Part of the results is written: the message says which part is missing and why, and what is there."""


def is_memory_error(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whichever device and in whichever library."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error).lower() for words in _MEMORY_WORDS)


def is_gpu_error(error: BaseException) -> bool:
    """Whether an exception says that the GPU failed or is gone; running out of its memory is not meant."""
    if is_memory_error(error) or not isinstance(error, (RuntimeError, AssertionError)):
        return False
    return any(words in str(error).lower() for words in _GPU_WORDS)
