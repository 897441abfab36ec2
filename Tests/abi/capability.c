/* capability - prints what the library finds here, for scripts: isa, avx512 and amx as numbers of sparamx.h. */
#include <sparamx.h>
#include <stdio.h>

int main(void) {
    sparamx_capability c = {.size = sizeof c};
    sparamx_status status = sparamx_get_capability(&c);
    printf("%d %d %d\n", c.isa, c.avx512, c.amx);
    return status;
}
