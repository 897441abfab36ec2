// The host as the plugin finds it: its functions, looked up at run time, and proof that it is the ggml that the plugin
// was compiled against. The plugin links to nothing of ggml.
#pragma once

#include "ggml-backend-impl.h"
#include "ggml.h"

#include <string>
#include <vector>

struct ggml_threadpool;

namespace plugin {

struct host {
    // in libggml-base
    decltype(&ggml_backend_buffer_init) buffer_init = nullptr;
    decltype(&ggml_graph_n_nodes)       graph_n_nodes = nullptr;
    decltype(&ggml_graph_node)          graph_node = nullptr;
    decltype(&ggml_op_name)             op_name = nullptr;

    // in libggml-cpu
    ggml_backend_dev_t cpu = nullptr;
    void (*barrier)(ggml_threadpool *) = nullptr;
    std::vector<ggml_backend_buffer_type_t> & (*extra_buffer_types)() = nullptr;

    // The OpenMP team of the host, if it has one.
    void (*gomp_parallel)(void (*)(void *), void *, unsigned, unsigned) = nullptr;
    void (*gomp_barrier)() = nullptr;
    int (*omp_get_thread_num)() = nullptr;
    int (*omp_get_num_threads)() = nullptr;

    // Looks the host up, given an address in the code that called ggml_backend_init. Empty, or why the host is none
    // that this plugin can serve.
    std::string find(void * caller);

    // A registry of backends that the host knows now; a device by its name.
    bool has_registry(ggml_backend_reg_t reg) const;
    bool has_device(const char * name) const;

  private:
    // in libggml
    size_t (*reg_count)() = nullptr;
    ggml_backend_reg_t (*reg_get)(size_t) = nullptr;
    ggml_backend_dev_t (*dev_by_name)(const char *) = nullptr;

    std::string check_base(void * base);
    std::string find_cpu(void * base);
};

} // namespace plugin
