/*
 * file_write_test - what a writer leaves at its path, and what a reader makes of what is no packed file: a full disk, a
 * limit on the size of files, a writer that is killed, interrupted or cancelled at any moment, paths that lead nowhere,
 * directories, pipes, devices, links; a path that is taken stays as it was until the new file is whole. All of it
 * twice: the second time this program's own openat says that the file system has no files without a name.
 */
#define _GNU_SOURCE
#include "check.h"
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 64, K = 4096, BYTES = N * K * 2 };

static bool unnamed_refused;
static int refused_times;

int openat(int directory_file, const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    if (unnamed_refused && (flags & O_TMPFILE) == O_TMPFILE) {
        refused_times++;
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_openat, directory_file, path, flags, mode);
}

/* A system that is interrupted all the time and moves few bytes at once. */
static bool trickle;
static long calls_interrupted, calls_short;

static bool interrupted(size_t *bytes) {
    static unsigned count;
    if (!trickle) return false;
    if (++count % 2 == 0) {
        calls_interrupted++;
        errno = EINTR;
        return true;
    }
    if (*bytes > 10007) *bytes = 10007, calls_short++;
    return false;
}

ssize_t pread(int file, void *to, size_t bytes, off_t offset) {
    return interrupted(&bytes) ? -1 : (ssize_t)syscall(SYS_pread64, file, to, bytes, offset);
}

ssize_t pwrite(int file, const void *from, size_t bytes, off_t offset) {
    return interrupted(&bytes) ? -1 : (ssize_t)syscall(SYS_pwrite64, file, from, bytes, offset);
}

int fsync(int file) {
    size_t none = 0;
    return interrupted(&none) ? -1 : (int)syscall(SYS_fsync, file);
}

static uint8_t weights[2][BYTES];
static sparamx_linear *linears[2];

static sparamx_linear *pack(const void *w) {
    sparamx_linear_options o = {.size = sizeof o, .form = SPARAMX_FORM_DENSE, .pack_threads = 1};
    sparamx_linear *linear = NULL;
    CHECK(sparamx_linear_create(SPARAMX_TYPE_BF16, N, K, w, 0, &o, &linear) == SPARAMX_OK, "pack");
    return linear;
}

/* Which of the two weights the file at a path has: 0, 1; -1 if it is no whole file. */
static int which(const char *path) {
    static uint8_t rows[BYTES];
    sparamx_file *file = NULL;
    sparamx_linear *linear = NULL;
    if (sparamx_file_open(path, &file) != SPARAMX_OK) return -1;
    int found = -1;
    if (sparamx_file_verify(file, 0) == SPARAMX_OK && sparamx_linear_load(file, 0, NULL, &linear) == SPARAMX_OK &&
        sparamx_linear_read(linear, 0, N, rows) == SPARAMX_OK)
        found = memcmp(rows, weights[0], BYTES) == 0 ? 0 : memcmp(rows, weights[1], BYTES) == 0 ? 1 : -1;
    sparamx_linear_destroy(linear);
    sparamx_file_close(file);
    return found;
}

static bool there(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0;
}

static sparamx_status create_status(const char *path) {
    static char nothing[16];
    sparamx_file_writer *mark = (sparamx_file_writer *)(void *)nothing, *writer = mark;
    sparamx_status status = sparamx_file_writer_create(path, NULL, 0, &writer);
    if (status == SPARAMX_OK) sparamx_file_writer_destroy(writer);
    else CHECK(writer == mark, "a failed create wrote its result");
    return status;
}

static sparamx_status open_status(const char *path) {
    sparamx_file *file = NULL;
    sparamx_status status = sparamx_file_open(path, &file);
    sparamx_file_close(file);
    return status;
}

/* -- paths --------------------------------------------------------------------------------------------------------- */

