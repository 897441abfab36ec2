/* A shared library that is not libsparamx. */
int sparamx_is_elsewhere(void) { return 1; }
