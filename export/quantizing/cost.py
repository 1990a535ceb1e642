"""How much longer a build of a quantized stage takes: an estimate."""

from __future__ import annotations

from ..cost_model import Cost
from ..stage_work import StageWork

#: ModelOpt and the comparison of layers. `features` of the preset demo has 757 modules, and took 18 s of
#: processor time, and 0.1 s per window beside that.
_SECONDS_PER_LEAF = 0.024
#: A picture of the typical size has so many windows. Each runs in the reference, and in ModelOpt.
_WINDOWS, _RUNS = 4, 2
_CORE_SECONDS_PER_TFLOP = 4.4


def with_quantizing(export: Cost, work: StageWork, pictures: int, threads: int) -> Cost:
    """Add calibration on pictures, and ModelOpt, to the cost of an export.

    The memory of ModelOpt's process is not in it: it was measured for the preset demo only, 0.9 GB.
    """
    runs = _RUNS * _WINDOWS * pictures * work.flop * 1e-12 * _CORE_SECONDS_PER_TFLOP / threads
    seconds = export.seconds + _SECONDS_PER_LEAF * work.leaves + runs
    return Cost(seconds, export.peak_bytes, export.file_bytes)
