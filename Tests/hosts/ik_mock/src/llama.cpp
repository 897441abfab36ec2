#include "llama-impl.h"

    cparams.min_experts      = params.min_experts;
