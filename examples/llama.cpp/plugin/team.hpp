// The host's threads, borrowed for one graph. The plugin makes none of its own: a second pool beside the host's, both
// spinning, made generation eight times slower.
#pragma once

#include "host.hpp"

namespace plugin {

struct worker {
    const host * at;
    int          ith, nth;

    void barrier() const {
        if (nth > 1) at->gomp_barrier();
    }
};

// Runs work(worker) on up to n of the host's OpenMP threads, on the calling thread alone if the host has none.
template <class Work>
void run_team(const host & host, int n, Work & work) {
    if (n <= 1 || !host.gomp_parallel) {
        work(worker{ &host, 0, 1 });
        return;
    }
    struct call {
        const plugin::host * host;
        Work *               work;
    } c{ &host, &work };
    host.gomp_parallel(
        [](void * data) {
            call & c = *static_cast<call *>(data);
            (*c.work)(worker{ c.host, c.host->omp_get_thread_num(), c.host->omp_get_num_threads() });
        },
        &c, unsigned(n), 0);
}

} // namespace plugin
