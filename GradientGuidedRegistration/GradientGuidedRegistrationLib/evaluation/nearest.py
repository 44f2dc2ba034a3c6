"""The exact distance from cells of a grid to the nearest of many others, for cells that have one close by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FIRST_RADIUS_MM, _PAIRS_AT_ONCE = 2.0, 1_000_000


class NearestCells:
    """Looks for the nearest target row by row, in rings that grow around each query.

    Args:
        shape: of the grid (D, H, W).
        targets: flat indices of the cells to find, ascending.
        spacing: millimetres along (x, y, z), so along the grid's last, middle and first axis.
    """

    def __init__(self, shape: Sequence[int], targets: np.ndarray, spacing: Sequence[float]) -> None:
        self._shape = tuple(shape)
        self._spacing = tuple(spacing)
        self._along_rows = _squared_along_rows(self._shape, targets, spacing[0]).ravel()

    def squared_distances(
        self, queries: np.ndarray, most_pairs: int | None = None, farthest_mm: float = np.inf
    ) -> np.ndarray:
        """Squared distance (mm^2) of each query (flat indices) to the nearest target, float32.

        The radius grows by half from ring to ring, and what has a target within it is settled. It ends when the radius
        reaches `farthest_mm`, or before more than `most_pairs` pairs of a query and a row have been looked at (None:
        any number); what is not settled by then is infinite.
        """
        best = np.full(len(queries), np.inf, np.float32)
        settled = np.zeros(len(queries), bool)
        inner, radius = -1.0, FIRST_RADIUS_MM
        while not settled.all():
            ring = self._ring(inner, radius)
            pending = np.flatnonzero(~settled)
            pairs = len(pending) * ring.shape[1]
            if most_pairs is not None:
                most_pairs -= pairs
                if most_pairs < 0:
                    break
            for part in np.array_split(pending, -(-pairs // _PAIRS_AT_ONCE) or 1):
                best[part] = np.minimum(best[part], self._nearest_in(ring, queries[part]))
            settled = best <= radius**2
            if radius > np.hypot(self._shape[0] * self._spacing[2], self._shape[1] * self._spacing[1]):
                return best  # every row has been looked at
            if radius >= farthest_mm:
                break
            inner, radius = radius, 1.5 * radius
        return np.where(settled, best, np.float32(np.inf))

    def _ring(self, inner: float, outer: float) -> np.ndarray:
        """Steps along the first and the middle axis, int (2, N), over `inner` up to `outer` mm long."""
        reach = [min(int(outer / own), size - 1) for own, size in zip(self._spacing[:0:-1], self._shape, strict=False)]
        steps = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1].reshape(2, -1)
        squared = self._squared_length(steps)
        return steps[:, (squared <= outer**2) & (squared > (inner**2 if inner >= 0 else -1.0))]

    def _squared_length(self, steps: np.ndarray) -> np.ndarray:
        return (steps[0] * self._spacing[2]) ** 2 + (steps[1] * self._spacing[1]) ** 2

    def _nearest_in(self, ring: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Squared distance of each query to the nearest target in the rows of a ring around it; infinite if none."""
        _, height, width = self._shape
        planes, rows = np.divmod(queries // width, height)
        down, across = ring
        best = np.full(len(queries), np.inf, np.float32)
        if not ring.size:
            return best
        squared = self._squared_length(ring).astype(np.float32)
        reach = np.abs(ring).max(axis=1)
        inside = (planes >= reach[0]) & (planes < self._shape[0] - reach[0])
        inside &= (rows >= reach[1]) & (rows < height - reach[1])
        found = self._along_rows[queries[inside, None] + (down * height + across) * width]
        found += squared
        best[inside] = found.min(axis=1)
        # a step past the grid's edge is taken to the edge: the row there is nearer than its step says
        rim = ~inside
        places = np.clip(planes[rim, None] + down, 0, self._shape[0] - 1) * height
        places += np.clip(rows[rim, None] + across, 0, height - 1)
        found = self._along_rows[places * width + (queries[rim] % width)[:, None]]
        found += squared
        best[rim] = found.min(axis=1)
        return best


def _squared_along_rows(shape: tuple[int, ...], targets: np.ndarray, spacing: float) -> np.ndarray:
    """Squared distance (mm^2) from each cell to the nearest target along the last axis, float32 (D, H, W).

    Each row falls into runs of cells that share their nearest target; rows without one are runs too, infinitely far.
    """
    width = shape[2]
    rows = targets // width
    middles = (targets[:-1] + targets[1:]) // 2 + 1
    together = rows[:-1] == rows[1:]
    starts, stops = rows * width, (rows + 1) * width
    starts[1:][together] = stops[:-1][together] = middles[together]
    ends = np.stack([starts, stops], axis=1).ravel()
    places = np.full(len(ends) + 1, np.inf, np.float32)
    places[1::2] = targets % width
    squared = np.repeat(places, np.diff(ends, prepend=0, append=np.prod(shape))).reshape(shape)
    cells = np.arange(width, dtype=np.float32)
    for plane in squared:  # in the processor's cache
        plane -= cells
        plane *= np.float32(spacing)
        plane *= plane
    return squared
