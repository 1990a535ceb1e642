#include "kernels.hpp"

#include <cstring>

#define ODISE_INLINE inline __attribute__((always_inline))

namespace odise {

namespace {

// exp(x) = 2^n * exp(r), with r within half a binary digit of 0. The constants are those of Cephes' expf.
ODISE_INLINE float exp_of(float x) {
    // Beyond them, the sigmoid is 0 or 1 in float32. What is no number gets the bound, too.
    x = x > -87 ? x : -87;
    x = x < 88 ? x : 88;
    constexpr float nearest = 12582912;  // 1.5 * 2^23: adding it rounds to a whole number
    const float n = (x * 1.44269504088896341F + nearest) - nearest;
    const float r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
    float series = 1.9875691500e-4F;
    series = series * r + 1.3981999507e-3F;
    series = series * r + 8.3334519073e-3F;
    series = series * r + 4.1665795894e-2F;
    series = series * r + 1.6666665459e-1F;
    series = series * r + 5.0000001201e-1F;
    const float fraction = series * r * r + r + 1;
    const std::int32_t bits = (static_cast<std::int32_t>(n) + 127) * (1 << 23);
    float power = 0;
    std::memcpy(&power, &bits, sizeof power);
    return fraction * power;
}

ODISE_INLINE void sigmoid_of(const float* logits, float* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) out[i] = 1 / (1 + exp_of(-logits[i]));
}

ODISE_INLINE void gather_of(const float* row, const std::int32_t* place, const float* share, std::size_t taps,
                            float* __restrict out, std::size_t count) {
    for (std::size_t x = 0; x < count; ++x) out[x] = share[x] * row[place[x]];
    for (std::size_t t = 1; t < taps; ++t) {
        place += count, share += count;
        for (std::size_t x = 0; x < count; ++x) out[x] += share[x] * row[place[x]];
    }
}

ODISE_INLINE void blend_of(const float* const* row, const float* weight, std::size_t taps, float* __restrict out,
                           std::size_t count) {
    if (taps == 2) {
        const float *a = row[0], *b = row[1], p = weight[0], q = weight[1];
        for (std::size_t x = 0; x < count; ++x) out[x] = p * a[x] + q * b[x];
        return;
    }
    for (std::size_t x = 0; x < count; ++x) out[x] = 0;
    for (std::size_t t = 0; t < taps; ++t) {
        const float *from = row[t], share = weight[t];
        for (std::size_t x = 0; x < count; ++x) out[x] += share * from[x];
    }
}

ODISE_INLINE void extend_of(const float* row, float* __restrict low, float* __restrict high, std::size_t count) {
    for (std::size_t x = 0; x < count; ++x) {
        low[x] = row[x] < low[x] ? row[x] : low[x];
        high[x] = row[x] > high[x] ? row[x] : high[x];
    }
}

// Eight numbers, which compilers keep in as many registers as it takes.
typedef float Lanes __attribute__((vector_size(32)));

ODISE_INLINE void load(Lanes& lanes, const float* from) { std::memcpy(&lanes, from, sizeof lanes); }

// Some rows of a product, and sixteen columns. The sums stay in registers.
template <std::size_t rows>
ODISE_INLINE void block_of(const float* a, const float* b, float* out, std::size_t inner, std::size_t columns) {
    Lanes left[rows], right[rows], first, second;
    for (std::size_t i = 0; i < rows; ++i) {
        load(left[i], out + i * columns);
        load(right[i], out + i * columns + 8);
    }
    for (std::size_t q = 0; q < inner; ++q) {
        load(first, b + q * columns);
        load(second, b + q * columns + 8);
        for (std::size_t i = 0; i < rows; ++i) {
            left[i] += a[i * inner + q] * first;
            right[i] += a[i * inner + q] * second;
        }
    }
    for (std::size_t i = 0; i < rows; ++i) {
        std::memcpy(out + i * columns, &left[i], sizeof(Lanes));
        std::memcpy(out + i * columns + 8, &right[i], sizeof(Lanes));
    }
}

template <std::size_t rows>
ODISE_INLINE void strip_of(const float* a, const float* b, float* out, std::size_t inner, std::size_t columns) {
    std::size_t x = 0;
    for (; x + 16 <= columns; x += 16) block_of<rows>(a, b + x, out + x, inner, columns);
    for (; x < columns; ++x) {
        for (std::size_t i = 0; i < rows; ++i) {
            float sum = out[i * columns + x];
            for (std::size_t q = 0; q < inner; ++q) sum += a[i * inner + q] * b[q * columns + x];
            out[i * columns + x] = sum;
        }
    }
}

ODISE_INLINE void add_product_of(const float* a, const float* b, float* out, std::size_t rows, std::size_t inner,
                                 std::size_t columns) {
    std::size_t i = 0;
    for (; i + 4 <= rows; i += 4) strip_of<4>(a + i * inner, b, out + i * columns, inner, columns);
    for (; i < rows; ++i) strip_of<1>(a + i * inner, b, out + i * columns, inner, columns);
}

ODISE_INLINE void add_leads_of(const float* a, std::size_t leader, const float* low, const float* high,
                               float* __restrict out, std::size_t rows, std::size_t columns) {
    for (std::size_t q = 0; q < rows; ++q, a += columns) {
        const float own = a[leader], least = low[q], most = high[q];
        for (std::size_t i = 0; i < columns; ++i) {
            const float ahead = a[i] - own;
            out[i] += ahead * (ahead > 0 ? most : least);
        }
    }
}

ODISE_INLINE void keep_larger_of(const float* value, std::int32_t own, float* __restrict best,
                                 std::int32_t* __restrict which, std::size_t count) {
    for (std::size_t x = 0; x < count; ++x) {
        which[x] = value[x] > best[x] ? own : which[x];
        best[x] = value[x] > best[x] ? value[x] : best[x];
    }
}

// The same functions, compiled for other instructions.
#define ODISE_KERNELS(name, target)                                                                                \
    struct name {                                                                                                  \
        target static void sigmoid(const float* a, float* b, std::size_t n) { sigmoid_of(a, b, n); }               \
        target static void gather(const float* a, const std::int32_t* b, const float* c, std::size_t t, float* d,  \
                                  std::size_t n) {                                                                 \
            gather_of(a, b, c, t, d, n);                                                                           \
        }                                                                                                          \
        target static void blend(const float* const* a, const float* b, std::size_t t, float* c, std::size_t n) {  \
            blend_of(a, b, t, c, n);                                                                               \
        }                                                                                                          \
        target static void extend(const float* a, float* b, float* c, std::size_t n) { extend_of(a, b, c, n); }    \
        target static void add_product(const float* a, const float* b, float* c, std::size_t i, std::size_t j,     \
                                       std::size_t k) {                                                            \
            add_product_of(a, b, c, i, j, k);                                                                      \
        }                                                                                                          \
        target static void add_leads(const float* a, std::size_t l, const float* b, const float* c, float* d,      \
                                     std::size_t i, std::size_t j) {                                               \
            add_leads_of(a, l, b, c, d, i, j);                                                                     \
        }                                                                                                          \
        target static void keep_larger(const float* a, std::int32_t o, float* b, std::int32_t* c, std::size_t n) { \
            keep_larger_of(a, o, b, c, n);                                                                         \
        }                                                                                                          \
        static constexpr Kernels all = {sigmoid, gather, blend, extend, add_product, add_leads, keep_larger};      \
    }

ODISE_KERNELS(Plain, );
#if defined(__x86_64__)
ODISE_KERNELS(Avx2, __attribute__((target("avx2"))));
#endif

const Kernels& fastest() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return Avx2::all;
#endif
    return Plain::all;
}

}  // namespace

const Kernels& plain_kernels() { return Plain::all; }

const Kernels& kernels() {
    static const Kernels& chosen = fastest();
    return chosen;
}

float sigmoid(float logit) { return 1 / (1 + exp_of(-logit)); }

}  // namespace odise
