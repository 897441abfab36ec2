/*
 * log_test.c - the host's log receiver: what reaches it is one line that is safe to show, the receiver that was
 * replaced is never called again, and a receiver may call the library, replace itself included.
 */
#define _GNU_SOURCE
#include "check.h"
#include "support.h"

#include <execinfo.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char line[1024];

static void keep(int32_t level, const char *message, void *user) {
    (void)user;
    CHECK(level == SPARAMX_LOG_ERROR, "level %d", level);
    snprintf(line, sizeof line, "%s", message);
}

/* An upload that is refused, of a tensor with this name. */
static sparamx_status refused_upload(const char *name) {
    sparamx_buffer *buffer = NULL;
    if (sparamx_buffer_create(4096, NULL, &buffer) != SPARAMX_OK) return -1;
    sparamx_tensor t = make_tensor(SPARAMX_TYPE_BF16, 64, 16, 1, 1, (char *)sparamx_buffer_base(buffer) + 8192, buffer);
    char data[8] = {0};
    t.name = name;
    sparamx_status status = sparamx_buffer_set_tensor(buffer, &t, data, 0, sizeof data);
    sparamx_buffer_destroy(buffer);
    return status;
}

static void expect_name(const char *name, const char *shown) {
    char begin[256];
    snprintf(begin, sizeof begin, "sparamx: %s: ", shown);
    line[0] = 0;
    CHECK(refused_upload(name) == SPARAMX_ERR_RANGE, "the upload was not refused");
    CHECK(strncmp(line, begin, strlen(begin)) == 0, "\"%s\" instead of \"%s...\"", line, begin);
}

static void test_names(void) {
    CHECK(sparamx_set_log(keep, NULL) == SPARAMX_OK, "set_log");
    expect_name("blk.0.attn_q.weight", "blk.0.attn_q.weight");
    expect_name("a\n[ERROR] kernel: b\r\t\x1b[2J\x7f", "a?[ERROR] kernel: b???[2J?");
    expect_name("gr\xc3\xb6\xc3\x9f"
                "e \xe2\x82\xac \xf0\x9f\x90\xa6",
                "gr\xc3\xb6\xc3\x9f"
                "e \xe2\x82\xac \xf0\x9f\x90\xa6");
    expect_name("\xc2\x9b" "31m", "??31m");                    /* a control character above 127 */
    expect_name("\xff\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\x80", "???????????"); /* no UTF-8, and overlong forms */
    expect_name("x\xe2\x82", "x??");                             /* cut short */
    char many[300];
    memset(many, 'n', sizeof many - 1);
    many[sizeof many - 1] = 0;
    char cut[101];
    memset(cut, 'n', 100);
    cut[100] = 0;
    expect_name(many, cut);
    /* Of a name without an end nothing is read behind what is shown. */
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && mprotect(page + 4096, 4096, PROT_NONE) == 0, "a forbidden page");
    memset(page, 'n', 4096);
    expect_name(page + 4096 - 100, cut);
    page[4095] = (char)0xe2; /* a character that would go on there */
    cut[99] = '?';
    expect_name(page + 4096 - 100, cut);
    munmap(page, 8192);
}

/* -- a receiver that is replaced while it may be running ----------------------------------------------------------- */

typedef struct receiver {
    int inside, calls;
    bool gone;
} receiver;

static void count_call(int32_t level, const char *message, void *user) {
    (void)level;
    (void)message;
    receiver *r = user;
    __atomic_add_fetch(&r->inside, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&r->gone, __ATOMIC_SEQ_CST)) CHECK(false, "a receiver that was replaced is called");
    for (int i = 0; i < 2000; i++) __atomic_add_fetch(&r->calls, 1, __ATOMIC_SEQ_CST);
    __atomic_sub_fetch(&r->inside, 1, __ATOMIC_SEQ_CST);
}

static volatile bool stop;

static void *upload(void *unused) {
    (void)unused;
    while (!stop) refused_upload("w");
    return NULL;
}

static void test_replacement(void) {
    enum { ROUNDS = 3000 };
    receiver *all = calloc(ROUNDS, sizeof *all);
    pthread_t threads[3];
    int started = 0, busy = 0;
    long calls = 0;
    stop = false;
    for (; started < 3; started++) CHECK(pthread_create(&threads[started], NULL, upload, NULL) == 0, "a thread");
    for (int i = 0; i < ROUNDS; i++) {
        sparamx_set_log(count_call, &all[i]);
        for (volatile int wait = 0; wait < i % 50 * 100; wait++) {}
        if (i % 10 == 0) usleep(100);
        sparamx_set_log(i % 2 == 0 ? NULL : keep, NULL);
        if (i % 2 != 0) sparamx_set_log(NULL, NULL);
        busy += __atomic_load_n(&all[i].inside, __ATOMIC_SEQ_CST);
        __atomic_store_n(&all[i].gone, true, __ATOMIC_SEQ_CST);
    }
    stop = true;
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < ROUNDS; i++) calls += all[i].calls;
    CHECK(busy == 0, "set_log returned %d times while the receiver before was running", busy);
    CHECK(calls > 0, "no receiver was ever called");
    free(all);
}

/* -- a receiver that calls the library ----------------------------------------------------------------------------- */

static int depth;

static void reenter(int32_t level, const char *message, void *user) {
    (void)level;
    (void)message;
    (void)user;
    if (++depth == 1) CHECK(refused_upload("inner") == SPARAMX_ERR_RANGE, "an upload inside the receiver");
    if (depth == 2) CHECK(sparamx_set_log(NULL, NULL) == SPARAMX_OK, "set_log inside the receiver");
}

static void test_reentry(void) {
    alarm(20);
    CHECK(sparamx_set_log(reenter, NULL) == SPARAMX_OK, "set_log");
    CHECK(refused_upload("outer") == SPARAMX_ERR_RANGE, "an upload");
    CHECK(depth == 2, "the receiver was called %d times instead of twice", depth);
    refused_upload("later");
    CHECK(depth == 2, "the receiver that was taken away is called");
    alarm(0);
}

/* -- the stack, as a debugger or a crash reporter sees it ---------------------------------------------------------- */

static bool seen;

__attribute__((noinline)) static void outermost(void) {
    refused_upload("stack");
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

static void look(int32_t level, const char *message, void *user) {
    (void)level;
    (void)message;
    (void)user;
    void *frames[64];
    int count = backtrace(frames, 64);
    for (int i = 0; i < count; i++) {
        uintptr_t at = (uintptr_t)frames[i], begin = (uintptr_t)outermost;
        seen |= at > begin && at < begin + 64;
    }
}

static void test_backtrace(void) {
    sparamx_set_log(look, NULL);
    outermost();
    sparamx_set_log(NULL, NULL);
    CHECK(seen, "a backtrace from the receiver does not get through the library");
}

int main(void) {
    test_names();
    test_replacement();
    test_reentry();
    test_backtrace();
    return check_end();
}
