"""One registration by a peer in a process of its own, in the peers' environment: run_peer.py CASE METHOD THREADS.

Every peer runs as its documentation says, at its defaults, with the CT clipped to the range in which it does best on a
group: +-1000 HU on phantoms, soft tissue on patients. `seconds` is the registration alone: no imports, no files, no
sampling of the result for the measures.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from case_folder import CaseFolder, field_of
from clock import peak_memory_mb, since_start, timed

Outcome = tuple[sitk.Image, dict]


def syn(case: CaseFolder, threads: int) -> Outcome:
    """ANTsPy: centre of mass, affine, SyN, with Mattes mutual information."""
    import ants

    fixed, moving, grid = (ants.image_read(str(case.file(n))) for n in ("fixed", "clipped", "grid"))
    imports = since_start()
    with tempfile.TemporaryDirectory() as folder:

        def call() -> dict:
            return ants.registration(
                fixed, moving, "SyN", outprefix=f"{folder}/syn", syn_metric="mattes", random_seed=1
            )

        result, times = timed(call)
        memory = peak_memory_mb()
        composed = ants.apply_transforms(
            grid, moving, transformlist=result["fwdtransforms"], compose=f"{folder}/composed"
        )
        vectors = sitk.GetArrayFromImage(sitk.ReadImage(str(composed)))
    return _like_grid(vectors, case), {**times, "import_seconds": imports, "peak_memory_mb": memory}


def elastix(case: CaseFolder, threads: int) -> Outcome:
    """itk-elastix: rigid, affine and B-spline with its default parameter maps (advanced Mattes mutual information)."""
    import itk

    fixed, moving = (itk.imread(str(case.file(name)), itk.F) for name in ("fixed", "clipped"))
    parameters = itk.ParameterObject.New()
    for stage in ("rigid", "affine", "bspline"):
        parameters.AddParameterMap(parameters.GetDefaultParameterMap(stage))

    def call():
        return itk.elastix_registration_method(
            fixed, moving, parameter_object=parameters, number_of_threads=threads, log_to_console=False
        )

    itk.ElastixRegistrationMethod[type(fixed), type(moving)]  # loads its module, which takes its time
    imports = since_start()
    (_, found), times = timed(call)
    memory = peak_memory_mb()
    grid = case.image("grid")
    geometry = {
        "Size": grid.GetSize(),
        "Index": (0, 0, 0),
        "Spacing": grid.GetSpacing(),
        "Origin": grid.GetOrigin(),
        "Direction": np.reshape(grid.GetDirection(), (3, 3)).T.ravel().tolist(),  # column after column
    }
    for index in range(found.GetNumberOfParameterMaps()):
        for name, values in geometry.items():
            found.SetParameter(index, name, [str(value) for value in values])
    field = itk.transformix_deformation_field(moving, found)
    vectors = itk.array_from_image(field)
    return _like_grid(vectors, case), {**times, "import_seconds": imports, "peak_memory_mb": memory}


def convexadam(case: CaseFolder, threads: int) -> Outcome:
    """convexAdam with MIND at its defaults (mind_r 1, mind_d 2, lambda 1.25, grid 6, displacement 4, 80 steps).

    It has no linear stage and no geometry: it gets the moving image on an isotropic grid over the fixed field of view,
    through the linear alignment of this extension where the case has one. Its seconds do not include that alignment.
    """
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    torch.set_num_threads(threads)
    grid, linear = case.image("grid"), case.linear()
    imports = since_start()
    fixed, moving = (_antialiased(case.image(n), grid) for n in ("fixed", "clipped"))
    arrays = [
        sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, sitk.sitkLinear, _lowest(image)))
        for image, transform in ((fixed, sitk.Transform(3, sitk.sitkIdentity)), (moving, linear))
    ]
    displacement, times = timed(lambda: convex_adam_pt(*arrays, device=torch.device("cpu")))
    memory = peak_memory_mb()
    axes = np.reshape(grid.GetDirection(), (3, 3)) * np.array(grid.GetSpacing())
    vectors = displacement[..., ::-1] @ axes.T  # (D, H, W) voxels to LPS mm
    deformable = sitk.DisplacementFieldTransform(sitk.Cast(_like_grid(vectors, case), sitk.sitkVectorFloat64))
    whole = field_of(sitk.CompositeTransform([linear, deformable]), grid)
    return whole, {**times, "import_seconds": imports, "peak_memory_mb": memory}


def _antialiased(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """The image smoothed along the axes that are finer than the grid."""
    for axis, own in enumerate(image.GetSpacing()):
        sigma = 0.5 * np.sqrt(max(grid.GetSpacing()[0] ** 2 - own**2, 0.0))
        if sigma > 0.4 * own:
            image = sitk.RecursiveGaussian(image, sigma=float(sigma), direction=axis)
    return image


def _lowest(image: sitk.Image) -> float:
    return float(sitk.GetArrayViewFromImage(image).min())


def _like_grid(vectors: np.ndarray, case: CaseFolder) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(vectors, dtype=np.float32), isVector=True)
    image.CopyInformation(case.image("grid"))
    return image


METHODS: dict[str, Callable[[CaseFolder, int], Outcome]] = {
    "SyN": syn,
    "elastix": elastix,
    "convexAdam": convexadam,
}


def main() -> None:
    case, method, threads = CaseFolder(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    field, about = METHODS[method](case, threads)
    folder = case.method(method)
    sitk.WriteImage(field, str(folder / "field.mha"))
    (folder / "run.json").write_text(json.dumps(about, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
