#include "rpc.hpp"

#include "nodes.hpp"
#include "rpc_memory.hpp"

#include <chrono>
#include <string>

namespace plugin {
namespace {

using sparamx_ggml::library;

const host *             the_host;
ggml_backend_device      the_device;
ggml_backend_buffer_type hook; // in the CPU backend's list, for its questions alone: nothing is allocated of it
decltype(ggml_backend_i::graph_compute) compute_on_cpu;

const sparamx_api * api() { return library::get().api; }

struct served_product : sparamx_ggml::product {
    served_product(const ggml_tensor * node, const served_weight & w) : product(node, nullptr) { weight = w.as; }
};

// ---------------------------------------------------------------------------------------------------- products

// Of a node of a graph that settle() has seen. NULL: the host computes it.
const served_weight * weight_of(const ggml_tensor * node) {
    const ggml_tensor * w = node->src[0];
    if (!is_product(node) || !w || !in_served_memory(w)) return nullptr;
    return static_cast<const served_weight *>(w->extra);
}

class traits final : public ggml::cpu::tensor_traits {
    bool work_size(int n_threads, const ggml_tensor * node, size_t & size) override {
        size = 0;
        if (!is_work(node)) return true;
        served_product       p(node, *weight_of(node));
        const sparamx_status status = api()->work_size(&p.op, n_threads, &size);
        if (status != SPARAMX_OK) sparamx_ggml::fail(api(), "work size", node->src[0], status);
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * node) override {
        if (!is_work(node)) return true;
        served_product p(node, *weight_of(node));
        sparamx_params q = {};
        q.size = sizeof(q);
        q.ith = params->ith;
        q.nth = params->nth;
        q.work_size = params->wsize;
        q.work = params->wdata;
        q.barrier = [](void * threadpool) { the_host->barrier(static_cast<ggml_threadpool *>(threadpool)); };
        q.barrier_data = params->threadpool;
        const bool timed = sparamx_ggml::statistics_wanted() && params->ith == 0;
        const auto since = timed ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
        const sparamx_status status = api()->compute(&q, &p.op);
        if (status != SPARAMX_OK) sparamx_ggml::fail(api(), "product", node->src[0], status);
        if (timed) sparamx_ggml::statistics::get().add(node, since);
        return true;
    }
};

class extra final : public ggml::cpu::extra_buffer_type {
    traits products;

    bool supports_op(ggml_backend_dev_t, const ggml_tensor *) override { return false; } // asked of memory of `hook`
    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * node) override {
        if (weight_of(node)) return &products;
        auto & report = sparamx_ggml::load_report::get();
        if (!report.is_quiet() && is_product(node) && node->src[0]) {
            const ggml_tensor * w = node->src[0];
            const bool          whole = w->op == GGML_OP_NONE && !w->view_src && !sparamx_ggml::is_empty(w) &&
                               w->ne[1] > 1 && sparamx_ggml::buffers::can_be_packed(sparamx_ggml::translate(w));
            report.computing(whole ? w : nullptr);
        }
        return nullptr;
    }
};

// ------------------------------------------------------------------------------------------------------ graphs

bool is_ours(const ggml_tensor * node) {
    if (!is_product(node)) return false;
    const sparamx_ggml::node_parts parts(node);
    if (!parts.x || parts.x->type != GGML_TYPE_F32 || node->type != GGML_TYPE_F32) return false;
    const served_weight * w = served_as(node->src[0]);
    if (!w) return false;
    served_product p(node, *w);
    return api()->supports_op(&p.op) == SPARAMX_OK;
}

// Every weight of the graph that is more than the weight of our products is put back, and the tensors of the others
// are told where they are.
void settle(ggml_cgraph * graph) {
    const int n = the_host->graph_n_nodes(graph);
    for (int i = 0; i < n; ++i) {
        ggml_tensor * node = the_host->graph_node(graph, i);
        if (is_product(node) && in_served_memory(node->src[0])) node->src[0]->extra = nullptr;
        if (!is_work(node)) continue;
        const char * name = the_host->op_name(node->op);
        const bool   ours = is_ours(node);
        for (int s = ours ? 1 : 0; s < GGML_MAX_SRC; ++s) {
            if (node->src[s] && node->src[s]->data) put_back(node->src[s], name);
        }
        if (node->data) put_back(node, name);
    }
    for (int i = 0; i < n; ++i) {
        ggml_tensor * node = the_host->graph_node(graph, i);
        if (is_work(node) && is_ours(node)) node->src[0]->extra = served_as(node->src[0]);
    }
}

ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    uploads_are_done();
    settle(graph);
    return compute_on_cpu(backend, graph);
}

ggml_backend_t init_backend(ggml_backend_dev_t dev, const char * params) {
    ggml_backend_t b = the_host->cpu->iface.init_backend(the_host->cpu, params);
    if (!b) return nullptr;
    compute_on_cpu = b->iface.graph_compute;
    b->iface.graph_compute = graph_compute;
    b->iface.graph_plan_create = nullptr; // a plan would be computed without being looked at here
    b->iface.graph_plan_free = nullptr;
    b->iface.graph_plan_compute = nullptr;
    b->device = dev;
    return b;
}

} // namespace

ggml_backend_dev_t rpc_device() { return &the_device; }

void * rpc_function(const char * name) {
    if (!the_host || std::strcmp(name, "ggml_backend_set_n_threads") != 0) return nullptr;
    return the_host->cpu->reg->iface.get_proc_address(the_host->cpu->reg, name);
}

bool rpc_start(const host & host, ggml_backend_reg_t reg) {
    const library & lib = library::get();
    if (!lib.api) {
        sparamx_ggml::say("not used: " + lib.about);
        return false;
    }
    sparamx_ggml::say(lib.about + ", as the device SPARAMX of an RPC server");
    the_host = &host;
    start_served_memory(host, &the_device);
    hook = *served_buffer_type();
    hook.device = host.cpu;
    hook.context = static_cast<ggml::cpu::extra_buffer_type *>(new extra());
    host.extra_buffer_types().insert(host.extra_buffer_types().begin(), &hook);

    ggml_backend_device_i & i = the_device.iface;
    i.get_name = [](ggml_backend_dev_t) { return "SPARAMX"; };
    i.get_description = [](ggml_backend_dev_t) { return "the CPU, with libsparamx: pruned weights, packed"; };
    i.get_memory = [](ggml_backend_dev_t, size_t * free, size_t * total) {
        the_host->cpu->iface.get_memory(the_host->cpu, free, total);
    };
    i.get_type = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_ACCEL; };
    i.get_props = [](ggml_backend_dev_t dev, ggml_backend_dev_props * props) {
        *props = {};
        props->name = dev->iface.get_name(dev);
        props->description = dev->iface.get_description(dev);
        props->type = dev->iface.get_type(dev);
        dev->iface.get_memory(dev, &props->memory_free, &props->memory_total);
    };
    i.init_backend = init_backend;
    i.get_buffer_type = [](ggml_backend_dev_t) { return served_buffer_type(); };
    i.supports_op = [](ggml_backend_dev_t, const ggml_tensor * node) {
        return the_host->cpu->iface.supports_op(the_host->cpu, node);
    };
    i.supports_buft = [](ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
        return type == served_buffer_type() || (type->iface.is_host && type->iface.is_host(type));
    };
    the_device.reg = reg;
    return true;
}

} // namespace plugin
