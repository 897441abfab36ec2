// Files: one that is read and mapped, and one that is written beside its name and gets the name when it is whole.
// Where something fails, errno says why, and nothing done afterwards here changes it.
#define _GNU_SOURCE
#include "platform.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

int32_t sx_errno(void) { return errno; }

void sx_set_errno(int32_t number) { errno = number; }

int32_t sx_file_open(const char *path, int64_t *size) {
    int cancel = sx_cancel_off();
    // A pipe without a writer would keep the thread waiting, a terminal would become the process's own.
    int file;
    do file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (file < 0 && errno == EINTR);
    struct stat found;
    if (file >= 0 && fstat(file, &found) != 0) {
        sx_file_close(file);
        file = SX_FILE_FAILED;
    } else if (file >= 0 && !S_ISREG(found.st_mode)) {
        sx_file_close(file);
        file = SX_FILE_KIND;
    } else if (file >= 0) {
        *size = found.st_size;
    }
    sx_cancel_restore(cancel);
    return file;
}

void sx_file_close(int32_t file) {
    // Linux has given the number back whatever it reports: a second try would close a file of another thread.
    int before = errno, cancel = sx_cancel_off();
    close(file);
    sx_cancel_restore(cancel);
    errno = before;
}

int32_t sx_file_read(int32_t file, void *to, size_t bytes, int64_t offset) {
    int cancel = sx_cancel_off();
    ssize_t got = 1;
    while (bytes > 0) {
        got = pread(file, to, bytes, offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        to = (char *)to + got;
        bytes -= (size_t)got;
        offset += got;
    }
    sx_cancel_restore(cancel);
    return got > 0 ? 1 : got == 0 ? SX_FILE_ENDED : SX_FILE_FAILED;
}

bool sx_file_map(void *place, size_t bytes, int32_t file, int64_t offset) {
    return mmap(place, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, file, offset) != MAP_FAILED;
}

bool sx_make_constant(void *pointer, size_t bytes) { return mprotect(pointer, bytes, PROT_READ) == 0; }

struct sx_new_file {
    int file, directory;
    bool temporary_is_there;
    char temporary[48], name[NAME_MAX + 1]; // both in the directory
};

// The directory that a path names, opened, and what stands behind the last slash.
static int open_directory(const char *path, char *name) {
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    size_t length = strlen(last), before = (size_t)(last - path);
    if (length == 0 || length > NAME_MAX || before >= PATH_MAX) {
        errno = length > 0 || before >= PATH_MAX ? ENAMETOOLONG : before > 0 ? EISDIR : ENOENT;
        return -1;
    }
    memcpy(name, last, length + 1);
    char *directory = malloc(before + 2);
    if (!directory) return -1;
    memcpy(directory, before ? path : ".", before ? before : 1);
    directory[before ? before : 1] = 0;
    int file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // One may write into a directory that one may not list.
    if (file < 0 && errno == EACCES) file = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int reason = errno;
    free(directory);
    errno = reason;
    return file;
}

// Tries names that nobody has until make succeeds or fails for another reason.
static bool with_free_name(sx_new_file *new, bool (*make)(sx_new_file *new, const char *name)) {
    for (int i = 0; i < 10000; ++i) {
        snprintf(new->temporary, sizeof new->temporary, ".sparamx-%ld-%d", (long)getpid(), i);
        if (make(new, new->temporary)) return new->temporary_is_there = true;
        if (errno != EEXIST) return false;
    }
    return false;
}

static bool create_named(sx_new_file *new, const char *name) {
    new->file = openat(new->directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return new->file >= 0;
}

// How a file without a name is called meanwhile.
static void write_handle(const sx_new_file *new, char *out, size_t room) {
    snprintf(out, room, "/proc/self/fd/%d", new->file);
}

static bool link_named(sx_new_file *new, const char *name) {
    char handle[32];
    write_handle(new, handle, sizeof handle);
    return linkat(AT_FDCWD, handle, new->directory, name, AT_SYMLINK_FOLLOW) == 0;
}

static bool create(sx_new_file *new) {
    // Without a name nothing is left if this process is killed. Not every file system can, and the name that comes in
    // the end comes through /proc.
    new->file = openat(new->directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (new->file >= 0) {
        char handle[32];
        write_handle(new, handle, sizeof handle);
        if (access(handle, F_OK) == 0) return true;
        close(new->file);
    }
    return with_free_name(new, create_named);
}

int32_t sx_new_file_create(const char *path, sx_new_file *_Nullable *out) {
    sx_new_file *new = calloc(1, sizeof *new);
    if (!new) return SX_FILE_NO_MEMORY;
    int cancel = sx_cancel_off(), status = SX_FILE_FAILED;
    new->file = -1;
    new->directory = open_directory(path, new->name);
    struct stat found;
    if (new->directory >= 0) {
        if (fstatat(new->directory, new->name, &found, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(found.st_mode)) {
            status = SX_FILE_KIND;
        } else if (create(new)) {
            status = 0;
        }
    }
    if (status == 0) *out = new;
    else sx_new_file_end(new);
    sx_cancel_restore(cancel);
    return status;
}

bool sx_new_file_write(sx_new_file *new, const void *from, size_t bytes, int64_t offset) {
    // Beyond this limit the kernel would not only refuse: it would end the process by a signal.
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        (bytes > limit.rlim_cur || (uint64_t)offset > limit.rlim_cur - bytes)) {
        errno = EFBIG;
        return false;
    }
    int cancel = sx_cancel_off();
    while (bytes > 0) {
        ssize_t put = pwrite(new->file, from, bytes, offset);
        if (put < 0 && errno == EINTR) continue;
        if (put == 0) errno = EIO;
        if (put <= 0) break;
        from = (const char *)from + put;
        bytes -= (size_t)put;
        offset += put;
    }
    sx_cancel_restore(cancel);
    return bytes == 0;
}

// The name, in one step: what is there before is there until it is replaced.
static bool take_name(sx_new_file *new) {
    if (!new->temporary_is_there) {
        if (link_named(new, new->name)) return true;
        if (errno != EEXIST || !with_free_name(new, link_named)) return false;
    }
    if (renameat(new->directory, new->temporary, new->directory, new->name) != 0) return false;
    new->temporary_is_there = false;
    return true;
}

bool sx_new_file_finish(sx_new_file *new, int64_t size) {
    int cancel = sx_cancel_off(), status;
    do status = ftruncate(new->file, size);
    while (status != 0 && errno == EINTR);
    while (status == 0 && (status = fsync(new->file)) != 0 && errno == EINTR) status = 0;
    bool done = status == 0 && take_name(new);
    // That the name is on the disk too cannot be had everywhere, and the file is there by now.
    if (done) fsync(new->directory);
    sx_cancel_restore(cancel);
    return done;
}

void sx_new_file_end(sx_new_file *new) {
    int before = errno, cancel = sx_cancel_off();
    if (new->temporary_is_there) unlinkat(new->directory, new->temporary, 0);
    if (new->file >= 0) close(new->file);
    if (new->directory >= 0) close(new->directory);
    free(new);
    sx_cancel_restore(cancel);
    errno = before;
}
