// core.h - what the model reads, its parameters (README.md), and its first-level cache.
#ifndef CORE_H
#define CORE_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

using namespace std;

// A record of the trace (avx512_interpreter.h).
struct Rec {
    uint32_t off;
    uint32_t stride : 24, rows : 8;
    uint64_t ea;
};
// A line of the table (instructions.py).
struct St {
    int ln, slots, tile, elim, br, pf, ls, ss, lat;
    vector<int> alu, src, dst;
};
static map<string, double> P = {{"tdp", 16},    {"tdplat", 52}, {"tlat", 45},     {"rob", 512},  {"sched", 97},
                                {"lsched", 70}, {"ssched", 38}, {"width", 6},     {"l2lat", 15}, {"l2bw", 2.06},
                                {"l1ways", 12}, {"stbuf", 112}, {"perfectl1", 0}, {"plru", 0},   {"fe", 8},
                                {"from", 0},    {"to", 1e18}};
// 64 sets; the least recently used line goes, or (rnd) any but the most recently used one.
struct L1 {
    bool rnd = false;
    uint64_t seed = 1;
    int ways;
    vector<uint64_t> tag;
    vector<uint64_t> use;
    uint64_t t = 0;
    L1(int w) : ways(w), tag(64 * w, ~0ull), use(64 * w, 0) {}
    bool find(uint64_t line) {
        int s = line & 63;
        for (int w = 0; w < ways; w++)
            if (tag[s * ways + w] == line) {
                use[s * ways + w] = ++t;
                return true;
            }
        return false;
    }
    void put(uint64_t line) {
        if (find(line)) return;
        int s = line & 63, b = 0;
        if (rnd) {
            int m = 0;
            for (int w = 1; w < ways; w++)
                if (use[s * ways + w] > use[s * ways + m]) m = w;
            bool e = false;
            for (int w = 0; w < ways; w++)
                if (tag[s * ways + w] == ~0ull) {
                    b = w;
                    e = true;
                    break;
                }
            if (!e) do {
                    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
                    b = (seed >> 33) % ways;
                } while (b == m);
        } else
            for (int w = 1; w < ways; w++)
                if (use[s * ways + w] < use[s * ways + b]) b = w;
        tag[s * ways + b] = line;
        use[s * ways + b] = ++t;
    }
};

#endif
