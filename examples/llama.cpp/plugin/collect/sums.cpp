#include "sums.hpp"

#include <sys/mman.h>

#include <cmath>
#include <cstring>

namespace plugin::collect {
namespace {

constexpr int edge = sums::edge;
constexpr int chain = 128; // products that are added up in float32 before their sum is added to another

// block[64][64] = sum over n rows of a[row][i] * b[row][j]. V: a vector of floats; R x C of them stay in registers.
template <class V, int R, int C>
inline __attribute__((always_inline)) void multiply(const float * a, const float * b, int n, float * block) {
    constexpr int width = sizeof(V) / sizeof(float);
    for (int from = 0; from < n; from += chain) {
        const int to = from + chain < n ? from + chain : n;
        for (int i = 0; i < edge; i += R) {
            for (int j = 0; j < edge; j += C * width) {
                V sum[R][C] = {};
                for (int t = from; t < to; ++t) {
                    V y[C];
#pragma GCC unroll 8
                    for (int c = 0; c < C; ++c) y[c] = *reinterpret_cast<const V *>(b + t * edge + j + c * width);
#pragma GCC unroll 8
                    for (int r = 0; r < R; ++r) {
                        const float x = a[t * edge + i + r];
#pragma GCC unroll 8
                        for (int c = 0; c < C; ++c) sum[r][c] += x * y[c];
                    }
                }
                for (int r = 0; r < R; ++r) {
                    for (int c = 0; c < C; ++c) {
                        V * out = reinterpret_cast<V *>(block + (i + r) * edge + j + c * width);
                        *out = from == 0 ? sum[r][c] : *out + sum[r][c];
                    }
                }
            }
        }
    }
}

typedef float vector4 __attribute__((vector_size(16), may_alias));
typedef float vector8 __attribute__((vector_size(32), may_alias));
typedef float vector16 __attribute__((vector_size(64), may_alias));

void multiply_sse2(const float * a, const float * b, int n, float * block) {
    multiply<vector4, 4, 2>(a, b, n, block);
}
__attribute__((target("avx2,fma"))) void multiply_avx2(const float * a, const float * b, int n, float * block) {
    multiply<vector8, 4, 2>(a, b, n, block);
}
__attribute__((target("avx512f"))) void multiply_avx512(const float * a, const float * b, int n, float * block) {
    multiply<vector16, 8, 2>(a, b, n, block);
}

struct choice {
    void (*multiply)(const float *, const float *, int, float *);
    const char * name;
};

const choice & chosen() {
    static const choice made = __builtin_cpu_supports("avx512f") ? choice{ multiply_avx512, "AVX-512" }
        : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? choice{ multiply_avx2, "AVX2" }
                                                                          : choice{ multiply_sse2, "SSE2" };
    return made;
}

uint64_t panel_bytes_for(int64_t k, int capacity) {
    return uint64_t((k + edge - 1) / edge) * uint64_t(capacity) * edge * sizeof(float);
}

uint64_t total_bytes_for(int64_t k) {
    const uint64_t n = uint64_t((k + edge - 1) / edge);
    return n * (n + 1) / 2 * edge * edge * sizeof(double);
}

// Zero, and no memory yet before it is touched.
void * take(size_t bytes) {
    void * at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? nullptr : at;
}

} // namespace

const char * instructions() { return chosen().name; }

int sums::capacity_for(int64_t k, bool one_of_many) {
    const int64_t eighth = k / 8 / edge * edge;
    return !one_of_many || eighth > 512 ? 512 : eighth < 64 ? 64 : int(eighth);
}

uint64_t sums::bytes_for(int64_t k, int capacity) { return panel_bytes_for(k, capacity) + total_bytes_for(k); }

bool sums::make(int64_t columns, int capacity) {
    k = columns;
    most = capacity;
    panels = static_cast<float *>(take(panel_bytes_for(k, most)));
    totals = static_cast<double *>(take(total_bytes_for(k)));
    return panels && totals;
}

sums::~sums() {
    if (panels) munmap(panels, panel_bytes_for(k, most));
    if (totals) munmap(totals, total_bytes_for(k));
}

double sums::append(int64_t panel, int at, const float * const * x, int n) {
    const int64_t first = panel * edge;
    const int     width = int(k - first < edge ? k - first : edge); // columns behind k stay zero
    float *       out = panels + (panel * most + at) * edge;
    double        squares = 0;
    for (int t = 0; t < n; ++t, out += edge) {
        const float * in = x[t] + first;
        std::memcpy(out, in, size_t(width) * sizeof(float));
        double row = 0;
        for (int c = 0; c < width; ++c) row += double(in[c]) * in[c];
        squares += row;
    }
    return squares;
}

void sums::flush(int64_t block, int n) {
    int64_t i = int64_t((std::sqrt(8.0 * double(block) + 1) - 1) / 2);
    while (i * (i + 1) / 2 > block) --i; // the root was rounded
    while ((i + 1) * (i + 2) / 2 <= block) ++i;
    const int64_t     j = block - i * (i + 1) / 2;
    const int64_t     step = int64_t(most) * edge;
    alignas(64) float sum[edge * edge];
    double *          out = totals + block * edge * edge;
    chosen().multiply(panels + i * step, panels + j * step, n, sum);
    for (int at = 0; at < edge * edge; ++at) out[at] += sum[at];
}

void sums::read(int64_t i, float * out) const {
    const int64_t bi = i / edge;
    for (int64_t j = 0; j <= i; ++j) {
        const int64_t block = bi * (bi + 1) / 2 + j / edge;
        out[j] = float(totals[block * edge * edge + (i % edge) * edge + j % edge]);
    }
}

} // namespace plugin::collect
