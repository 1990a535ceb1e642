"""The progress of a build as JSON, an object per line, for scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from odise_trt.bundle.manifest import Parity

if TYPE_CHECKING:
    from .build import BuiltBundle


class JsonReporter:
    """Writes an event per call, see `export.reporter.Reporter`.

    Every event has "event" and "seconds" since the start. Further keys: "steps" of `begin`; "what", "step"
    and "steps" of `step`; "name", "done" and "total" of `phase`; "text" of `note`; the attributes of
    `StageResult` and "folder" of `stage`; "folder", "up_to_date", "kept", "missing", "seeded" and
    "graphs_only" of `bundle`; the numbers of `export.dry_run.as_data` of `plan`; the attributes of `Parity`
    and "passed" of `parity`;
    "command" of the last one, which is `passed`, `failed` or `stopped`.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        """Make a reporter. `write` takes a line without its end."""
        self._write = write
        self._start = time.perf_counter()
        self._step = -1
        self._steps = 0

    def begin(self, steps: int) -> None:
        """See `Reporter.begin`."""
        self._steps = steps
        self._event("begin", steps=steps)

    def step(self, what: str) -> None:
        """See `Reporter.step`."""
        self._step += 1
        self._event("step", what=what, step=self._step + 1, steps=self._steps)

    def phase(self, name: str, done: int, total: int) -> None:
        """See `Reporter.phase`."""
        self._event("phase", name=name, done=done, total=total)

    def note(self, text: str) -> None:
        """See `Reporter.note`."""
        self._event("note", text=text)

    def built(self, bundles: Sequence[BuiltBundle]) -> None:
        """Write what was built."""
        for bundle in bundles:
            for stage in bundle.stages:
                self._event(
                    "stage",
                    folder=str(bundle.folder),
                    stage=stage.stage,
                    nodes=stage.nodes,
                    bytes=stage.bytes,
                    build_seconds=stage.seconds,
                    peak_bytes=stage.peak_bytes,
                    relative_l2=stage.worst.relative_l2,
                    tolerance=stage.worst.tolerance,
                )
            self._event(
                "bundle",
                folder=str(bundle.folder),
                up_to_date=not bundle.stages and not bundle.kept,
                kept=list(bundle.kept),
                missing=list(bundle.missing),
                seeded=bundle.seeded,
                graphs_only=bundle.graphs_only,
            )

    def plan(self, data: dict[str, Any]) -> None:
        """Write what would be built, see `export.dry_run.as_data`."""
        self._event("plan", **data)

    def compared(self, rows: Sequence[Parity]) -> None:
        """Write comparisons with the reference, an event for each."""
        for row in rows:
            self._event("parity", **asdict(row), passed=row.passed)

    def end(self, how: str, command: str) -> None:
        """Write the last event. `how`: "PASSED", "FAILED" or "STOPPED"."""
        self._event(how.lower(), command=command)

    def _event(self, event: str, **keys: Any) -> None:
        self._write(
            json.dumps({"event": event, "seconds": round(time.perf_counter() - self._start, 3)} | keys)
        )
