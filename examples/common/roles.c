#include "roles.h"

#include <stdio.h>
#include <string.h>

#include "sparamx-ggml-placement.h"

bool role_is_tied_output(const gguf_file *file, const gguf_tensor *t) {
    char architecture[32] = "";
    if (strcmp(t->name, "token_embd.weight") != 0) return false;
    gguf_get_string(file, "general.architecture", architecture, sizeof architecture);
    return placement_is_tied(architecture, gguf_find_tensor(file, "output.weight") != NULL);
}

const char *role_reason_to_keep(const gguf_file *file, const gguf_tensor *t) {
    if (t->data == NULL) return "the type is newer than this program, which knows its size only";
    if (t->nbytes == 0) return "it has no elements";
    if (t->n_dims < 2) return "one dimension only: a norm or a bias, nothing to multiply by";
    return placement_left(t->name, role_is_tied_output(file, t) ? PLACEMENT_MUL_MAT : placement_asked(t->name));
}

bool role_is_experts(const gguf_tensor *t) {
    return t->ne[2] > 1 && placement_asked(t->name) == PLACEMENT_MUL_MAT_ID;
}

double role_read_share(const gguf_file *file, const gguf_tensor *t) {
    char architecture[32] = "";
    if (role_is_experts(t)) return role_expert_share(file);
    if (placement_asked(t->name) != PLACEMENT_GET_ROWS || role_is_tied_output(file, t)) return 1;
    gguf_get_string(file, "general.architecture", architecture, sizeof architecture);
    return strcmp(t->name, "token_embd.weight") == 0 && strcmp(architecture, "bitnet") == 0 ? 1 : 0;
}

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
