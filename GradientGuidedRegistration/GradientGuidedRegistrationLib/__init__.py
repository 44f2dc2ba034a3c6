"""Deformable CT-MR registration with a dual-branch gradient-guided network.

The rooms of this package, from the bottom up: `model` (tensors), `registration` (images with geometry), `evaluation`
and `figures` (what a result is worth), `training`, `mrml` (Slicer's nodes). Importing the package imports none of them.
"""

from __future__ import annotations

__version__ = "0.1.0"
