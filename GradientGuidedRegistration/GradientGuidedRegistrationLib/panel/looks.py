"""The ways of looking at a result that exclude each other: which button, which slider, which words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

_SMALLEST_SQUARE_MM, _LARGEST_SQUARE_MM = 5.0, 100.0


@dataclass(frozen=True)
class Look:
    """One way of looking.

    Attributes:
        button: name of the button that chooses it.
        words: what is seen, with {fixed} and {moving} for the names of the volumes.
        show: show(review, share, axis): share is the slider's place, 0 to 1, axis that of the split.
        slider: what the slider means; empty if nothing.
        start: where the slider starts, in percent.
        live: whether it is quick enough to follow the slider while it is dragged.
    """

    button: str
    words: str
    show: Callable[[Any, float, int], Any]
    slider: str = ""
    start: int = 60
    live: bool = True


def square_mm(share: float) -> float:
    """Side of the checkerboard's squares (mm) for the place of the slider, 0 to 1."""
    return _SMALLEST_SQUARE_MM + share * (_LARGEST_SQUARE_MM - _SMALLEST_SQUARE_MM)


def looks() -> list[Look]:
    """All ways of looking, the one to begin with first."""
    opacity, plane = _("Opacity:"), _("Plane:")
    edges = _("Bright where the edges are strong.")
    return [
        Look("fadeButton", _("{moving}, registered, over {fixed}."), lambda r, s, a: r.fade(s), opacity, 50),
        Look("flickerButton", _("{fixed} and {moving}, registered, in turn."), lambda r, s, a: r.flicker()),
        Look("checkerboardButton", _("Squares of {fixed} and of {moving}, registered, in turn."),
             lambda r, s, a: r.checkerboard(square_mm(s)), _("Squares:"), 20, live=False),
        Look("splitButton", _("{fixed} on the patient's right, front or lower side of the plane, {moving} beyond."),
             lambda r, s, a: r.split(a, s), plane, 50, live=False),
        Look("gradientFixedButton", _("Gradient map of {fixed}.") + " " + edges,
             lambda r, s, a: r.gradient_map("fixed", s), opacity),
        Look("gradientBeforeButton", _("Gradient map of {moving} before the registration, over {fixed}.") + " " + edges,
             lambda r, s, a: r.gradient_map("before", s), opacity),
        Look("gradientAfterButton", _("Gradient map of {moving} after the registration, over {fixed}.") + " " + edges,
             lambda r, s, a: r.gradient_map("after", s), opacity),
        Look("jacobianButton", _("Volume of {moving} over that of {fixed}: blue below 1, red above, yellow: folded."),
             lambda r, s, a: r.jacobian(s), opacity),
        Look("trustButton", _("The error that the registration expects of itself, in mm: trust it less where bright."),
             lambda r, s, a: r.expected_error(s), opacity),
    ]  # fmt: skip
