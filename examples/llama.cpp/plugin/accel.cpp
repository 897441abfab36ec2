#include "accel.hpp"

#include "collect.hpp"
#include "memory.hpp"
#include "nodes.hpp"
#include "team.hpp"

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

namespace plugin {
namespace {

using sparamx_ggml::library;

const host *        the_host;
ggml_backend_device the_device;

const sparamx_api * api() { return library::get().api; }

// ---------------------------------------------------------------------------------------------------- backend

struct stream {
    int               n_threads = 1;
    std::vector<char> work;
};

stream * own(ggml_backend_t b) { return static_cast<stream *>(b->context); }

struct device_product : sparamx_ggml::product {
    explicit device_product(const ggml_tensor * node) : product(node, nullptr) {
        if (is_packed(node->src[0])) weight = in_library(node->src[0]);
    }
};

// Empty if the node is a product that can be computed, else what is wrong; bytes: the work area that it needs.
std::string judge(const ggml_tensor * node, int n_threads, size_t & bytes) {
    if (!is_product(node)) return "the device computes matrix products and no other op";
    const sparamx_ggml::node_parts parts(node);
    if (!parts.weight || !parts.x || (node->op == GGML_OP_MUL_MAT_ID && !parts.ids)) return "an operand is missing";
    if (parts.x->type != GGML_TYPE_F32 || node->type != GGML_TYPE_F32) return "activations and results must be float32";
    for (const ggml_tensor * t : { const_cast<const ggml_tensor *>(node), parts.x, parts.ids, parts.weight }) {
        if (!t || (t == parts.weight && is_packed(t))) continue;
        if (!make_accessible(t)) return sparamx_ggml::printable(t->name) + " is in no memory that the device can reach";
    }
    device_product p(node);
    sparamx_status status = api()->supports_op(&p.op);
    if (status == SPARAMX_OK) status = api()->work_size(&p.op, n_threads, &bytes);
    return status == SPARAMX_OK ? std::string() : api()->status_string(status);
}

ggml_status refuse(const ggml_tensor * node, const std::string & why) {
    const char * op = the_host->op_name(node->op);
    sparamx_ggml::say(std::string("the device cannot compute ") + (op ? op : "an op") + " (" +
                      sparamx_ggml::printable(node->name) + "): " + why + ". Nothing of this graph was computed");
    return GGML_STATUS_FAILED;
}

ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    stream *  s = own(backend);
    const int n = the_host->graph_n_nodes(graph);
    size_t    need = 0;
    sparamx_ggml::load_report::get().tell();
    for (int i = 0; i < n; ++i) {
        const ggml_tensor * node = the_host->graph_node(graph, i);
        if (!is_work(node)) continue;
        size_t            bytes = 0;
        const std::string why = judge(node, s->n_threads, bytes);
        if (!why.empty()) return refuse(node, why);
        need = bytes > need ? bytes : need;
    }
    if (s->work.size() < need) s->work.resize(need);

