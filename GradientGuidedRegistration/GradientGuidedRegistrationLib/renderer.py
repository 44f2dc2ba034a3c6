"""Which renderer draws the pictures of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .figures.page import PanelRenderer


def report_renderer() -> PanelRenderer:
    """Slicer's own slice pipeline where MRML can be imported, numpy and SimpleITK otherwise."""
    from .figures import render_panel

    try:
        from slicer import vtkMRMLSliceLogic  # noqa: F401
    except ImportError:
        return render_panel
    from .mrml import through_slicer

    return through_slicer(render_panel)