static void test_paths(void) {
    int files = files_in_directory();
    const char *pipe_path = path_to("pipe"), *link = path_to("link"), *loose = path_to("loose"), *dir = path_to("dir");
    CHECK(mkfifo(pipe_path, 0600) == 0 && symlink("target", link) == 0 && mkdir(dir, 0700) == 0, "things at paths");
    CHECK(write_whole(path_to("target"), "text", 4) && symlink("nowhere", loose) == 0, "things at paths");
    char lengthy[300], deep[5000];
    memset(lengthy, 'n', sizeof lengthy - 1), lengthy[sizeof lengthy - 1] = 0;
    memset(deep, '/', sizeof deep - 1), deep[sizeof deep - 1] = 0;
    deep[sizeof deep - 2] = 'x';
    char slash[700];
    snprintf(slash, sizeof slash, "%s/", dir);
    struct {
        const char *path;
        sparamx_status read;
        int read_errno;
        sparamx_status write;
        int write_errno;
    } cases[] = {
        {pipe_path, SPARAMX_ERR_FILE_KIND, 0, SPARAMX_ERR_FILE_KIND, 0},
        {dir, SPARAMX_ERR_FILE_KIND, 0, SPARAMX_ERR_FILE_KIND, 0},
        {directory(), SPARAMX_ERR_FILE_KIND, 0, SPARAMX_ERR_FILE_KIND, 0},
        {slash, SPARAMX_ERR_FILE_KIND, 0, SPARAMX_ERR_FILE, EISDIR},
        {"/dev/null", SPARAMX_ERR_FILE_KIND, 0, SPARAMX_ERR_FILE_KIND, 0},
        {"/dev/zero", SPARAMX_ERR_FILE_KIND, 0, SPARAMX_ERR_FILE_KIND, 0},
        {".", SPARAMX_ERR_FILE_KIND, 0, SPARAMX_ERR_FILE_KIND, 0},
        {"/", SPARAMX_ERR_FILE_KIND, 0, SPARAMX_ERR_FILE, EISDIR},
        {"", SPARAMX_ERR_FILE, ENOENT, SPARAMX_ERR_FILE, ENOENT},
        {link, SPARAMX_ERR_FILE_FOREIGN, 0, SPARAMX_ERR_FILE_KIND, 0},
        {loose, SPARAMX_ERR_FILE, ENOENT, SPARAMX_ERR_FILE_KIND, 0},
        {path_to("not there"), SPARAMX_ERR_FILE, ENOENT, SPARAMX_OK, 0},
        {path_to("no/file"), SPARAMX_ERR_FILE, ENOENT, SPARAMX_ERR_FILE, ENOENT},
        {path_to("target/file"), SPARAMX_ERR_FILE, ENOTDIR, SPARAMX_ERR_FILE, ENOTDIR},
        {path_to(lengthy), SPARAMX_ERR_FILE, ENAMETOOLONG, SPARAMX_ERR_FILE, ENAMETOOLONG},
        {deep, SPARAMX_ERR_FILE, ENAMETOOLONG, SPARAMX_ERR_FILE, ENAMETOOLONG}};
    alarm(60); /* whoever waits for a pipe */
    for (size_t i = 0; i < COUNT(cases); i++) {
        errno = 0;
        sparamx_status status = open_status(cases[i].path);
        CHECK(status == cases[i].read && (status != SPARAMX_ERR_FILE || errno == cases[i].read_errno),
              "open of %.40s: %d, errno %d", cases[i].path, status, errno);
        errno = 0;
        status = create_status(cases[i].path);
        CHECK(status == cases[i].write && (status != SPARAMX_ERR_FILE || errno == cases[i].write_errno),
              "create of %.40s: %d, errno %d", cases[i].path, status, errno);
    }
    alarm(0);
    CHECK(write_whole(path_to("empty"), "", 0) && open_status(path_to("empty")) == SPARAMX_ERR_FILE_FOREIGN, "empty");
    CHECK(files_in_directory() == files + 6, "something is left of what was refused");
    content c = read_whole(path_to("target"));
    CHECK(c.size == 4, "a file that a link leads to was changed");
    free(c.bytes);
}

/* What only others than root cannot do. */
static void test_permissions(void) {
    CHECK(sparamx_linear_save(linears[0], path_to("private")) == SPARAMX_OK, "save");
    CHECK(mkdir(path_to("locked"), 0700) == 0 && chmod(path_to("private"), 0) == 0 &&
              chmod(path_to("locked"), 0500) == 0 && chmod(directory(), 0755) == 0,
          "permissions");
    pid_t child = fork();
    if (child == 0) {
        if (getuid() == 0 && setuid(65534) != 0) _exit(77);
        bool good = open_status(path_to("private")) == SPARAMX_ERR_FILE && errno == EACCES;
        good = good && create_status(path_to("locked/file")) == SPARAMX_ERR_FILE && errno == EACCES;
        _exit(good ? 0 : 1);
    }
    int end = 0;
    waitpid(child, &end, 0);
    if (WIFEXITED(end) && WEXITSTATUS(end) == 77) SKIP(1, "permissions: root cannot become another user here");
    else CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "permissions: %x", (unsigned)end);
    rmdir(path_to("locked"));
}

/* -- no room ------------------------------------------------------------------------------------------------------- */

/* Writes to a path that has file 0, as long as there is room for it: the first write is refused, and what is there
 * stays; then there is room. */
