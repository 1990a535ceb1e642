// The loops that take most of the time of host stages. On x86-64 processors with AVX2 they use it; the numbers are the
// same bit for bit, since no multiplication is fused with an addition.
#pragma once

#include <cstddef>
#include <cstdint>

namespace odise {

struct Kernels {
    // 1 / (1 + exp(-x)), within 3e-7 of it.
    void (*sigmoid)(const float* logits, float* out, std::size_t count);
    // out[x] = sum over t of share[t * count + x] * row[place[t * count + x]]
    void (*gather)(const float* row, const std::int32_t* place, const float* share, std::size_t taps, float* out,
                   std::size_t count);
    // out[x] = sum over t of weight[t] * row[t][x]
    void (*blend)(const float* const* row, const float* weight, std::size_t taps, float* out, std::size_t count);
    // low[x] = min(low[x], row[x]), high[x] = max(high[x], row[x])
    void (*extend)(const float* row, float* low, float* high, std::size_t count);
    // out (rows, columns) = out + a (rows, inner) times b (inner, columns)
    void (*add_product)(const float* a, const float* b, float* out, std::size_t rows, std::size_t inner,
                        std::size_t columns);
    // out[i] += sum over q of the most that (a[q, i] - a[q, leader]) times a number from low[q] to high[q] can be
    void (*add_leads)(const float* a, std::size_t leader, const float* low, const float* high, float* out,
                      std::size_t rows, std::size_t columns);
    // Where value[x] > best[x]: best[x] = value[x], which[x] = own
    void (*keep_larger)(const float* value, std::int32_t own, float* best, std::int32_t* which, std::size_t count);
};

// For any processor.
const Kernels& plain_kernels();
// For this processor.
const Kernels& kernels();

float sigmoid(float logit);

}  // namespace odise
