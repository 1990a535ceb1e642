"""How much longer a build of a quantized stage takes: an estimate."""

from __future__ import annotations

from ..cost_model import PROCESS_BYTES, Cost
from ..stage_work import StageWork

#: ModelOpt and the comparison of layers. `features` of the preset demo has 757 modules, and took 18 s of
#: processor time, and 0.1 s per window beside that.
_SECONDS_PER_LEAF = 0.024
#: A picture of the typical size has so many windows. Each runs in the reference, and in ModelOpt.
_WINDOWS, _RUNS = 4, 2
_CORE_SECONDS_PER_TFLOP = 4.4
#: Of ModelOpt's process: libraries, and copies of the graph, some of them in float32. It had 12.9 GB for
#: `features` of odise-label (1.86 GB in half precision), 6.3 GB for its `clip_pool` (0.61 GB), 0.9 GB for
#: those of demo.
_MODELOPT_BYTES, _MODELOPT_WEIGHTS_IN_MEMORY = 0.9e9, 6.5


def with_quantizing(export: Cost, work: StageWork, pictures: int, threads: int) -> Cost:
    """Add calibration on pictures, and ModelOpt, to the cost of an export."""
    runs = _RUNS * _WINDOWS * pictures * work.flop * 1e-12 * _CORE_SECONDS_PER_TFLOP / threads
    seconds = export.seconds + _SECONDS_PER_LEAF * work.leaves + runs
    half_bytes = 2 * sum(work.weights.values())
    # This process waits meanwhile.
    modelopt = PROCESS_BYTES + _MODELOPT_BYTES + _MODELOPT_WEIGHTS_IN_MEMORY * half_bytes
    return Cost(seconds, max(export.peak_bytes, modelopt), export.file_bytes)
