// A backend that says it is a GPU, for machines without one: memory of its own that is no host memory, host memory for
// transfers as CUDA has (unless FAKE_GPU_WITHOUT_HOST is set), large batches taken over from the CPU. It computes with
// the host's CPU backend. When the process ends, stderr has the weights that it multiplied by:
//
//   fake GPU: blk.3.attn_q.weight
//
// Copies of weights that were elsewhere have their name between '#': FAKE_GPU#blk.0.attn_q.weight#0.

#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

namespace {

ggml_backend_device      device;
ggml_backend_reg         registry;
ggml_backend_buffer_type memory, host_memory;
decltype(ggml_backend_i::graph_compute) compute_on_cpu;

ggml_backend_dev_t cpu() {
    static ggml_backend_dev_t found = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    return found;
}

struct multiplied {
    std::set<std::string> names;
    ~multiplied() {
        for (const std::string & name : names) std::fprintf(stderr, "fake GPU: %s\n", name.c_str());
    }
};

bool is_product(const ggml_tensor * node) { return node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID; }

ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    static multiplied seen;
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        const ggml_tensor * node = ggml_graph_node(graph, i);
        for (int s = 0; s < GGML_MAX_SRC; ++s) {
            const ggml_tensor * src = node->src[s];
            const auto *        b = src ? src->view_src ? src->view_src->buffer : src->buffer : nullptr;
            if (!b || b->buft == &memory || b->buft == &host_memory) continue;
            std::fprintf(stderr, "fake GPU: %s is in memory that it cannot read\n", src->name);
            std::abort();
        }
        if (is_product(node) && std::strstr(node->src[0]->name, ".weight")) seen.names.insert(node->src[0]->name);
    }
    return compute_on_cpu(backend, graph);
}

ggml_backend_t init_backend(ggml_backend_dev_t dev, const char *) {
    static ggml_guid guid = { 'f', 'a', 'k', 'e', '-', 'g', 'p', 'u' };
    ggml_backend_t   b = ggml_backend_dev_init(cpu(), nullptr);
    compute_on_cpu = b->iface.graph_compute;
    b->iface.graph_compute = graph_compute;
    b->iface.get_name = [](ggml_backend_t) { return "FAKE_GPU"; };
    b->guid = &guid; // the host must not take it for its CPU backend
    b->device = dev;
    return b;
}

// The CPU's buffer under another type: its bytes are reached by the functions of its interface.
ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t b = ggml_backend_buft_alloc_buffer(ggml_backend_dev_buffer_type(cpu()), size);
    if (b) b->buft = type;
    if (b && type == &memory) b->iface.cpy_tensor = nullptr; // by get_tensor and set_tensor
    return b;
}

void describe(ggml_backend_buffer_type & type, const char * (*name)(ggml_backend_buffer_type_t), bool is_host) {
    type.iface.get_name = name;
    type.iface.alloc_buffer = alloc_buffer;
    type.iface.get_alignment = [](ggml_backend_buffer_type_t) {
        return ggml_backend_buft_get_alignment(ggml_backend_dev_buffer_type(cpu()));
    };
    type.iface.is_host = is_host ? [](ggml_backend_buffer_type_t) { return true; }
                                 : [](ggml_backend_buffer_type_t) { return false; };
    type.device = &device;
}

} // namespace

extern "C" ggml_backend_reg_t ggml_backend_init(void) {
    describe(memory, [](ggml_backend_buffer_type_t) { return "FAKE_GPU"; }, false);
    describe(host_memory, [](ggml_backend_buffer_type_t) { return "FAKE_GPU_Host"; }, true);
    ggml_backend_device_i & i = device.iface;
    i.get_name = [](ggml_backend_dev_t) { return "FAKE_GPU"; };
    i.get_description = [](ggml_backend_dev_t) { return "no GPU at all"; };
    i.get_memory = [](ggml_backend_dev_t, size_t * free, size_t * total) { *free = *total = size_t(8) << 30; };
    i.get_type = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; };
    i.get_props = [](ggml_backend_dev_t dev, ggml_backend_dev_props * props) {
        *props = {};
        props->name = dev->iface.get_name(dev);
        props->description = dev->iface.get_description(dev);
        props->type = dev->iface.get_type(dev);
        dev->iface.get_memory(dev, &props->memory_free, &props->memory_total);
        props->caps.host_buffer = true;
        props->caps.mmap_support = true;
    };
    i.init_backend = init_backend;
    i.get_buffer_type = [](ggml_backend_dev_t) { return &memory; };
    if (!std::getenv("FAKE_GPU_WITHOUT_HOST")) {
        i.get_host_buffer_type = [](ggml_backend_dev_t) { return &host_memory; };
    }
    i.supports_op = [](ggml_backend_dev_t, const ggml_tensor * node) { return cpu()->iface.supports_op(cpu(), node); };
    i.supports_buft = [](ggml_backend_dev_t, ggml_backend_buffer_type_t type) { return type == &memory; };
    i.offload_op = [](ggml_backend_dev_t, const ggml_tensor * node) {
        return is_product(node) && node->ne[node->op == GGML_OP_MUL_MAT ? 1 : 2] >= 32;
    };
    device.reg = &registry;
    registry.api_version = GGML_BACKEND_API_VERSION;
    registry.iface.get_name = [](ggml_backend_reg_t) { return "FAKE_GPU"; };
    registry.iface.get_device_count = [](ggml_backend_reg_t) { return size_t(1); };
    registry.iface.get_device = [](ggml_backend_reg_t, size_t) -> ggml_backend_dev_t { return &device; };
    registry.iface.get_proc_address = [](ggml_backend_reg_t, const char *) -> void * { return nullptr; };
    return &registry;
}
