/* roles.h - what a tensor is for in a model, by the names that GGUF files use: sparamx-ggml-placement.h with a file
 * at hand. */
#ifndef EXAMPLES_ROLES_H
#define EXAMPLES_ROLES_H

#include <stdbool.h>

#include "gguf.h"

/* Why the host keeps the tensor whatever the library can do with its type, or NULL: one sentence. */
const char *role_reason_to_keep(const gguf_file *file, const gguf_tensor *t);

/* Whether this is the token embedding of a model that has no output matrix of its own: it is loaded twice then, one
 * copy for looking tokens up, which stays with the host, and one that is multiplied by. */
bool role_is_tied_output(const gguf_file *file, const gguf_tensor *t);

/* The matrices of several experts in one tensor, of which each token uses a few. */
bool role_is_experts(const gguf_tensor *t);

/* Share of the tensor that one generated token reads: 1, less for experts, 0 for tables that are looked up. */
double role_read_share(const gguf_file *file, const gguf_tensor *t);

/* The share of a mixture's experts that one token uses, from the metadata; 1 if the model does not say. */
double role_expert_share(const gguf_file *file);

#endif
