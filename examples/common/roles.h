/* roles.h - what a tensor is for in a llama-like model, by the names that GGUF files use. */
#ifndef EXAMPLES_ROLES_H
#define EXAMPLES_ROLES_H

#include <stdbool.h>

#include "gguf.h"

/* Tables that a model reads row by row (GET_ROWS) and never multiplies by, unless it has no other output matrix. */
bool role_is_lookup_table(const gguf_file *file, const char *name);

/* The matrices of several experts in one tensor, of which each token uses a few. */
bool role_is_experts(const gguf_tensor *t);

/* The share of a mixture's experts that one token uses, from the metadata; 1 if the file does not say. */
double role_expert_share(const gguf_file *file);

#endif