static void fill_and_go_on(const char *path, int wanted_errno, void (*make_room)(void)) {
    sparamx_file_writer *writer = NULL;
    if (!CHECK(sparamx_file_writer_create(path, NULL, 0, &writer) == SPARAMX_OK, "create")) return;
    int count = 0;
    sparamx_status status = SPARAMX_OK;
    char name[32];
    while (status == SPARAMX_OK && count < 100) {
        snprintf(name, sizeof name, "%d", count);
        errno = 0;
        status = sparamx_file_writer_add_linear(writer, name, linears[1]);
        count += status == SPARAMX_OK;
    }
    CHECK(count > 0 && count < 100, "%d added", count);
    CHECK(status == SPARAMX_ERR_FILE && errno == wanted_errno, "status %d, errno %d", status, errno);
    CHECK(which(path) == 0, "what was there before");
    make_room();
    /* The same name again, over what came of it; and the file is whole. */
    CHECK(sparamx_file_writer_add_linear(writer, name, linears[1]) == SPARAMX_OK, "there is room");
    CHECK(sparamx_file_writer_finish(writer) == SPARAMX_OK, "finish");
    sparamx_file_writer_destroy(writer);
    CHECK(which(path) == 1, "the new file");
    sparamx_file *file = NULL;
    CHECK(sparamx_file_open(path, &file) == SPARAMX_OK && sparamx_file_count(file) == count + 1, "the new file");
    for (int i = 0; i <= count; i++) CHECK(sparamx_file_verify(file, i) == SPARAMX_OK, "tensor %d", i);
    sparamx_file_close(file);
}

static void set_limit(rlim_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}
static void raise_limit(void) { set_limit(RLIM_INFINITY); }

/* SIGXFSZ would end this process: it is not raised. */
static void test_limit(void) {
    const char *path = path_to("limited");
    CHECK(sparamx_linear_save(linears[0], path) == SPARAMX_OK, "save");
    set_limit(3 * BYTES + BYTES / 2);
    fill_and_go_on(path, EFBIG, raise_limit);
    /* No room for the index: finish fails, once and for all. */
    sparamx_file_writer *writer = NULL;
    CHECK(sparamx_file_writer_create(path, NULL, 0, &writer) == SPARAMX_OK, "create");
    CHECK(sparamx_file_writer_add_linear(writer, "x", linears[0]) == SPARAMX_OK, "add");
    set_limit(FILE_PAGE);
    CHECK(sparamx_file_writer_finish(writer) == SPARAMX_ERR_FILE && errno == EFBIG, "no room for the index");
    raise_limit();
    CHECK(sparamx_file_writer_finish(writer) == SPARAMX_ERR_STATE, "finish again");
    CHECK(sparamx_file_writer_add_linear(writer, "y", linears[0]) == SPARAMX_ERR_STATE, "add after finish");
    sparamx_file_writer_destroy(writer);
    CHECK(which(path) == 1, "what was there before");
}

static char disk[600], ballast[700];
static void remove_ballast(void) { unlink(ballast); }

static void test_full_disk(void) {
    snprintf(disk, sizeof disk, "%s", path_to("disk"));
    snprintf(ballast, sizeof ballast, "%s/ballast", disk);
    pid_t child = fork();
    if (child == 0) { /* mounts go with it */
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mkdir(disk, 0700) != 0 || mount("tmpfs", disk, "tmpfs", 0, "size=4m") != 0)
            _exit(77);
        static uint8_t bytes[1 << 20];
        char path[700];
        snprintf(path, sizeof path, "%s/file", disk);
        checks.passed = checks.failed = 0;
        CHECK(sparamx_linear_save(linears[0], path) == SPARAMX_OK && write_whole(ballast, bytes, sizeof bytes), "save");
        fill_and_go_on(path, ENOSPC, remove_ballast);
        _exit(checks.failed == 0 ? 0 : 1);
    }
    int end = 0;
    waitpid(child, &end, 0);
    rmdir(disk);
    if (WIFEXITED(end) && WEXITSTATUS(end) == 77) SKIP(1, "a full disk: no small tmpfs can be mounted here");
    else CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "a full disk: %x", (unsigned)end);
}

/* -- killed -------------------------------------------------------------------------------------------------------- */

