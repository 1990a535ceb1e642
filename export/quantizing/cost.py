"""How much longer a build of a quantized stage takes: an estimate."""

from __future__ import annotations

from ..cost_model import PROCESS_BYTES, Cost
from ..stage_work import StageWork

#: ModelOpt and the comparison of layers. `features` of the preset demo has 757 modules, and took 18 s of
#: processor time.
_SECONDS_PER_LEAF = 0.024
#: ModelOpt on graphs with large weights, without the pictures.
_SECONDS_PER_HALF_GB = 60.0
#: A picture of 4 : 3 has so many windows, and the comparison of layers runs the graph so often.
_WINDOWS, _COMPARED = 6, 6
#: PyTorch on all processors, and ONNX Runtime in half precision, which uses one.
_CORE_SECONDS_PER_TFLOP, _SECONDS_PER_TFLOP = 14.0, 14.5
#: Of ModelOpt's process: libraries, and copies of the graph, some of them in float32. It had 12.9 GB for
#: `features` of odise-label (1.86 GB in half precision), 6.3 GB for its `clip_pool` (0.61 GB), 0.9 GB for
#: those of demo.
_MODELOPT_BYTES, _MODELOPT_WEIGHTS_IN_MEMORY = 0.9e9, 6.5


def with_quantizing(export: Cost, work: StageWork, pictures: int, threads: int) -> Cost:
    """Add calibration on pictures, and ModelOpt, to the cost of an export."""
    half_bytes = 2 * sum(work.weights.values())
    windows, tflop = _WINDOWS * pictures, work.flop * 1e-12
    seconds = export.seconds + _SECONDS_PER_LEAF * work.leaves + _SECONDS_PER_HALF_GB * 1e-9 * half_bytes
    seconds += windows * tflop * _CORE_SECONDS_PER_TFLOP / threads
    seconds += (windows + _COMPARED) * tflop * _SECONDS_PER_TFLOP
    # This process waits meanwhile.
    modelopt = PROCESS_BYTES + _MODELOPT_BYTES + _MODELOPT_WEIGHTS_IN_MEMORY * half_bytes
    return Cost(seconds, max(export.peak_bytes, modelopt), export.file_bytes)
