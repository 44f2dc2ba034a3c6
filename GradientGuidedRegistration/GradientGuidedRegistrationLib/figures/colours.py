"""Colours of pictures: for lines, labels and words; chosen to stay apart for colour-blind readers too."""

from __future__ import annotations

BACKGROUND = (0, 0, 0)
TEXT = (232, 232, 232)
MUTED = (160, 160, 160)
LETTER = (255, 214, 90)
FIXED_OUTLINE = (64, 200, 255)
MOVING_OUTLINE = (255, 150, 40)
FOLDING = (255, 255, 0)
GRID = (120, 230, 160)
BODY, FAT_MUSCLE, BONE = (80, 190, 255), (255, 205, 60), (255, 95, 70)
FIRST, SECOND = (255, 60, 255), (60, 255, 60)  # complementary: where both are bright, white
