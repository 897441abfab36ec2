#include "kv.hpp"

#include "kv_caches.hpp"
#include "sparamx-ggml-cpu.hpp"

#include <cstdlib>
#include <cstring>
#include <string>

namespace plugin {
namespace {

using sparamx_ggml::printable;
using sparamx_ggml::say;

void (*host_barrier)(ggml_threadpool *);

void wait_for_all(void * pool) {
    host_barrier(static_cast<ggml_threadpool *>(pool));
}

// The host computes a node itself, and asks its other buffer types before, when this says false.
class attending final : public ggml::cpu::tensor_traits {
    bool work_size(int, const ggml_tensor *, size_t &) override { return false; }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * node) override {
        if (node->op != GGML_OP_FLASH_ATTN_EXT) {
            if (params->ith == 0) kv_caches::get().written(node);
            return false;
        }
        if (params->ith == 0) kv_caches::get().prepare(node, params->nth);
        host_barrier(params->threadpool);
        kv_caches::job * job = kv_caches::get().prepared(node);
        if (!job) return false;
        sparamx_params p = {};
        p.size = sizeof(p);
        p.ith = params->ith;
        p.nth = params->nth;
        p.work = job->work.data();
        p.work_size = job->work.size();
        p.barrier = wait_for_all;
        p.barrier_data = params->threadpool;
        const sparamx_api * api = sparamx_ggml::library::get().api;
        sparamx_status      status = SPARAMX_OK;
        for (size_t i = 0; i < job->caches.size() && status == SPARAMX_OK; ++i) {
            status = api->kv_pack(job->caches[i], &p, job->newest[i]);
        }
        // The first thread makes blocks packed ones behind the barrier of kv_pack; nobody attends before.
        if (status == SPARAMX_OK) host_barrier(params->threadpool);
        if (status == SPARAMX_OK) status = api->attention_compute(&p, &job->ask);
        if (status == SPARAMX_OK) return true;
        // All threads are told the same, before anything has been computed: so the host can do it.
        if (params->ith == 0) kv_caches::get().refuse(api->status_string(status));
        return false;
    }
};

class watcher final : public ggml::cpu::extra_buffer_type {
    attending traits;

    bool supports_op(ggml_backend_dev_t, const ggml_tensor *) override { return false; }
    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * node) override {
        return kv_caches::is_attention(node) || kv_caches::is_write(node) ? &traits : nullptr;
    }
};

// "30,50": percent of the keys and of the values; "kept": none, and the host's numbers instead of codes. False if it is
// something else.
bool read_shares(const char * text, float & keys, float & values, bool & kept) {
    keys = values = 0;
    kept = std::strcmp(text, "kept") == 0;
    if (kept) return true;
    char *     end = nullptr;
    const long k = std::strtol(text, &end, 10);
    if (end == text || *end != ',') return false;
    const char * second = end + 1;
    const long   v = std::strtol(second, &end, 10);
    if (end == second || *end || k < 0 || k > 95 || v < 0 || v > 95) return false;
    keys = float(k) / 100;
    values = float(v) / 100;
    return true;
}

} // namespace

void start_kv(const host & host) {
    const char * text = sparamx_ggml::variable("SPARAMX_KV");
    if (!text) return;
    float keys, values;
    bool  kept;
    if (!read_shares(text, keys, values, kept)) {
        say("key-value caches are left to the host: SPARAMX_KV is \"" +
            printable(std::string(text, strnlen(text, 64)).c_str()) +
            "\" instead of two percentages such as 0,0 or 30,50, none above 95, or kept");
        return;
    }
    const sparamx_ggml::library & lib = sparamx_ggml::library::get();
    if (!lib.api) return; // a line has been printed
    if (lib.api->size < sizeof(sparamx_api)) {
        say("key-value caches are left to the host: libsparamx is older than the plugin");
        return;
    }
    kv_caches::get().start(keys, values, kept);
    host_barrier = host.barrier;
    static ggml_backend_buffer_type type = {};
    type.iface.get_name = [](ggml_backend_buffer_type_t) { return "SPARAMX_KV"; };
    type.iface.alloc_buffer = [](ggml_backend_buffer_type_t, size_t) -> ggml_backend_buffer_t { return nullptr; };
    type.iface.get_alignment = [](ggml_backend_buffer_type_t) { return size_t(64); };
    type.device = host.cpu;
    type.context = static_cast<ggml::cpu::extra_buffer_type *>(new watcher());
    host.extra_buffer_types().push_back(&type);
    if (kept) return say("key-value caches: all numbers are kept as the host has them, for tests");
    say("key-value caches: " + std::to_string(int(keys * 100 + 0.5f)) + "% of the keys and " +
        std::to_string(int(values * 100 + 0.5f)) + "% of the values are left out");
}

} // namespace plugin
