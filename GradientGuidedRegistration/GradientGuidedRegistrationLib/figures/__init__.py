"""Pictures and reports of a registration, drawn with numpy, SimpleITK and VTK's fonts; needs no graphics driver."""

from __future__ import annotations

from .batch import batch_report
from .case import describe_case, render_case, render_pages
from .render import render_panel
from .report import write_report

__all__ = ["batch_report", "describe_case", "render_case", "render_pages", "render_panel", "write_report"]
