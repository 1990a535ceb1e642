"""Matrix products that stay in the calling thread.

numpy's BLAS spreads a product over threads of its own. They take the processors from the engines' threads,
and wait for each other where other programs are at work: a product of a millisecond then takes a hundred.
OpenBLAS computes small products in the calling thread, so large ones are given to it in pieces. The results
differ in the last bits only.
"""

from __future__ import annotations

import numpy as np

# OpenBLAS starts threads for more multiplications than this (interface/gemm.c: SMP_THRESHOLD_MIN times
# GEMM_MULTITHREAD_THRESHOLD, 65536 * 4).
_ONE_THREAD = 1 << 18
# Wide pieces: a row of the second factor is read along its length.
_COLUMNS = 64


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute `a @ b` of (M, K) and (K, N), float32."""
    (rows, inner), columns = a.shape, b.shape[1]
    if rows * inner * columns <= _ONE_THREAD:
        return a @ b
    out = np.empty((rows, columns), np.result_type(a, b))
    size = max(1, _ONE_THREAD // inner)
    wide = min(columns, max(_COLUMNS, size // rows), size)
    high = max(1, size // wide)
    for left in range(0, columns, wide):
        for top in range(0, rows, high):
            place = slice(top, top + high), slice(left, left + wide)
            np.matmul(a[place[0]], b[:, place[1]], out=out[place])
    return out
