"""Products in pieces are products, and every piece is small enough for one thread of BLAS."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest

from odise_trt.products import product

SHAPES = [
    (1, 1, 1),
    (3, 5, 7),
    (100, 256, 1001),
    (513, 32, 700),
    (7000, 32, 2),
    (2, 3000, 90),
    (1, 300_000, 2),
]


@pytest.mark.parametrize(("rows", "inner", "columns"), SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_in_pieces_is_the_product(rows: int, inner: int, columns: int, transposed: bool) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((rows, inner), dtype=np.float32)
    b = rng.standard_normal((columns, inner), dtype=np.float32).T
    found = product(a, b if transposed else np.ascontiguousarray(b))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, atol=3e-6 * inner**0.5 * 10)


@pytest.mark.parametrize(("rows", "inner", "columns"), SHAPES[2:-1])
def test_no_piece_is_large_enough_for_the_threads_of_blas(rows: int, inner: int, columns: int) -> None:
    a, b = np.ones((rows, inner), np.float32), np.ones((inner, columns), np.float32)
    sizes = []
    with patch.object(np, "matmul", wraps=np.matmul) as pieces:
        product(a, b)
        sizes = [one.args[0].size * one.args[1].shape[1] for one in pieces.call_args_list]
    assert sum(sizes) == rows * inner * columns
    assert max(sizes) <= 1 << 18
