"""`odise-trt build`, also as `python export/build_engines.py`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from odise_trt.backends.registry import BACKENDS, DEFAULT_BACKEND
from odise_trt.errors import ExportError
from reference.completion import presets_like
from reference.names import EMPTY, OFFICIAL

from .completion import optional_stages_like, stages_like
from .stopping import ends_soon

_DEFAULT_PRECISIONS = ", ".join(f"{entry.precision} for {name}" for name, entry in BACKENDS.items())
_BUILD_AHEAD = ", ".join(name for name, entry in BACKENDS.items() if entry.builds_ahead)

if TYPE_CHECKING:
    from reference.model.deformable_attention import Lowering

    from .plan import Request

    BackendName = str
else:
    #: Choices of --backend.
    BackendName = StrEnum("BackendName", {name: name for name in BACKENDS})


class Precision(StrEnum):
    """Choices of --precision."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"
    int8 = "int8"
    fp8 = "fp8"


class Sampling(StrEnum):
    """Choices of --sampling."""

    gather = "gather"
    grid_sample = "grid_sample"


#: Maps each choice to its literal for the type checker, which does not infer the literal from the choice.
_LOWERINGS: dict[Sampling, Lowering] = {Sampling.gather: "gather", Sampling.grid_sample: "grid_sample"}


def build(
    preset: Annotated[
        str,
        typer.Option(help="odise-label, odise-caption, demo or demo-caption.", autocompletion=presets_like),
    ] = "demo",
    weights: Annotated[
        str | None,
        typer.Option(
            help="random:SEED, demo, official (fetched and converted if need be), or a safetensors file with"
            " the official names. Default for demo: demo."
        ),
    ] = None,
    accept_licenses: Annotated[
        bool, typer.Option("--accept-licenses", help="With --weights official: accept without a question.")
    ] = False,
    backend: Annotated[
        list[BackendName] | None,
        typer.Option(help="What the engines are for; may be given several times."),
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help=f"Default: {_DEFAULT_PRECISIONS}.")] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="For int8 and fp8: a folder with some of your own pictures.", metavar="DIR"),
    ] = None,
    modelopt_python: Annotated[
        str | None,
        typer.Option(help="For int8 and fp8: the Python of an environment with NVIDIA ModelOpt."),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="Build only this stage; may be given several times.", autocompletion=stages_like),
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Build this optional stage, too: raw_features, resize.",
            metavar="STAGE",
            autocompletion=optional_stages_like,
        ),
    ] = None,
    output: Annotated[str, typer.Option(help="Folder that bundles are put into.")] = "engines",
    sampling: Annotated[
        Sampling | None,
        typer.Option(
            help="How deformable attention samples; some engines run grid_sample wrong."
            " Default: as the backend does it best."
        ),
    ] = None,
    opset: Annotated[int, typer.Option(help="ONNX operator set, 18 to 25.")] = 21,
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(help=f"GPU to build for ahead of time, like 8.9 ({_BUILD_AHEAD} only). Default: any."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help=f"GPUs to build a bundle for each, like sm86,sm89,sm120 ({_BUILD_AHEAD} only)."),
    ] = None,
    parity_windows: Annotated[
        int | None, typer.Option(min=1, help="Most windows in a parity check, where memory is short.")
    ] = None,
    onnx_only: Annotated[
        bool,
        typer.Option("--onnx-only", help="Build graphs; `odise-trt finish` builds their engines elsewhere."),
    ] = False,
    strip_weights: Annotated[
        bool,
        typer.Option(
            "--strip-weights",
            help="TensorRT engines without weights: they take those of graphs in the bundle.",
        ),
    ] = False,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible",
            help="Engines for later TensorRT of the same major version, too (tensorrt only).",
        ),
    ] = False,
    hardware_compatible: Annotated[
        bool,
        typer.Option("--hardware-compatible", help="Engines for Ampere and later GPUs (tensorrt only)."),
    ] = False,
    max_windows: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most windows in a run; fewer need less memory. Default: as many as the stages take."
        ),
    ] = None,
    image_size: Annotated[
        list[str] | None,
        typer.Option(
            "--image-sizes",
            help="The only sizes of pictures, like 1920x1080,1080x1920; one fixes all shapes. Default: any.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes to export with; each holds a stage of the model in memory.")
    ] = 1,
    force: Annotated[bool, typer.Option("--force", help="Build even what is up to date.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be built, and what it takes; build nothing.")
    ] = False,
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="Build even if memory or disk are estimated not to suffice."),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the progress as JSON, an object per line.")
    ] = False,
) -> None:
    """Export the stages of a model, compare each with the reference, and build engines into a bundle.

    The last line begins with PASSED, FAILED or STOPPED.
    """
    _refuse_empty(
        preset=[preset],
        weights=[weights],
        output=[output],
        stage=stage or (),
        calibration=[calibration],
        **{"with": extra or (), "modelopt-python": [modelopt_python]},
    )
    weights = _default_weights(preset) if weights is None else weights
    console = Console(quiet=json)
    if weights == OFFICIAL:
        if not dry_run:
            _provide(preset, accept_licenses)
    elif accept_licenses:
        raise ExportError("--accept-licenses is for --weights official", "leave it out")
    # Torch takes seconds to import: --help and wrong options do not wait for it.
    with console.status("starting") if console.is_terminal else nullcontext():
        from odise_trt.cli.console import plain

        from .build import build as build_bundles
        from .console import ConsoleReporter, show
        from .exclusive import clear_held
        from .gpu_targets import capabilities_of
        from .json_lines import JsonReporter
        from .plan import Request
        from .stages.image_sizes import image_sizes
        from .verdict import command_line, verdict
    request = Request(
        preset=preset,
        weights=weights,
        backends=tuple(str(name) for name in backend or [DEFAULT_BACKEND]),
        precision=None if precision is None else str(precision),
        stages=tuple(stage or ()),
        extra=tuple(extra or ()),
        output=Path(os.path.expanduser(output)),
        sampling=None if sampling is None else _LOWERINGS[sampling],
        opset=opset,
        compute_capabilities=tuple(compute_capability or ()),
        targets=capabilities_of(target or ()),
        parity_limits=None if parity_windows is None else {"windows": parity_windows},
        jobs=jobs,
        force=force,
        onnx_only=onnx_only,
        max_windows=max_windows,
        image_sizes=image_sizes(image_size or ()),
        anyway=anyway,
        calibration=_path(calibration),
        modelopt=_path(modelopt_python),
        strip_weights=strip_weights,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
    )
    command = command_line()
    if dry_run:
        _forecast(request, console, command, json)
        return
    if json:
        events = JsonReporter(typer.echo)
        with verdict(lambda how, _: events.end(how, command)), ends_soon(clear_held):
            events.built(build_bundles(request, events))
        return
    with verdict(lambda how, seconds: plain(console, f"{how} | {seconds:.0f} s | {command}")):
        with ends_soon(clear_held), ConsoleReporter(console) as reporter:
            bundles = build_bundles(request, reporter)
        show(console, bundles)


