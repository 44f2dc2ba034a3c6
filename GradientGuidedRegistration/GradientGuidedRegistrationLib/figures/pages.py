"""The pages of a case report, described as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..evaluation import WorstBoundary
from ..evaluation.axes import shortened
from . import colours
from .composition import (
    Checker,
    ColourBar,
    ColourMap,
    Contours,
    Edges,
    Frame,
    Fusion,
    Grey,
    Layer,
    Marks,
    Outline,
    Page,
    Panel,
    Ring,
    Swatch,
    WarpedGrid,
)
from .views import SliceView
from .volumes import SOFT_TISSUE_HU, Volume

CT_LEVELS = ((-400.0, colours.BODY), (-30.0, colours.FAT_MUSCLE), (180.0, colours.BONE))
CT_LEGEND = (
    Swatch(colours.BODY, "CT: skin and gas (-400 HU)"),
    Swatch(colours.FAT_MUSCLE, "CT: fat to soft tissue (-30 HU)"),
    Swatch(colours.BONE, "CT: bone (180 HU)"),
)


@dataclass(frozen=True)
class PageBuilder:
    """What the pages are made of.

    Attributes:
        volumes: by key, see `case.case_volumes`; optional ones may be missing.
        views: axial, coronal, sagittal.
        box: corners of the region of interest, LPS mm.
        names: modality of the fixed and of the moving image.
        labels: label values to outline, with their names.
        left_out: how many more structures there are.
        zoom: close-ups in the three orientations.
        worst: the worst boundary that `zoom` shows; None if it shows the largest deformation.
    """

    volumes: Mapping[str, Volume]
    views: list[SliceView]
    box: tuple[np.ndarray, np.ndarray]
    names: tuple[str, str]
    labels: Mapping[int, str]
    left_out: int
    zoom: list[SliceView]
    worst: WorstBoundary | None

    def pages(self) -> list[Page]:
        """All pages that the volumes allow, in reading order."""
        pages = [self.images(), self.contours()]
        if self.labels:
            pages.append(self.outlines())
        return [*pages, self.close_up(), self.series(), self.gradients(), self.deformation()]

    def images(self) -> Page:
        """Fixed image, moving image before and after, in three orientations."""
        fixed, moving = self._titles()
        return Page(
            "images",
            "The images before and after registration",
            "The fixed image, and the moving image at the same place before and after registration.",
            tuple(
                tuple(
                    Panel(title, view, (Grey(key),))
                    for title, key in ((fixed, "fixed"), (f"{moving}, before", "before"), (f"{moving}, after", "after"))
                )
                for view in self.views
            ),
        )

    def contours(self) -> Page:
        """The moving image's contours on the fixed image, and checkerboards, before and after."""
        tile = max(max(view.size_mm) for view in self.views) / 9
        columns: list[tuple[str, tuple[Layer, ...]]] = [
            (f"{self.names[1]} contours on {self.names[0]}, before", (Grey("fixed"), self._moving_lines("before"))),
            (f"{self.names[1]} contours on {self.names[0]}, after", (Grey("fixed"), self._moving_lines("after"))),
            ("Checkerboard, before", (Checker("fixed", "before", tile),)),
            ("Checkerboard, after", (Checker("fixed", "after", tile),)),
        ]
        return Page(
            "overlay",
            "Contours of the moving image on the fixed image, and checkerboards",
            "Lines are computed from the moving image alone and drawn on the fixed image: after registration they "
            "should run along the fixed image's own borders. In the checkerboards, borders should run on unbroken "
            "from square to square.",
            tuple(tuple(Panel(title, view, layers) for title, layers in columns) for view in self.views),
            self._line_legend(),
        )

    def outlines(self) -> Page:
        """Outlines of the segmentations on the fixed image, before and after."""
        columns = []
        for when in ("before", "after"):
            title = f"Segmentations on {self.names[0]}, {when}" if self._has_moving_labels else "Segmentation"
            if when == "before" or self._has_moving_labels:
                columns.append((title, (Grey("fixed"), *self._label_lines(when))))
        rows = []
        for view, zoom in zip(self.views, self.zoom, strict=True):
            frame = () if self.worst is None or not _same_plane(view, zoom) else (Frame(zoom, colours.TEXT),)
            rows.append(tuple(Panel(title, view, (*layers, *frame)) for title, layers in columns))
        caption = "Outlines of the same structures drawn in the two images, on the fixed image."
        if self.left_out:
            count = len(self.labels)
            caption += f" Only the {count} largest of {count + self.left_out} structures are outlined."
        return Page(
            "outlines",
            "Segmentations",
            caption,
            tuple(rows),
            self._label_legend(),
        )

    def close_up(self) -> Page:
        """The worst boundary enlarged, or without segmentations the largest deformation."""
        _, moving = self._titles()
        if self.worst is not None:
            name = shortened(self.labels.get(self.worst.label, str(self.worst.label)), 40)
            title = f"Worst boundary after registration: {self.worst.distance_mm:.1f} mm ({name})"
            caption = (
                "The place where the borders of one structure in the two segmentations are farthest apart after "
                "registration. Fragments, spikes, and borders that the end of the field of view cuts do not count."
            )
        else:
            title = "Close-up of the largest deformation in the middle slices"
            caption = (
                "There are no two segmentations whose borders can be compared, so the close-up shows where the "
                "deformation is largest in the middle slices."
            )
        rows = []
        only = None if self.worst is None else self.worst.label
        for view in self.zoom:
            row = []
            mark = () if self.worst is None else (Ring(self.worst.point, 3.0, colours.TEXT),)
            for when in ("before", "after"):
                lines = self._label_lines(when, only) if self.labels else (self._moving_lines(when),)
                row.append(Panel(f"On {self.names[0]} (fixed), {when}", view, (Grey("fixed"), *lines, *mark)))
            row.append(Panel(f"{moving}, after", view, (Grey("after"), *self._label_lines("after", only), *mark)))
            rows.append(tuple(row))
        legend = self._label_legend() if self.labels else self._line_legend()
        return Page("close-up", title, caption, tuple(rows), legend)

    def series(self, count: int = 8) -> Page:
        """The moving image's contours after registration on `count` axial slices."""
        axial = self.views[0]
        (lower, upper), pixel_mm = self.box, max(axial.size_mm) / 230
        positions = lower[2] + (upper[2] - lower[2]) * (np.arange(count)[::-1] + 0.5) / count
        slices = [axial.at((axial.centre[0], axial.centre[1], float(z)), pixel_mm=pixel_mm) for z in positions]
        panels = [Panel(view.position_text, view, (Grey("fixed"), self._moving_lines("after"))) for view in slices]
        return Page(
            "series",
            f"{self.names[1]} contours on {self.names[0]} after registration, from head to foot",
            "Axial slices through the whole region, evenly spaced.",
            (tuple(panels[: count // 2]), tuple(panels[count // 2 :])),
            self._line_legend(),
        )

    def gradients(self) -> Page:
        """Gradient maps of both images and their overlays, before and after."""
        columns: list[tuple[str, tuple[Layer, ...]]] = [
            (f"Gradient map of the {self.names[0]} (fixed)", (Grey("gradient_fixed"),)),
            (f"Gradient map of the {self.names[1]}, after", (Grey("gradient_after"),)),
            ("Both, before", (Fusion("gradient_fixed", "gradient_before"),)),
            ("Both, after", (Fusion("gradient_fixed", "gradient_after"),)),
        ]
        return Page(
            "gradients",
            "Gradient maps",
            "The gradient maps that guide the registration (equation 1 of Xu et al.). In the overlays, borders of both "
            "images that coincide are white.",
            tuple(tuple(Panel(title, view, layers) for title, layers in columns) for view in self.views),
            (
                Swatch(colours.FIRST, f"only in the {self.names[0]}"),
                Swatch(colours.SECOND, f"only in the {self.names[1]}"),
                Swatch((255, 255, 255), "in both"),
            ),
        )

    def deformation(self) -> Page:
        """The deformation as a warped grid and as maps."""
        largest = self._largest("displacement", 4.0)
        columns: list[tuple[str, tuple[Layer, ...]]] = [
            ("Grid of the moving image, 10 mm", (Grey("fixed", 0.7), WarpedGrid("field", 10.0, colours.GRID))),
            (
                "Deformation, linear part aside (mm)",
                (Grey("fixed", 0.6), ColourMap("displacement", "heat", (0.0, largest), 0.75, fade=True, inside="body")),
            ),
            (
                "Jacobian determinant",
                (
                    Grey("fixed", 0.6),
                    ColourMap("jacobian", "diverging", (0.5, 2.0), 0.8, fade=True, logarithmic=True),
                    Marks("jacobian", 0.0, colours.FOLDING),
                ),
            ),
        ]
        legend: list[Swatch | ColourBar] = [
            ColourBar("heat", ("0", f"{largest / 2:g}", f"{largest:g}"), "Deformation (mm)"),
            ColourBar("diverging", ("0.5", "1", "2"), "Jacobian, moving / fixed volume"),
            Swatch(colours.FOLDING, "folding (Jacobian <= 0)"),
        ]
        caption = (
            "The grid shows where planes 10 mm apart in the moving image come to lie. The Jacobian determinant is the "
            "volume of a small piece of the moving image over that in the fixed image; yellow marks folding. Colours "
            "for millimetres are drawn inside the body only."
        )
        doubt = {
            "expected_error": ("Expected error", "Where the registration expects a large error of itself"),
            "disagreement": (
                "Disagreement of the branches",
                "Where the image branch and the gradient branch disagree",
            ),
        }
        key = next((key for key in doubt if key in self.volumes), None)
        if key is not None:
            title, words = doubt[key]
            limit = self._largest(key, 2.0)
            layers = (Grey("fixed", 0.6), ColourMap(key, "heat", (0.0, limit), 0.75, fade=True, inside="body"))
            columns.append((f"{title} (mm)", layers))
            legend.append(ColourBar("heat", ("0", f"{limit / 2:g}", f"{limit:g}"), f"{title} (mm)"))
            caption += f" {words}, trust the result less."
        return Page(
            "deformation",
            "Deformation",
            caption,
            tuple(tuple(Panel(title, view, layers) for title, layers in columns) for view in self.views),
            tuple(legend),
        )

    @property
    def _has_moving_labels(self) -> bool:
        return "labels_before" in self.volumes

    def _titles(self) -> tuple[str, str]:
        return f"Fixed ({self.names[0]})", f"Moving ({self.names[1]})"

    def _moving_lines(self, when: str) -> Layer:
        voxel_mm = max(self.volumes[when].image.GetSpacing())  # of a specimen of a few mm little would be left
        # the window of a CT is the fixed soft-tissue one, see volumes.display_window
        if self.volumes[when].window == SOFT_TISSUE_HU:
            return Contours(when, CT_LEVELS, smooth_mm=1.2 * min(voxel_mm, 1.0))
        return Edges(when, colours.FAT_MUSCLE, smooth_mm=1.5 * min(voxel_mm, 1.0))

    def _line_legend(self) -> tuple[Swatch, ...]:
        if self.volumes["before"].window == SOFT_TISSUE_HU:
            return CT_LEGEND
        return (Swatch(colours.FAT_MUSCLE, f"edges of the {self.names[1]}"),)

    def _label_lines(self, when: str, only: int | None = None) -> tuple[Layer, ...]:
        layers: list[Layer] = []
        labels = self.labels if only is None else (only,)
        slim = 0.65 if len(labels) > 4 else 1.0  # many structures lie close to each other
        for label in labels:
            if "fixed_labels" in self.volumes:
                layers.append(Outline("fixed_labels", label, colours.FIXED_OUTLINE, width=3.4 * slim))
            if self._has_moving_labels:
                layers.append(Outline(f"labels_{when}", label, colours.MOVING_OUTLINE, width=1.6 * slim))
        return tuple(layers)

    def _label_legend(self) -> tuple[Swatch, ...]:
        legend = []
        if "fixed_labels" in self.volumes:
            legend.append(Swatch(colours.FIXED_OUTLINE, f"drawn in the {self.names[0]} (fixed)"))
        if self._has_moving_labels:
            legend.append(Swatch(colours.MOVING_OUTLINE, f"drawn in the {self.names[1]} (moving)"))
        return tuple(legend)

    def _largest(self, key: str, at_least: float) -> float:
        """A round upper end for a colour bar: no less than nearly all that the three slices show of the body."""
        values = np.concatenate([self._in_body(key, view) for view in self.views])
        values = values[np.isfinite(values)]
        wanted = max(at_least, float(np.percentile(values, 99.5))) if values.size else at_least
        steps = (1, 2, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80, 100)
        return float(next((step for step in steps if step >= wanted), 200))

    def _in_body(self, key: str, view: SliceView) -> np.ndarray:
        return self.volumes[key].slice(view)[np.nan_to_num(self.volumes["body"].slice(view)) > 0.5]


def _same_plane(view: SliceView, other: SliceView) -> bool:
    axis = view.axes.axis
    return abs(view.centre[axis] - other.centre[axis]) < 2 * view.pixel_mm
