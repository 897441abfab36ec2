// The constant table behind sparamx_get_api: C, because only there can a table of functions be constant data.
#pragma once
#include "struct_sizes.h"
const void *sx_api_table(void);
