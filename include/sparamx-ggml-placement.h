/*
 * sparamx-ggml-placement.h - which weights an engine built on ggml gives to the library, by their names in GGUF files.
 * One rule, used by the adapter and by the programs that predict what it does. Plain C, to be included from C++ too.
 *
 * For each weight such an engine asks whether a buffer type can serve the one op that it expects: placement_asked()
 * says which one llama.cpp expects. placement_left() says which weights stay with the host even where that op is a
 * product, because other ops read the same bytes.
 */
#ifndef SPARAMX_GGML_PLACEMENT_H
#define SPARAMX_GGML_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum placement_op { PLACEMENT_MUL_MAT, PLACEMENT_MUL_MAT_ID, PLACEMENT_GET_ROWS, PLACEMENT_OTHER };

/* Whether part stands in the name as a whole, between dots: "ssm_d" is in "blk.0.ssm_d", not in
 * "blk.0.ssm_dt.weight". */
static inline bool placement_has(const char *name, const char *part) {
    const size_t n = strlen(part);
    for (const char *at = strstr(name, part); at != NULL; at = strstr(at + 1, part))
        if ((at == name || at[-1] == '.') && (at[n] == 0 || at[n] == '.')) return true;
    return false;
}

/* The op for which the engine loads the tensor. token_embd is looked up; where a model has no output matrix of its own,
 * the engine loads it a second time and asks for MUL_MAT: placement_is_tied(). */
static inline enum placement_op placement_asked(const char *name) {
    static const char *const rows[] = {"token_embd", "position_embd", "token_types", "per_layer_token_embd",
                                       "attn_rel_b", "attn_compressor_ape", "indexer_compressor_ape",
                                       "ffn_gate_tid2eid", "embed_tokens", "d2t", "markov_w1", "selector_predecessor",
                                       "selector_successor"};
    static const char *const others[] = {
        "z_l_init", "cls.norm", "output_hc_base", "output_hc_scale", "hc_attn_base", "hc_attn_scale", "hc_ffn_base",
        "hc_ffn_scale", "ple_conv1d", "attn_sinks", "ffn.act", "ssm_conv1d", "ssm_conv1d_q", "ssm_conv1d_k",
        "ssm_conv1d_v", "ssm_a", "ssm_d", "attn_res_score", "ffn_res_score", "output_res_score", "time_mix_ln",
        "time_mix_k_k", "time_mix_k_a", "time_mix_r_k", "time_mix_decay", "time_mix_w0", "time_mix_a0", "time_mix_v0",
        "time_mix_first", "layer_output_scale", "exp_probs_b", "exp_probs_b_vl", "altup_correct_scale",
        "cross_attn_rel_b", "conv1d", "norm", "norm1", "norm2", "conv1", "conv2", "dw", "gamma", "shortconv.conv",
        "indexer_kpool_ape", "enorm", "hnorm", "masked_embd_centroids", "masked_embd_ordering", "attn_conv_base",
        "ffn_conv_base", "bias"};
    static const char *const pieces[] = {"_norm", "rope_freqs", "rope_factors", "_mix_lerp_"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (placement_has(name, others[i])) return PLACEMENT_OTHER;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        if (strstr(name, pieces[i]) != NULL) return PLACEMENT_OTHER;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (placement_has(name, rows[i])) return PLACEMENT_GET_ROWS;
    const char *experts = strstr(name, "exps");
    return experts != NULL && (experts[4] == '.' || experts[4] == 0) ? PLACEMENT_MUL_MAT_ID : PLACEMENT_MUL_MAT;
}

/* One sentence if the host keeps the tensor when it asks for this op, NULL if the library may take it. */
static inline const char *placement_left(const char *name, enum placement_op op) {
    static const char *const read_otherwise[] = {"token_types", "position_embd", "attn_kv_b", "attn_k_b", "attn_v_b",
                                                 "ssm_conv1d", "shortconv.conv"};
    if (op == PLACEMENT_GET_ROWS) return "looked up row by row, never multiplied";
    if (op == PLACEMENT_OTHER) return "no matrix product reads it";
    for (size_t i = 0; i < sizeof read_otherwise / sizeof read_otherwise[0]; i++)
        if (strstr(name, read_otherwise[i]) != NULL) return "other ops than the product may read it too";
    if (strstr(name, "ffn_gate_inp") != NULL || strstr(name, "ffn_exp_probs") != NULL)
        return "it chooses the experts: small, and it stays exact";
    if (strstr(name, "_norm") != NULL || strstr(name, "rope_") != NULL || strstr(name, "altup_") != NULL)
        return "no large matrix: the host keeps it exact";
    if (strstr(name, "token_embd") != NULL && strcmp(name, "token_embd.weight") != 0)
        return "looked up row by row, never multiplied";
    return NULL;
}

/* Whether the engine loads token_embd.weight a second time, as the output matrix, and asks for MUL_MAT on that copy.
 * Models that only embed text have no output matrix at all; bitnet multiplies by the copy that it looks up. */
static inline bool placement_is_tied(const char *architecture, bool has_output) {
    static const char *const never[] = {"bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert",
                                        "jina-bert-v2", "jina-bert-v3", "eurobert", "bitnet"};
    if (has_output) return false;
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        if (strcmp(architecture, never[i]) == 0) return false;
    return true;
}

#endif
