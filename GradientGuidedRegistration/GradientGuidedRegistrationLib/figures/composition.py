"""A picture described as data: which slices lie over each other, with what colours and words.

A renderer turns a `Panel` into pixels. `render.py` does it with numpy and SimpleITK; another one may hand the same
description to Slicer's slice views. Layers are painted in order and name their volumes by key.
"""

from __future__ import annotations

from dataclasses import dataclass

from .views import SliceView

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Grey:
    """A volume in grey, through its own window, its brightness times `brightness`."""

    volume: str
    brightness: float = 1.0


@dataclass(frozen=True)
class Checker:
    """Squares of `tile_mm` taken from two volumes in turn, the first one at the picture's top left."""

    first: str
    second: str
    tile_mm: float


@dataclass(frozen=True)
class Fusion:
    """Two volumes in complementary colours: what coincides is white."""

    first: str
    second: str


@dataclass(frozen=True)
class ColourMap:
    """A volume through a colour table over what lies below.

    `limits` are the values at the table's ends (on a logarithmic scale if `logarithmic`). With `fade`, opacity grows
    from 0 at the table's neutral value (its start, or its middle for "diverging") to `opacity`. Nothing is painted
    where the volume `inside` (if any) is 0.
    """

    volume: str
    table: str
    limits: tuple[float, float]
    opacity: float = 0.7
    fade: bool = False
    logarithmic: bool = False
    inside: str | None = None


@dataclass(frozen=True)
class Marks:
    """Pixels whose value is at most `at_most`, in one colour."""

    volume: str
    at_most: float
    colour: Colour


@dataclass(frozen=True)
class Contours:
    """Iso-lines of a volume, smoothed by `smooth_mm` before."""

    volume: str
    levels: tuple[tuple[float, Colour], ...]
    smooth_mm: float = 1.0
    width: float = 1.3


@dataclass(frozen=True)
class Edges:
    """Lines where a volume changes most (Canny)."""

    volume: str
    colour: Colour
    smooth_mm: float = 1.5
    width: float = 1.3


@dataclass(frozen=True)
class Outline:
    """The border of a label."""

    volume: str
    label: int
    colour: Colour
    width: float = 1.6


@dataclass(frozen=True)
class WarpedGrid:
    """Where the planes of a regular grid of the moving image, `step_mm` apart, end up; `volume` is the field."""

    volume: str
    step_mm: float
    colour: Colour
    width: float = 1.0


@dataclass(frozen=True)
class Frame:
    """A rectangle that another panel shows enlarged."""

    view: SliceView
    colour: Colour


@dataclass(frozen=True)
class Ring:
    """A circle around a point (LPS mm)."""

    point: tuple[float, float, float]
    radius_mm: float
    colour: Colour
    width: float = 1.2


Layer = Grey | Checker | Fusion | ColourMap | Marks | Contours | Edges | Outline | WarpedGrid | Frame | Ring


@dataclass(frozen=True)
class Panel:
    """One picture: a slice, what is painted on it, and a line of words above it."""

    title: str
    view: SliceView
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Swatch:
    """Legend: a colour and what it stands for."""

    colour: Colour
    text: str


@dataclass(frozen=True)
class ColourBar:
    """Legend: a colour table with words at its ends and its middle."""

    table: str
    ticks: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Page:
    """One figure: rows of panels with a legend; `caption` is for the report."""

    name: str
    title: str
    caption: str
    rows: tuple[tuple[Panel, ...], ...]
    legend: tuple[Swatch | ColourBar, ...] = ()
