// The version stands in the header alone.
#include "platform.h"
#include "../../include/sparamx.h"

const char *sx_version(void) { return SPARAMX_VERSION_STRING; }
