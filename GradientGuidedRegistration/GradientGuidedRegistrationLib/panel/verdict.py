"""What a registration says of itself, in words: its verdict with the reasons, and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from slicer.i18n import tr as _


def verdict_html(quality: Mapping[str, Any]) -> str:
    """The verdict and its reasons as rich text, readable on light and dark; empty where there is none.

    Args:
        quality: of a result; "verdict" is "good", "check" or "poor", "reasons" a list of sentences.
    """
    words = {
        "good": ("#2a9d53", _("Good")),
        "check": ("#d98a00", _("Check before use")),
        "poor": ("#d9483b", _("Poor: do not rely on it")),
    }
    verdict = quality.get("verdict")
    if verdict not in words:
        return ""
    colour, heading = words[verdict]
    reasons = "".join(f"<li>{escape(str(reason))}</li>" for reason in quality.get("reasons", ()))
    items = f'<ul style="margin-left: -20px">{reasons}</ul>' if reasons else ""
    return f'<span style="color: {colour}; font-size: x-large">&#9632;</span> <b>{escape(heading)}</b>{items}'


def summary(quality: Mapping[str, Any], device: str) -> str:
    """The figures that a registration gives about itself, with their units."""
    lengths = quality.get("displacement_mm", {"mean": 0.0, "max": 0.0})
    figures = {"folding": quality.get("folding_percent", 0.0), **lengths}
    information = quality.get("mutual_information")
    lines = [
        _("Displacement: {mean:.1f} mm on average, {max:.1f} mm at most.").format(**figures),
        _("Folding: {folding:.2f} % of the volume. Computed on: {device}.").format(**figures, device=device),
    ]
    if information:
        lines.append(_("Mutual information: {before:.3f} before, {after:.3f} after.").format(**information))
    lines.append(_("Look at the borders of the organs before you use it."))
    return "\n".join(lines)
