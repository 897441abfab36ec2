#include "roles.h"

#include <stdio.h>
#include <string.h>

bool role_is_lookup_table(const gguf_file *file, const char *name) {
    if (strcmp(name, "token_embd.weight") == 0) return gguf_find_tensor(file, "output.weight") != NULL;
    return strcmp(name, "position_embd.weight") == 0 || strcmp(name, "token_types.weight") == 0 ||
           strcmp(name, "per_layer_token_embd.weight") == 0;
}

bool role_is_experts(const gguf_tensor *t) { return t->ne[2] > 1 && strstr(t->name, "_exps.") != NULL; }

double role_expert_share(const gguf_file *file) {
    char architecture[32], key[64];
    uint64_t used, count;
    if (!gguf_get_string(file, "general.architecture", architecture, sizeof architecture)) return 1;
    snprintf(key, sizeof key, "%s.expert_used_count", architecture);
    if (!gguf_get_uint(file, key, &used)) return 1;
    snprintf(key, sizeof key, "%s.expert_count", architecture);
    if (!gguf_get_uint(file, key, &count) || used < 1 || used > count) return 1;
    return (double)used / (double)count;
}
