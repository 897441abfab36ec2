/* A library whose constructor calls the program that loads it: the dynamic linker's lock is held meanwhile. */
void sparamx_test_constructor(void);

__attribute__((constructor)) static void start(void) { sparamx_test_constructor(); }