def _forecast(request: Request, console: Console, command: str, json: bool) -> None:
    """Say what a build would do."""
    from odise_trt.cli.console import plain

    from .dry_run import as_data, show
    from .fit import judge, require_fit
    from .forecast import forecast
    from .json_lines import JsonReporter
    from .prepared import prepare
    from .verdict import verdict

    events = JsonReporter(typer.echo)

    def end(how: str, seconds: float) -> None:
        if json:
            events.end(how, command)
        else:
            plain(console, f"{how} | {seconds:.0f} s | {command}")

    with verdict(end):
        found = forecast(prepare(request))
        fits = judge(found, request)
        if json:
            events.plan(as_data(found, fits))
        else:
            show(console, found, fits)
        if not request.anyway:
            require_fit(fits)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(os.path.expanduser(text))


def _refuse_empty(**options: Iterable[str | None]) -> None:
    """Raise ExportError for an empty value; an empty --output would be the working folder."""
    for name, values in options.items():
        if any(value is not None and not value.strip() for value in values):
            raise ExportError(f"an empty value was given for --{name}", EMPTY)


def _provide(preset: str, accept_licenses: bool) -> None:
    """Fetch and convert the published weights, unless they are there."""
    from odise_trt.cli.console import errors
    from reference.convert.official import provide
    from reference.download.console import ConsoleReporter, console_consent

    provide(preset, console_consent(errors(), accept_licenses), ConsoleReporter(errors()))


def _default_weights(preset: str) -> str:
    from reference.preset import find_preset

    find_preset(preset)
    if preset in ("demo", "demo-caption"):
        return "demo"
    raise typer.BadParameter(
        f"preset {preset} needs --weights: official, random:SEED, or a safetensors file with official names"
    )
