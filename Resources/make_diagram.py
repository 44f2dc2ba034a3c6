"""Draw how the method works, `how-it-works.svg`, from the description below: python Resources/make_diagram.py"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 940, 280
# name: (x, y, width, lines of text, fill)
BOXES = {
    "images": (10, 60, 150, ("CT and MR", "on one grid"), "#dbeafe"),
    "gradients": (10, 200, 150, ("gradient maps", "edge strength, 0 to 1"), "#fde68a"),
    "image branch": (205, 60, 150, ("image branch", "encoder, decoder"), "#dbeafe"),
    "gradient branch": (205, 200, 150, ("gradient branch", "encoder, decoder"), "#fde68a"),
    "gate": (400, 130, 150, ("gated fusion", "which branch, where"), "#dcfce7"),
    "refinement": (600, 130, 150, ("refinement", "on this pair"), "#dcfce7"),
    "result": (800, 130, 130, ("transform", "CT on MR, figures"), "#ede9fe"),
}
BOX_HEIGHT = 60
# from, to, what flows
ARROWS = [
    ("images", "gradients", ""),
    ("images", "image branch", ""),
    ("gradients", "gradient branch", ""),
    ("image branch", "gate", "φ image"),
    ("gradient branch", "gate", "φ gradient"),
    ("gate", "refinement", "φ"),
    ("refinement", "result", "φ"),
]
TITLE = "Two branches propose displacements φ; a learned gate weighs them; the pair at hand has the last word"


def drawing() -> str:
    """The picture as SVG text."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#334155"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 28, TITLE, 15),
    ]
    return "\n".join([*parts, *map(_box, BOXES.values()), *(_arrow(*arrow) for arrow in ARROWS), "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, size: int) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="middle" fill="#0f172a">{escape(text)}</text>'


def _box(box: tuple[int, int, int, tuple[str, str], str]) -> str:
    x, y, width, (first, second), fill = box
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="8" fill="{fill}" stroke="#334155"/>'
    return shape + _text(x + width / 2, y + 26, first, 15) + _text(x + width / 2, y + 46, second, 12)


def _arrow(start: str, end: str, label: str) -> str:
    x1, y1, w1 = BOXES[start][:3]
    x2, y2, w2 = BOXES[end][:3]
    if x1 == x2:  # one above the other
        ends = (x1 + w1 / 2, y1 + BOX_HEIGHT, x2 + w2 / 2, y2)
    else:
        ends = (x1 + w1, y1 + BOX_HEIGHT / 2, x2, y2 + BOX_HEIGHT / 2)
    line = '<line x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}" stroke="#334155" marker-end="url(#tip)"/>'.format(*ends)
    right, down = {0: (0, -8), 1: (40, -8), -1: (40, 16)}[(y2 > y1) - (y2 < y1)]  # beside the line, not on it
    return line + (_text((ends[0] + ends[2]) / 2 + right, (ends[1] + ends[3]) / 2 + down, label, 12) if label else "")


if __name__ == "__main__":
    Path(__file__).with_name("how-it-works.svg").write_text(drawing(), encoding="utf-8")
