/* A libsparamx of a later interface: it knows no table for the one asked for. */
#include <stddef.h>
#include <stdint.h>

const void *sparamx_get_api(uint32_t abi) {
    (void)abi;
    return NULL;
}
