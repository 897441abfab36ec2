#include "exports.h"
#include "struct_sizes.h"
#include "../../include/sparamx.h"

// A struct that has grown fails here: struct_sizes.h says what to do.
#define NEWEST(name, bytes) _Static_assert(sizeof(name) == bytes, #name " has grown: see struct_sizes.h")
NEWEST(sparamx_capability, SX_CAPABILITY_1);
NEWEST(sparamx_tensor, SX_TENSOR_1);
NEWEST(sparamx_buffer_options, SX_BUFFER_OPTIONS_1);
NEWEST(sparamx_op, SX_OP_1);
NEWEST(sparamx_params, SX_PARAMS_1);
NEWEST(sparamx_tensor_info, SX_TENSOR_INFO_2);
NEWEST(sparamx_kernel_info, SX_KERNEL_INFO_2);
NEWEST(sparamx_linear_options, SX_LINEAR_OPTIONS_1);
NEWEST(sparamx_file_tensor, SX_FILE_TENSOR_1);
NEWEST(sparamx_linear_call, SX_LINEAR_CALL_1);
NEWEST(sparamx_kv_options, SX_KV_OPTIONS_1);
NEWEST(sparamx_kv_info, SX_KV_INFO_1);
NEWEST(sparamx_attention, SX_ATTENTION_1);

static const sparamx_api table = {
    .size = sizeof(sparamx_api),
    .abi = SPARAMX_ABI,
    .version = sparamx_version,
    .status_string = sparamx_status_string,
    .set_log = sparamx_set_log,
    .get_capability = sparamx_get_capability,
    .buffer_type_name = sparamx_buffer_type_name,
    .buffer_type_alignment = sparamx_buffer_type_alignment,
    .buffer_type_max_size = sparamx_buffer_type_max_size,
    .buffer_type_is_host = sparamx_buffer_type_is_host,
    .buffer_type_alloc_size = sparamx_buffer_type_alloc_size,
    .buffer_create = sparamx_buffer_create,
    .buffer_destroy = sparamx_buffer_destroy,
    .buffer_base = sparamx_buffer_base,
    .buffer_size = sparamx_buffer_size,
    .buffer_resident = sparamx_buffer_resident,
    .buffer_set_usage = sparamx_buffer_set_usage,
    .buffer_init_tensor = sparamx_buffer_init_tensor,
    .buffer_set_tensor = sparamx_buffer_set_tensor,
    .buffer_get_tensor = sparamx_buffer_get_tensor,
    .buffer_memset_tensor = sparamx_buffer_memset_tensor,
    .buffer_set_tensor_2d = sparamx_buffer_set_tensor_2d,
    .buffer_get_tensor_2d = sparamx_buffer_get_tensor_2d,
    .buffer_copy_tensor = sparamx_buffer_copy_tensor,
    .buffer_clear = sparamx_buffer_clear,
    .buffer_reset = sparamx_buffer_reset,
    .supports_weight = sparamx_supports_weight,
    .supports_op = sparamx_supports_op,
    .work_size = sparamx_work_size,
    .compute = sparamx_compute,
    .buffer_tensor_info = sparamx_buffer_tensor_info,
    .kernel_count = sparamx_kernel_count,
    .kernel_get = sparamx_kernel_get,
    .linear_create = sparamx_linear_create,
    .linear_destroy = sparamx_linear_destroy,
    .linear_read = sparamx_linear_read,
    .linear_work_size = sparamx_linear_work_size,
    .linear_compute = sparamx_linear_compute,
    .linear_info = sparamx_linear_info,
    .buffer_verify_tensor = sparamx_buffer_verify_tensor,
    .linear_verify = sparamx_linear_verify,
    .cap_isa = sparamx_cap_isa,
    .file_writer_create = sparamx_file_writer_create,
    .file_writer_add = sparamx_file_writer_add,
    .file_writer_add_linear = sparamx_file_writer_add_linear,
    .file_writer_finish = sparamx_file_writer_finish,
    .file_writer_destroy = sparamx_file_writer_destroy,
    .file_open = sparamx_file_open,
    .file_close = sparamx_file_close,
    .file_key = sparamx_file_key,
    .file_count = sparamx_file_count,
    .file_info = sparamx_file_info,
    .file_find = sparamx_file_find,
    .file_verify = sparamx_file_verify,
    .linear_load = sparamx_linear_load,
    .buffer_load_tensor = sparamx_buffer_load_tensor,
    .linear_save = sparamx_linear_save,
    .buffer_save = sparamx_buffer_save,
    .linear_call_work_size = sparamx_linear_call_work_size,
    .linear_apply = sparamx_linear_apply,
    .kv_create = sparamx_kv_create,
    .kv_destroy = sparamx_kv_destroy,
    .kv_write = sparamx_kv_write,
    .kv_touch = sparamx_kv_touch,
    .kv_remove = sparamx_kv_remove,
    .kv_copy = sparamx_kv_copy,
    .kv_read = sparamx_kv_read,
    .kv_observe = sparamx_kv_observe,
    .kv_pack = sparamx_kv_pack,
    .kv_get_info = sparamx_kv_get_info,
    .kv_verify = sparamx_kv_verify,
    .attention_supports = sparamx_attention_supports,
    .attention_work_size = sparamx_attention_work_size,
    .attention_compute = sparamx_attention_compute,
    .kv_save = sparamx_kv_save,
    .kv_load = sparamx_kv_load,
    .profile_load = sparamx_profile_load,
};

const void *sx_api_table(void) { return &table; }
