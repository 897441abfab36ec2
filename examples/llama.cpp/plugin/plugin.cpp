// libggml-sparamx.so: brings libsparamx into an unmodified llama.cpp, by LD_PRELOAD or GGML_BACKEND_PATH.
//
// SPARAMX_MODE=inject (the default) puts the library's buffer type first into the CPU backend's own list: no extra
// graph splits, the host's threads, its work area. SPARAMX_MODE=accel offers a device instead: for test-backend-ops
// and for hosts whose GPU keeps CPU weights from extra buffer types. SPARAMX_MODE=rpc offers the device that an RPC
// server gives to its clients. SPARAMX_MODE=off does nothing.
//
// Tools whose CPU backend is linked in ignore GGML_BACKEND_PATH unless they load all backends: there LD_PRELOAD does
// it.
//
// When anything does not fit, one line on stderr says what, and the host runs as ever.

#include "accel.hpp"
#include "collect.hpp"
#include "host.hpp"
#include "kv.hpp"
#include "rpc.hpp"
#include "sparamx-ggml-cpu.hpp"

#include <dlfcn.h>

#include <atomic>
#include <cstring>
#include <string>

// The host's classes are abstract but for these; defined here because hosts with dynamic backends hide theirs.
namespace ggml::cpu {
tensor_traits::~tensor_traits() {}
extra_buffer_type::~extra_buffer_type() {}
} // namespace ggml::cpu

namespace {

// Loaders remember lists and devices for good: the plugin must outlive a host that unloads it.
void stay_loaded() {
    Dl_info info;
    if (dladdr(reinterpret_cast<void *>(stay_loaded), &info)) dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
}

const char * const second_copy = "another copy of this plugin is in use already";

// Empty, or why not.
std::string inject(const plugin::host & host) {
    auto & types = host.extra_buffer_types();
    for (ggml_backend_buffer_type_t other : types) {
        if (std::strcmp(other->iface.get_name(other), sparamx_ggml::type_name) == 0) return second_copy;
    }
    ggml_backend_buffer_type_t type = sparamx_ggml::buffer_type(host.buffer_init, host.barrier, host.cpu);
    if (!type) return {}; // a line has been printed
    types.insert(types.begin(), type);
    plugin::start_kv(host);
    stay_loaded();

    // The host copies the list when its first model is loaded.
    auto get = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        host.cpu->reg->iface.get_proc_address(host.cpu->reg, "ggml_backend_dev_get_extra_bufts"));
    ggml_backend_buffer_type_t * seen = get ? get(host.cpu) : nullptr;
    if (seen && *seen == type) return {};
    types.erase(types.begin());
    return "loaded too late: a model is loaded already";
}

std::atomic<bool> registered{ false };
std::atomic<bool> serving{ false }; // SPARAMX_MODE=rpc

ggml_backend_reg registry(size_t (*count)(ggml_backend_reg_t)) {
    ggml_backend_reg reg = {};
    reg.api_version = GGML_BACKEND_API_VERSION;
    reg.iface.get_name = [](ggml_backend_reg_t) { return "SPARAMX"; };
    reg.iface.get_device_count = count;
    reg.iface.get_device = [](ggml_backend_reg_t, size_t) -> ggml_backend_dev_t {
        registered = true; // a host asks when it has the registry in its list
        return serving ? plugin::rpc_device() : plugin::accel_device();
    };
    reg.iface.get_proc_address = [](ggml_backend_reg_t, const char * name) {
        return serving ? plugin::rpc_function(name) : plugin::accel_function(name);
    };
    return reg;
}

// In LD_PRELOAD of a program with ggml in it, the plugin has itself loaded. Elsewhere, say in a shell on the way to
// such a program, it does nothing.
__attribute__((constructor)) void load_if_preloaded() {
    const char * preload = sparamx_ggml::variable("LD_PRELOAD");
    Dl_info      info;
    if (!preload || !dladdr(reinterpret_cast<void *>(load_if_preloaded), &info)) return;
    const char * slash = std::strrchr(info.dli_fname, '/');
    if (!std::strstr(preload, slash ? slash + 1 : info.dli_fname)) return;
    auto load = reinterpret_cast<ggml_backend_reg_t (*)(const char *)>(dlsym(RTLD_DEFAULT, "ggml_backend_load"));
    auto find = reinterpret_cast<ggml_backend_reg_t (*)(const char *)>(dlsym(RTLD_DEFAULT, "ggml_backend_reg_by_name"));
    // Without a CPU backend at this time the host loads its backends later, and GGML_BACKEND_PATH with them.
    if (load && find && find("CPU")) load(info.dli_fname);
}

} // namespace

extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init(void) {
    // A host that cannot be served gets a registry without devices: anything else would make it print an error.
    static ggml_backend_reg nothing = registry([](ggml_backend_reg_t) -> size_t { return 0; });
    static ggml_backend_reg device = registry([](ggml_backend_reg_t) -> size_t { return 1; });

    static plugin::host *    host = new plugin::host();
    static std::atomic<bool> called{ false };
    if (called.exchange(true)) {
        // By LD_PRELOAD and GGML_BACKEND_PATH together, say, or by a host that has unloaded the device and wants it
        // back.
        if (!registered || host->has_registry(&device)) return &nothing;
        sparamx_ggml::say("loaded again, as a device");
        return &device;
    }

    const char *      text = sparamx_ggml::variable("SPARAMX_MODE");
    const std::string mode = text ? std::string(text, strnlen(text, 64)) : "inject";
    if (mode == "off") return &nothing;
    if (mode != "inject" && mode != "accel" && mode != "rpc") {
        sparamx_ggml::say("not used: SPARAMX_MODE is \"" + sparamx_ggml::printable(mode.c_str()) +
                          "\" instead of inject, accel, rpc or off");
        return &nothing;
    }
    std::string error = host->find(__builtin_return_address(0));
    if (error.empty() && mode == "inject") error = inject(*host);
    if (error.empty() && mode != "inject" && host->has_device("SPARAMX")) error = second_copy;
    // Collecting ends with the process, and with status 0, as no server does.
    if (error.empty() && mode != "rpc" && plugin::start_collecting(*host)) stay_loaded(); // with or without the library
    serving = mode == "rpc";
    if (error.empty() && mode != "inject" &&
        (serving ? plugin::rpc_start(*host, &device) : plugin::accel_start(*host, &device))) {
        stay_loaded();
        return &device;
    }
    if (!error.empty()) sparamx_ggml::say("not used: " + error);
    return &nothing;
}

// 0 would make the host print a line of its own, without the reason.
extern "C" __attribute__((visibility("default"))) int ggml_backend_score(void) {
    return 1;
}