    std::atomic<int> failed{ -1 };
    auto             work = [&](worker me) {
        const bool timed = sparamx_ggml::statistics_wanted() && me.ith == 0;
        for (int i = 0; i < n; ++i) {
            const ggml_tensor * node = the_host->graph_node(graph, i);
            if (!is_work(node)) continue;
            device_product p(node);
            sparamx_params q = {};
            q.size = sizeof(q);
            q.ith = me.ith;
            q.nth = me.nth;
            q.work_size = s->work.size();
            q.work = s->work.data();
            q.barrier = [](void * w) { static_cast<worker *>(w)->barrier(); };
            q.barrier_data = &me;
            if (is_collecting()) collect_inputs(node, me.ith, me.nth, q.barrier, q.barrier_data);
            const auto since = timed ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
            const sparamx_status status = api()->compute(&q, &p.op);
            if (status != SPARAMX_OK) { // the same on every thread
                if (me.ith == 0) {
                    sparamx_ggml::say(sparamx_ggml::failure(api(), "product", node->src[0], status));
                    failed = i;
                }
                return;
            }
            me.barrier(); // the next product uses the same work area
            if (timed) sparamx_ggml::statistics::get().add(node, since);
        }
    };
    run_team(*the_host, s->n_threads, work);
    return failed < 0 ? GGML_STATUS_SUCCESS : GGML_STATUS_FAILED;
}

ggml_backend_t init_backend(ggml_backend_dev_t dev, const char *) {
    static ggml_guid guid = { 0x73, 0x70, 0x61, 0x72, 0x61, 0x6d, 0x78, 0x2d,
                              0x61, 0x63, 0x63, 0x65, 0x6c, 0x2d, 0x30, 0x31 };
    ggml_backend *   b = new ggml_backend();
    b->guid = &guid;
    b->iface.get_name = [](ggml_backend_t) { return "SPARAMX"; };
    b->iface.free = [](ggml_backend_t me) {
        delete own(me);
        delete me;
    };
    b->iface.graph_compute = graph_compute;
    b->device = dev;
    b->context = new stream();
    sparamx_ggml::load_report::get().tell();
    sparamx_ggml::load_report::get().computing(nullptr); // a host that has loaded a model makes its backends
    return b;
}

void set_n_threads(ggml_backend_t backend, int n) {
    own(backend)->n_threads = n < 1 ? 1 : n > 1024 ? 1024 : n;
}

// ----------------------------------------------------------------------------------------------------- device

bool supports_op(ggml_backend_dev_t, const ggml_tensor * node) {
    if (is_view(node)) return true;
    if (!is_product(node)) return false;
    const ggml_tensor * w = node->src[0];
    if (node->src[1]->type != GGML_TYPE_F32 || node->type != GGML_TYPE_F32) return false;
    if (w->op != GGML_OP_NONE || w->view_src) return false; // attention and the like stay with the host
    if (w->buffer) {
        if (!is_device_buffer(w->buffer)) return false; // a weight that went elsewhere is computed there
        if (!w->data) return sparamx_ggml::report_asked(node, sparamx_ggml::node_parts(node));
    }
    sparamx_ggml::product p(node, nullptr);
    p.weight.data = nullptr;
    return api()->supports_op(&p.op) == SPARAMX_OK;
}

// Loaders ask the device for these only if it was named as one for layers. It is none: norms, caches and everything
// else of a layer would come here.
ggml_backend_buffer_type_t * extra_buffer_types(ggml_backend_dev_t) {
    refuse_memory();
    return nullptr;
}

} // namespace

ggml_backend_dev_t accel_device() { return &the_device; }

void * accel_function(const char * name) {
    if (std::strcmp(name, "ggml_backend_set_n_threads") == 0) return reinterpret_cast<void *>(set_n_threads);
    if (std::strcmp(name, "ggml_backend_dev_get_extra_bufts") == 0) return reinterpret_cast<void *>(extra_buffer_types);
    return nullptr;
}

bool accel_start(const host & host, ggml_backend_reg_t reg) {
    const library & lib = library::get();
    if (!lib.api) {
        sparamx_ggml::say("not used: " + lib.about);
        return false;
    }
    sparamx_ggml::say(lib.about + ", as a device");
    the_host = &host;
    start_memory(host, &the_device);
    ggml_backend_device_i & i = the_device.iface;
    i.get_name = [](ggml_backend_dev_t) { return "SPARAMX"; };
    i.get_description = [](ggml_backend_dev_t) { return "libsparamx: pruned weights, packed"; };
    i.get_memory = [](ggml_backend_dev_t, size_t * free, size_t * total) { *free = *total = 0; };
    i.get_type = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_ACCEL; };
    i.get_props = [](ggml_backend_dev_t dev, ggml_backend_dev_props * props) {
        *props = {};
        props->name = dev->iface.get_name(dev);
        props->description = dev->iface.get_description(dev);
        props->type = dev->iface.get_type(dev);
    };
    i.init_backend = init_backend;
    i.get_buffer_type = [](ggml_backend_dev_t) { return device_buffer_type(); };
    i.supports_op = supports_op;
    i.supports_buft = [](ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
        return is_device_buffer_type(type) || (type->iface.is_host && type->iface.is_host(type));
    };
    the_device.reg = reg;
    return true;
}

} // namespace plugin
