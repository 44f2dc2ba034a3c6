"""Pictures and reports of a registration, drawn with numpy, SimpleITK and VTK's fonts; needs no graphics driver."""

from __future__ import annotations

from .case import describe_case, render_case

__all__ = ["describe_case", "render_case"]
