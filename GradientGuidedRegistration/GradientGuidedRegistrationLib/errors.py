"""The two exceptions that cross every wall of the house."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: the message says what is wrong, with which input, and what to do. Scripts exit with status 2."""


class Cancelled(Exception):
    """Raised by a progress callback to stop the work; whoever receives it leaves no trace of the work begun."""