static void test_killed(void) {
    const char *path = path_to("killed"), *fresh = path_to("fresh");
    CHECK(sparamx_linear_save(linears[0], path) == SPARAMX_OK, "save");
    int files = files_in_directory(), seen[2] = {0, 0};
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (child == 0) {
            for (;;) {
                sparamx_linear_save(linears[1], path);
                sparamx_linear_save(linears[0], path);
                sparamx_file_writer *writer = NULL;
                sparamx_file_writer_create(fresh, NULL, 0, &writer);
                sparamx_file_writer_add_linear(writer, "x", linears[0]);
                sparamx_file_writer_destroy(writer);
            }
        }
        usleep((useconds_t)(1000 + i * 700));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        int found = which(path);
        CHECK(found >= 0, "a killed writer left no whole file");
        if (found >= 0) seen[found]++;
        CHECK(!there(fresh), "a killed writer left a file");
    }
    /* A name that was in the directory for a moment, between two steps, may be left; it is a file like any other. */
    int left = files_in_directory() - files;
    CHECK(left <= (unnamed_refused ? 40 : 4), "%d files are left", left);
    CHECK(seen[0] + seen[1] == 40, "%d and %d", seen[0], seen[1]);
}

/* -- interrupted --------------------------------------------------------------------------------------------------- */

static void test_interrupted(void) {
    const char *path = path_to("interrupted");
    calls_interrupted = calls_short = 0;
    trickle = true;
    CHECK(sparamx_linear_save(linears[0], path) == SPARAMX_OK && which(path) == 0, "bytes are missing");
    trickle = false;
    CHECK(calls_interrupted > 50 && calls_short > 50, "%ld interrupted, %ld short", calls_interrupted, calls_short);
}

/* -- cancelled ----------------------------------------------------------------------------------------------------- */

static volatile long entered, left;
static char cancelled_path[600];

static void *save_for_ever(void *unused) {
    for (;;) {
        entered++;
        sparamx_status status = sparamx_linear_save(linears[0], cancelled_path);
        int found = which(cancelled_path);
        left++;
        if (status != SPARAMX_OK || found != 0) return unused;
        pthread_testcancel();
    }
}

/* No call is a cancellation point: each that was begun ends. */
static void test_cancelled(void) {
    snprintf(cancelled_path, sizeof cancelled_path, "%s", path_to("cancelled"));
    int files = files_in_directory();
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *result = NULL;
        pthread_create(&thread, NULL, save_for_ever, NULL);
        usleep((useconds_t)(500 + 370 * i));
        pthread_cancel(thread);
        pthread_join(thread, &result);
        CHECK(result == PTHREAD_CANCELED && entered == left, "%ld calls were begun, %ld ended", entered, left);
        left = entered;
    }
    CHECK(files_in_directory() == files + 1, "files are left");
}

/* -- writers beside each other ------------------------------------------------------------------------------------- */

static void *write_often(void *argument) {
    sparamx_linear *linear = argument;
    for (int i = 0; i < 20; i++) {
        if (sparamx_linear_save(linear, path_to("contested")) != SPARAMX_OK) return argument;
    }
    return NULL;
}

static void test_beside(void) {
    (void)path_to("contested");
    char path[600];
    snprintf(path, sizeof path, "%s", path_to("contested"));
    int files = files_in_directory();
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, write_often, linears[i]);
    for (int i = 0; i < 20; i++) CHECK(!there(path) || which(path) >= 0, "a file that is not whole");
    for (int i = 0; i < 2; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        CHECK(failed == NULL, "writer %d failed", i);
    }
    CHECK(which(path) >= 0 && files_in_directory() == files + 1, "the last one");
}

/* -- lines for the log --------------------------------------------------------------------------------------------- */

static int lines;
static void receive(int32_t level, const char *message, void *user) {
    if (level == SPARAMX_LOG_ERROR && strstr(message, user) != NULL) lines++;
    errno = 9999; /* what a receiver does is no business of errno's */
}

static void test_log(void) {
    lines = 0;
    CHECK(sparamx_set_log(receive, "not there") == SPARAMX_OK, "set_log");
    CHECK(open_status(path_to("not there")) == SPARAMX_ERR_FILE && errno == ENOENT && lines == 0, "%d lines, errno %d",
          lines, errno);
    CHECK(sparamx_linear_save(linears[0], path_to("not there/x")) == SPARAMX_ERR_FILE && errno == ENOENT && lines == 1,
          "%d lines, errno %d", lines, errno);
    sparamx_set_log(NULL, NULL);
}

int main(void) {
    isa_level();
    for (int i = 0; i < 2; i++) {
        fill_weights(SPARAMX_TYPE_BF16, N, K, 0.1, (uint64_t)i + 1, weights[i]);
        linears[i] = pack(weights[i]);
    }
    for (int round = 0; round < 2; round++) {
        unnamed_refused = round == 1;
        test_paths();
        test_permissions();
        test_limit();
        test_full_disk();
        test_killed();
        test_interrupted();
        test_cancelled();
        test_beside();
        test_log();
        empty_directory();
    }
    CHECK(refused_times > 0, "the library does not ask for files without a name");
    for (int i = 0; i < 2; i++) sparamx_linear_destroy(linears[i]);
    return check_end();
}
