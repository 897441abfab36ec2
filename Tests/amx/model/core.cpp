// core.cpp - core TABLE TRACE [key=value...]: an out-of-order core with AMX executes a trace. Prints counts and cycles.
// README.md says what is modelled. TABLE comes from instructions.py, TRACE from call.c. Each turn of the loop in main()
// is a cycle: instructions retire, a store goes to the cache, micro-operations start on free ports, new ones come in.
#include "core.h"

#include <algorithm>
#include <deque>
#include <unordered_map>

int main(int c, char** v) {
    unordered_map<uint32_t, St> T;
    FILE* f = fopen(v[1], "r");
    {
        int o;
        while (fscanf(f, "%d", &o) == 1) {
            St s;
            int n, x;
            fscanf(f, "%d%d%d%d%d%d%d%d%d%d", &s.ln, &s.slots, &s.tile, &s.elim, &s.br, &s.pf, &s.ls, &s.ss, &s.lat,
                   &n);
            while (n--) {
                fscanf(f, "%d", &x);
                s.alu.push_back(x);
            }
            fscanf(f, "%d", &n);
            while (n--) {
                fscanf(f, "%d", &x);
                s.src.push_back(x);
            }
            fscanf(f, "%d", &n);
            while (n--) {
                fscanf(f, "%d", &x);
                s.dst.push_back(x);
            }
            T[o] = s;
        }
    }
    fclose(f);
    for (int i = 3; i < c; i++) {
        char* e = strchr(v[i], '=');
        if (e) {
            string k(v[i], e - v[i]);
            if (!P.count(k)) {
                fprintf(stderr, "no %s\n", k.c_str());
                return 1;
            }
            P[k] = atof(e + 1);
        }
    }
    f = fopen(v[2], "rb");
    fseek(f, 0, 2);
    long n = ftell(f) / 16;
    rewind(f);
    vector<Rec> R(n);
    if (fread(R.data(), 16, n, f) != (size_t)n) return 1;
    fclose(f);
    long from = P["from"], to = min<double>(P["to"], n);
    long instructions = 0, products = 0;
    for (long i = from; i < to; i++) {
        const int tile = T[R[i].off].tile;
        instructions++;
        products += tile == 4 || tile == 5;
    }
    printf("ins %ld tdp %ld\n", instructions, products);

    // The kinds of U: 0 arithmetic, 1 load, 2 address and 3 data of a store, 4 row of a tile load, 5 tile product,
    // 6 row of a tile store; 255 has started.
    const int ROB = P["rob"], W = P["width"], SCH = P["sched"], LSCH = P["lsched"], SSCH = P["ssched"];
    const double L2LAT = P["l2lat"], L2BW = P["l2bw"];
    struct Ins {
        long t;
        St* s;
        int pend;
        int robslots;
        double done;
        long srcs[8];
        int ns;
        long memdep;
        double memready;
        int alu_left;
        int loads_left;
        double loaddone;
        bool isst;
        double stdata;
        uint64_t ea;
        uint32_t idx;
        int rows;
        double aludone;
        double commit;
        int size;
    };
    deque<Ins> rob;
    long base = from;             // rob[i] is instruction base+i
    vector<double> doneT(n, -1);  // completion time of results
    vector<long> lastw(100, -1);
    unordered_map<uint64_t, long> lastst;  // line-granular by 8 bytes -> instr
    vector<double> stcommit(n, -1);
    struct U {
        long ins;
        uint16_t ports;
        uint8_t kind;
        uint64_t addr;
        int sz;
        bool in = false;
    };
    vector<U> sch;
    sch.reserve(1024);
    int nA = 0, nL = 0, nS = 0;
    L1 l1(P["l1ways"]);
    l1.rnd = P["plru"] > 0;
    double now = 0;
    long next = from;
    int robused = 0;
    int storesInFlight = 0;
    double l2free = 0;
    double lastcommit = 0;
    deque<pair<long, int>> stq;
    long retired = from;
    long stall_rob = 0, stall_sch = 0, l1miss = 0, tl1miss = 0, tlmiss = 0;
    double tdpcyc = 0;
    unordered_map<uint64_t, double> fill;                                         // line -> ready time
    auto access = [&](uint64_t line, double t, bool alloc, int kind) -> double {  // returns extra latency beyond L1 hit
        if (P["perfectl1"]) return 0;
        auto it = fill.find(line);
        if (l1.find(line)) {
            if (it != fill.end()) {
                if (it->second > t) return it->second - t;
                fill.erase(it);
            }
            return 0;
        }
        l1miss++;
        if (kind == 2) tl1miss++;
        if (kind == 1) tlmiss++;
        double s = max(t, l2free);
        l2free = s + L2BW;
        double r = s + L2LAT - 5;
        if (alloc) {
            l1.put(line);
            fill[line] = r;
        }
        return r - t;
    };
    double tmulfree = 0;
    const double TD = P["tdp"];
    while (retired < to) {
        // retire
        int rs = 0;
        while (!rob.empty() && rs < 8) {
            Ins& I = rob.front();
            if (I.pend > 0 || I.done > now) break;
            if (I.isst && !I.s->tile) { stq.push_back({base, 1}); }
            if (I.s->tile == 3) stq.push_back({base, I.rows});
            robused -= I.robslots;
            doneT[base] = I.done;
            rob.pop_front();
            base++;
            retired++;
            rs++;
        }
        // commit stores: one line per cycle
        if (!stq.empty() && now >= lastcommit + 1) {
            auto& q = stq.front();
            lastcommit = now;
            if (--q.second <= 0) {
                stcommit[q.first] = now;
                St& s = T[R[q.first].off];
                if (s.ss > 0) {
                    l1.put(R[q.first].ea >> 6);
                    storesInFlight--;
                } else {
                    int rows = R[q.first].rows;
                    for (int r = 0; r < rows; r++) l1.put((R[q.first].ea + (uint64_t)R[q.first].stride * r) >> 6);
                    storesInFlight -= rows;
                }
                stq.pop_front();
            }
        }
        // issue
        bool used[12] = {0};
        for (size_t k = 0; k < sch.size(); k++) {
            U& u = sch[k];
            Ins& I = rob[u.ins - base];
            auto srcready = [&]() -> bool {
                for (int q = 0; q < I.ns; q++) {
                    long d = I.srcs[q];
                    if (d < 0) continue;
                    double t;
                    if (d >= base) {
                        Ins& D = rob[d - base];
                        if (D.pend > 0) return false;
                        t = D.done;
                    } else
                        t = doneT[d];
                    if (t > now) return false;
                }
                return true;
            };
            auto memok = [&](double& extra) -> int {  // dependence on an older store
                extra = 0;
                if (I.memdep < 0) return 1;
                long d = I.memdep;
                bool tilest = T[R[d].off].tile == 3;
                bool tileld = u.kind == 4;
                if (stcommit[d] >= 0) return stcommit[d] <= now;
                if (tileld) return 0; /* tile loads wait for the commit */
                if (tilest) return 0;
                if (d >= base) {
                    Ins& D = rob[d - base];
                    if (D.pend > 0 || D.done > now) return 0;
                }
                return 1;
            };
            bool go = false;
            switch (u.kind) {
                case 0: {
                    if (I.s->ls && I.loads_left > 0) break;
                    if (I.s->ls && I.loaddone > now) break;
                    if (!srcready()) break;
                    int p = -1;
                    static const int pref[12] = {11, 10, 6, 1, 0, 5, 2, 3, 4, 7, 8, 9};
                    for (int q : pref)
                        if ((u.ports >> q & 1) && !used[q]) {
                            p = q;
                            break;
                        }
                    if (p < 0) break;
                    used[p] = true;
                    go = true;
                    double d = now + max(1, I.s->lat);
                    I.aludone = max(I.aludone, d);
                    break;
                }
                case 1: {  // load; address regs: all sources that are GPR
                    bool ok = true;
                    for (int q = 0; q < I.ns; q++) {
                        long d = I.srcs[q];
                        if (d < 0) continue;
                        if (I.s->src[q] >= 20 && I.s->src[q] != 80 && !(I.s->pf)) continue;
                        if (I.s->src[q] == 80) continue;
                        double tt;
                        if (d >= base) {
                            Ins& D = rob[d - base];
                            if (D.pend > 0) {
                                ok = false;
                                break;
                            }
                            tt = D.done;
                        } else
                            tt = doneT[d];
                        if (tt > now) {
                            ok = false;
                            break;
                        }
                    }
                    if (!ok) break;
                    double ex;
                    if (!memok(ex)) break;
                    int p = -1;
                    bool z = u.sz == 64;
                    for (int q : {11, 2, 3}) {
                        if (z && q == 11) continue;
                        if (!used[q]) {
                            p = q;
                            break;
                        }
                    }
                    if (p < 0) break;
                    if (z && used[2] && used[3]) break;
                    bool spl = u.sz > 1 && ((u.addr & 63) + u.sz > 64);
                    if (spl) {
                        int p2 = -1;
                        for (int q : {2, 3, 11})
                            if (q != p && !used[q] && !(z && q == 11)) {
                                p2 = q;
                                break;
                            }
                        if (p2 < 0) { /* take it in one port over two cycles: block */
                            p2 = p;
                        }
                        used[p2] = true;
                    }
                    used[p] = true;
                    go = true;
                    double e = 0;
                    if (I.s->pf) {
                        if (I.s->pf == 1) { access(u.addr >> 6, now, true, 3); }
                        I.done = now + 1;
                        I.loaddone = now + 1;
                    } else {
                        e = access(u.addr >> 6, now, true, 0);
                        if (spl) e = max(e, access((u.addr >> 6) + 1, now, true, 0));
                        double lat = (u.sz >= 16 ? 8 : 5) + (spl ? 4 : 0) + e;
                        I.loaddone = max(I.loaddone, now + lat);
                    }
                    I.loads_left--;
                    break;
                }
                case 2: {
                    bool ok = true;
                    for (int q = 0; q < I.ns; q++) {
                        if (I.s->src[q] >= 20) continue;
                        long d = I.srcs[q];
                        if (d < 0) continue;
                        double tt;
                        if (d >= base) {
                            Ins& D = rob[d - base];
                            if (D.pend > 0) {
                                ok = false;
                                break;
                            }
                            tt = D.done;
                        } else
                            tt = doneT[d];
                        if (tt > now) {
                            ok = false;
                            break;
                        }
                    }
                    if (!ok) break;
                    int p = !used[7] ? 7 : !used[8] ? 8 : -1;
                    if (p < 0) break;
                    used[p] = true;
                    go = true;
                    break;
                }
                case 3: {
                    if (!I.s->alu.empty() && I.alu_left > 0) break;
                    if (!I.s->alu.empty() && I.aludone > now) break;
                    if (!srcready()) break;
                    if (u.sz == 64) {
                        if (used[4] || used[9]) break;
                        used[4] = used[9] = true;
                    } else {
                        int p = !used[4] ? 4 : !used[9] ? 9 : -1;
                        if (p < 0) break;
                        used[p] = true;
                    }
                    go = true;
                    I.stdata = now + 1;
                    break;
                }
                case 4: {
                    if (!srcready()) break;
                    double ex;
                    if (!memok(ex)) break;
                    int p = !used[2] ? 2 : !used[3] ? 3 : -1;
                    if (p < 0) break;
                    used[p] = true;
                    go = true;
                    double e = access(u.addr >> 6, now, I.s->tile == 1, I.s->tile);
                    double r = now + P["tlat"] - 8 + e;
                    I.loaddone = max(I.loaddone, r);
                    I.loads_left--;
                    break;
                }
                case 5: {
                    if (!srcready()) break;
                    if (tmulfree > now) break;
                    tmulfree = now + TD;
                    tdpcyc += TD;
                    go = true;
                    I.aludone = now + P["tdplat"];
                    break;
                }
                case 6: {
                    if (!srcready()) break;
                    if (used[4] || used[9] || (used[7] && used[8])) break;
                    used[4] = used[9] = true;
                    used[used[7] ? 8 : 7] = true;
                    go = true;
                    I.stdata = max(I.stdata, now + 1);
                    break;
                }
            }
            if (go) {
                if (u.kind == 0) {
                    I.alu_left--;
                    nA--;
                } else if (u.kind == 1 || u.kind == 4)
                    nL--;
                else if (u.kind == 5)
                    nA--;
                else
                    nS--;
                I.pend--;
                if (I.pend == 0) {
                    double d = now + 1;
                    if (I.s->ls || I.s->tile == 1 || I.s->tile == 2) d = max(d, I.loaddone);
                    if (!I.s->alu.empty() || I.s->tile == 4 || I.s->tile == 5) d = max(d, I.aludone);
                    if (I.s->pf) d = now + 1;
                    I.done = d;
                }
                u.ports = 0;
                u.kind = 255;
            }
        }
        sch.erase(remove_if(sch.begin(), sch.end(), [](U& u) { return u.kind == 255; }), sch.end());
        // dispatch
        int w = W;
        while (w > 0 && next < to) {
            St& s = T[R[next].off];
            int need = max(0, s.slots);
            if (need > w && w < W) break;
            if (robused + max(1, need) > ROB) {
                stall_rob++;
                break;
            }
            int rows = R[next].rows;
            int na = s.alu.size() + (s.tile == 4 || s.tile == 5),
                nl = (s.ls || s.pf) ? 1 : rows * (s.tile == 1 || s.tile == 2),
                ns = (s.ss ? 2 : 0) + (s.tile == 3 ? rows : 0);
            if (nA + na > SCH || (nL && nL + nl > LSCH) || (nS && nS + ns > SSCH)) {
                stall_sch++;
                break;
            }
            if (storesInFlight && storesInFlight + (s.ss ? 1 : s.tile == 3 ? rows : 0) > P["stbuf"]) {
                stall_sch++;
                break;
            }
            Ins I;
            memset(&I, 0, sizeof I);
            I.s = &s;
            I.ea = R[next].ea;
            I.robslots = max(need, need == 0 ? 0 : need);
            I.ns = 0;
            I.memdep = -1;
            I.rows = rows;
            for (int q : s.src) {
                if (I.ns < 8) I.srcs[I.ns++] = lastw[q];
            }
            I.done = now;
            I.pend = 0;
            if (s.tile == 6) {
                I.done = now;
            } else if (s.elim || (s.alu.empty() && !s.ls && !s.ss && !s.tile &&
                                  !s.pf)) {  // eliminated at rename: result ready when source is
                double d = now;
                bool unknown = false;
                long wait = -1;
                for (int q = 0; q < I.ns; q++) {
                    long e = I.srcs[q];
                    if (e < 0) continue;
                    if (e >= base) {
                        Ins& D = rob[e - base];
                        if (D.pend > 0) {
                            unknown = true;
                            wait = e;
                        } else
                            d = max(d, D.done);
                    } else
                        d = max(d, doneT[e]);
                }
                if (unknown) {  // model as a free uop: alias to the producer
                    I.pend = 0;
                    I.done = now;  // aliasing below
                    for (int q : s.dst) lastw[q] = wait;
                    rob.push_back(I);
                    robused += I.robslots;
                    w -= need;
                    next++;
                    continue;
                }
                I.done = d;
            } else if (s.tile == 7) {
                I.done = now + 20;
            } else {
                I.alu_left = s.alu.size();
                I.loads_left = 0;
                uint64_t ea = R[next].ea;
                if (s.pf) {
                    sch.push_back({next, 0, 1, ea, 1});
                    nL++;
                    I.pend++;
                    I.loads_left = 1;
                }
                if (s.ls) {
                    sch.push_back({next, 0, 1, ea, s.ls});
                    nL++;
                    I.pend++;
                    I.loads_left = 1;
                    for (uint64_t g = ea >> 3; g <= (ea + s.ls - 1) >> 3; g++) {
                        auto it = lastst.find(g);
                        if (it != lastst.end() && it->second > I.memdep) I.memdep = it->second;
                    }
                }
                for (int m : s.alu) {
                    sch.push_back({next, (uint16_t)m, 0, 0, 0});
                    nA++;
                    I.pend++;
                }
                if (s.ss) {
                    I.isst = true;
                    sch.push_back({next, 0, 2, ea, s.ss});
                    sch.push_back({next, 0, 3, ea, s.ss});
                    nS += 2;
                    I.pend += 2;
                    storesInFlight++;
                    for (uint64_t g = ea >> 3; g <= (ea + s.ss - 1) >> 3; g++) lastst[g] = next;
                }
                if (s.tile == 1 || s.tile == 2) {
                    uint64_t st = R[next].stride, a = ea;
                    for (int r = 0; r < rows; r++) {
                        sch.push_back({next, 0, 4, a + st * r, 64});
                        nL++;
                        I.pend++;
                        I.loads_left++;
                        uint64_t x = a + st * r;
                        for (uint64_t g = x >> 3; g <= (x + 63) >> 3; g++) {
                            auto it = lastst.find(g);
                            if (it != lastst.end() && it->second > I.memdep) I.memdep = it->second;
                        }
                    }
                }
                if (s.tile == 3) {
                    uint64_t st = R[next].stride, a = ea;
                    for (int r = 0; r < rows; r++) {
                        sch.push_back({next, 0, 6, a + st * r, 64});
                        nS++;
                        I.pend++;
                        for (uint64_t g = (a + st * r) >> 3; g <= (a + st * r + 63) >> 3; g++) lastst[g] = next;
                    }
                    storesInFlight += rows;
                    I.isst = true;
                }
                if (s.tile == 4 || s.tile == 5) {
                    sch.push_back({next, 0, 5, 0, 0});
                    nA++;
                    I.pend++;
                }
            }
            for (int q : s.dst) lastw[q] = next;
            rob.push_back(I);
            robused += I.robslots;
            w -= need;
            bool taken = s.br && next + 1 < to && R[next + 1].off != R[next].off + s.ln;
            next++;
            if (taken && w > 0 && P["fe"] < 8) break;
        }
        now += 1;
        if (now > 5e8) {
            printf("too long\n");
            break;
        }
    }
    printf("cycles %.0f tdpbusy %.0f l1miss %ld (tileloadd %ld, t1 %ld) stall rob %ld sched %ld\n", now, tdpcyc, l1miss,
           tlmiss, tl1miss, stall_rob, stall_sch);
}
