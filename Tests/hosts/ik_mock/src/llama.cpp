#include "llama-impl.h"

    cparams.fused_up_gate    = params.fused_up_gate;
