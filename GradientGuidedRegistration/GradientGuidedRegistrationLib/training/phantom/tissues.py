"""What the phantom is made of: tissues with their physical properties, and the labels they belong to.

CT numbers are in HU without contrast, with the enhancement (HU) in the arterial, portal-venous and delayed phases. MR
properties are proton density, T1 and T2 in ms of the water part at 1.5 T, and the fraction of the signal that comes
from fat. Values are of the order found in textbooks; each patient's are drawn around them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """One row of the table. `texture` is the relative strength of the visible structure inside the tissue."""

    name: str
    label: str
    hu: float
    enhancement: tuple[float, float, float]
    density: float
    t1: float
    t2: float
    fat: float
    texture: float


TISSUES: tuple[Tissue, ...] = (
    Tissue("air", "background", -1000, (0, 0, 0), 0.00, 1000, 50, 0.00, 0.0),
    Tissue("skin", "fat", 10, (5, 10, 12), 0.70, 900, 35, 0.20, 0.3),
    Tissue("subcutaneous fat", "fat", -105, (0, 1, 1), 0.95, 900, 60, 0.94, 0.5),
    Tissue("visceral fat", "fat", -98, (0, 2, 3), 0.92, 900, 60, 0.90, 1.0),
    Tissue("fascia", "fat", -20, (4, 8, 10), 0.55, 900, 32, 0.40, 0.3),
    Tissue("septum", "fat", -72, (2, 4, 5), 0.80, 900, 45, 0.74, 0.3),
    Tissue("muscle", "muscle", 52, (8, 14, 16), 0.78, 900, 42, 0.05, 1.0),
    Tissue("cortical bone", "ribs", 620, (0, 0, 0), 0.12, 400, 5, 0.10, 1.2),
    Tissue("marrow", "ribs", 190, (0, 3, 4), 0.70, 800, 60, 0.50, 1.4),
    Tissue("disc", "spine", 85, (0, 2, 3), 0.62, 1000, 75, 0.02, 0.6),
    Tissue("spinal canal", "spine", 18, (0, 0, 0), 1.00, 2600, 450, 0.03, 0.4),
    Tissue("lung", "lung", -830, (3, 6, 5), 0.12, 1100, 30, 0.00, 0.5),
    Tissue("heart", "heart", 45, (130, 90, 60), 0.82, 1150, 80, 0.02, 0.5),
    Tissue("liver", "liver", 57, (10, 52, 38), 0.78, 600, 48, 0.05, 0.7),
    Tissue("liver vessel", "liver", 40, (35, 115, 75), 0.80, 1450, 140, 0.00, 0.3),
    Tissue("tumour", "liver", 38, (28, 22, 25), 0.85, 1050, 88, 0.00, 1.2),
    Tissue("gallbladder", "gallbladder", 8, (0, 1, 1), 1.00, 1900, 320, 0.00, 0.4),
    Tissue("spleen", "spleen", 46, (75, 70, 50), 0.82, 1050, 78, 0.00, 0.6),
    Tissue("kidney cortex", "kidneys", 34, (125, 140, 110), 0.82, 950, 85, 0.00, 0.5),
    Tissue("kidney medulla", "kidneys", 30, (25, 85, 105), 0.86, 1400, 105, 0.00, 0.5),
    Tissue("stomach wall", "stomach", 38, (28, 48, 45), 0.80, 950, 60, 0.03, 0.6),
    Tissue("stomach content", "stomach", 18, (0, 0, 0), 0.95, 2000, 240, 0.08, 2.0),
    Tissue("bowel wall", "bowel", 38, (32, 52, 48), 0.80, 950, 62, 0.03, 0.6),
    Tissue("bowel content", "bowel", 24, (0, 0, 0), 0.88, 1500, 160, 0.10, 2.0),
    Tissue("bowel gas", "bowel", -920, (0, 0, 0), 0.02, 1000, 20, 0.00, 0.2),
    Tissue("aorta", "aorta", 42, (280, 115, 80), 0.85, 1500, 180, 0.00, 0.2),
    Tissue("cava", "cava", 40, (40, 100, 82), 0.85, 1500, 180, 0.00, 0.2),
    Tissue("mesenteric vessel", "fat", 38, (90, 95, 70), 0.80, 1400, 130, 0.05, 0.3),
)

INDEX: dict[str, int] = {tissue.name: i for i, tissue in enumerate(TISSUES)}

LABELS: tuple[str, ...] = (
    "background",
    "liver",
    "spleen",
    "kidneys",
    "gallbladder",
    "stomach",
    "bowel",
    "aorta",
    "cava",
    "spine",
    "ribs",
    "lung",
    "heart",
    "muscle",
    "fat",
)
"""Names of the label values, in order; the first three after the background are the organs of the paper's Table 1."""

ORGANS: tuple[str, ...] = ("liver", "spleen", "kidneys", "gallbladder", "stomach", "aorta", "cava")
"""The organs whose mean Dice is quoted as 'organ Dice'."""
