"""A small registered pair with a known answer: a ball with a bone-like core, in any scanner geometry."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import SimpleITK as sitk


def rotation(*angles):
    transform = sitk.Euler3DTransform()
    transform.SetRotation(*np.deg2rad(angles))
    return np.array(transform.GetMatrix()).reshape(3, 3)


GEOMETRIES = {
    "straight": (np.eye(3), (1.5, 1.5, 1.5)),
    "anisotropic": (np.eye(3), (1.0, 1.0, 4.0)),
    "oblique": (rotation(25, -20, 10), (1.3, 1.1, 2.5)),
    "left-handed": (rotation(25, 0, 15) @ np.diag([1, 1, -1]), (1.2, 1.4, 1.7)),
    "sagittal": (np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]), (1.0, 1.2, 2.0)),
}
CENTRE = np.array([12.0, -30.0, 55.0])  # LPS, of every image


def make_image(function, geometry="straight", extent=80.0, kind=np.float32):
    """An image around CENTRE whose values are `function` of the LPS points (D, H, W, 3)."""
    direction, spacing = GEOMETRIES[geometry]
    size = [max(4, round(extent / value)) for value in spacing]
    origin = CENTRE - direction @ ((np.array(size) - 1) / 2 * spacing)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1).transpose(2, 1, 0, 3)
    points = (index * np.array(spacing)) @ direction.T + origin
    values = np.asarray(function(points))
    image = sitk.GetImageFromArray(values.astype(kind), isVector=values.ndim == 4)
    image.SetSpacing(spacing)
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def distance(points, offset=(0, 0, 0)):
    return np.linalg.norm(points - CENTRE - offset, axis=-1)


def mr(points):
    """Body of 30 mm radius in a scanner's own units, with a smooth texture; 0 outside."""
    texture = 60 * np.sin(points @ [0.21, 0.13, 0.17])
    return np.where(distance(points) < 30, 300 + texture, 0)


def ct(points, offset=(4, 0, 0)):
    """The same body 4 mm to the patient's left in HU: air, soft tissue, a core of bone."""
    r = distance(points, offset)
    return np.where(r < 12, 700, np.where(r < 30, 40 + 20 * np.sin(points @ [0.1, 0.2, 0.15]), -1000))


def labels(points, offset=(0, 0, 0)):
    """1: the core; 2: a small ball towards the patient's right."""
    right = np.array([-20.0, 0, 0])
    values = np.where(distance(points, offset) < 12, 1, 0)
    return np.where(distance(points, offset + right) < 6, 2, values)


def make_case(fixed_geometry="straight", moving_geometry="straight", branches=True):
    """Fixed MR, moving CT, labels of both, and a result that moves the CT right back (field +4 mm along L)."""
    fixed, moving = make_image(mr, fixed_geometry), make_image(ct, moving_geometry, kind=np.int16)
    fixed_labels = make_image(labels, fixed_geometry, kind=np.uint8)
    moving_labels = make_image(lambda points: labels(points, np.array([4.0, 0, 0])), moving_geometry, kind=np.uint8)
    field = make_image(lambda points: np.broadcast_to([4.0, 0, 0], points.shape), fixed_geometry, extent=120)
    other = make_image(lambda points: np.broadcast_to([3.0, 1, 0], points.shape), fixed_geometry, extent=120)
    result = SimpleNamespace(
        expected_error=None,
        field=field,
        linear=sitk.Transform(3, sitk.sitkIdentity),
        image_field=field if branches else None,
        gradient_field=other if branches else None,
        quality={},
        timings={"linear": 1.25, "network": 0.5},
        settings=None,
        versions={"SimpleITK": sitk.Version_VersionString()},
    )
    return SimpleNamespace(
        fixed=fixed, moving=moving, fixed_labels=fixed_labels, moving_labels=moving_labels, result=result
    )
