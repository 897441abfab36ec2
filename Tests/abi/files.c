#define _GNU_SOURCE
#include "files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[256];
static pid_t owner;

static void each_file(void (*act)(const char *path)) {
    DIR *d = opendir(folder);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[600];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        act(path);
    }
    if (d != NULL) closedir(d);
}

static void remove_one(const char *path) {
    if (unlink(path) != 0) rmdir(path);
}

static void remove_all(void) {
    if (getpid() != owner) return;
    each_file(remove_one);
    rmdir(folder);
}

const char *directory(void) {
    if (owner != 0) return folder;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sparamx-test-XXXXXX", base != NULL && base[0] == '/' ? base : "/tmp");
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        exit(2);
    }
    owner = getpid();
    atexit(remove_all);
    return folder;
}

const char *path_to(const char *name) {
    static char paths[8][600];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory(), name);
    return path;
}

static int counted;
static void count_one(const char *path) { counted += path != NULL; }

int files_in_directory(void) {
    counted = 0;
    each_file(count_one);
    return counted;
}

content read_whole(const char *path) {
    content c = {NULL, 0};
    FILE *file = fopen(path, "rb");
    if (file == NULL) return c;
    fseek(file, 0, SEEK_END);
    c.size = (size_t)ftell(file);
    rewind(file);
    c.bytes = must_allocate(c.size + 1);
    if (fread(c.bytes, 1, c.size, file) != c.size) c.size = 0;
    fclose(file);
    return c;
}

bool write_whole(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    if (file == NULL) return false;
    bool good = fwrite(bytes, 1, size, file) == size;
    return fclose(file) == 0 && good;
}

content copy_of(content c) {
    content other = {must_allocate(c.size + 1), c.size};
    memcpy(other.bytes, c.bytes, c.size);
    return other;
}

uint64_t get64(const uint8_t *at) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

uint32_t get32(const uint8_t *at) {
    uint32_t value = 0;
    for (int i = 3; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

void put64(uint8_t *at, uint64_t value) {
    for (int i = 0; i < 8; i++) at[i] = (uint8_t)(value >> (8 * i));
}

void put32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

/* XXH64 with seed 0, from its specification and not from the library. */
#define P1 0x9E3779B185EBCA87u
#define P2 0xC2B2AE3D27D4EB4Fu
#define P3 0x165667B19E3779F9u
#define P4 0x85EBCA77C2B2AE63u
#define P5 0x27D4EB2F165667C5u

static uint64_t turn(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }
static uint64_t lane(uint64_t sum, uint64_t word) { return turn(sum + word * P2, 31) * P1; }

uint64_t xxh64(const void *from, size_t size) {
    const uint8_t *at = from, *end = at + size;
    uint64_t hash = P5;
    if (size >= 32) {
        uint64_t v[4] = {P1 + P2, P2, 0, 0 - P1};
        for (; end - at >= 32; at += 32)
            for (int i = 0; i < 4; i++) v[i] = lane(v[i], get64(at + 8 * i));
        hash = turn(v[0], 1) + turn(v[1], 7) + turn(v[2], 12) + turn(v[3], 18);
        for (int i = 0; i < 4; i++) hash = (hash ^ lane(0, v[i])) * P1 + P4;
    }
    hash += size;
    for (; end - at >= 8; at += 8) hash = turn(hash ^ lane(0, get64(at)), 27) * P1 + P4;
    for (; end - at >= 4; at += 4) hash = turn(hash ^ get32(at) * P1, 23) * P2 + P3;
    for (; at < end; at++) hash = turn(hash ^ *at * P5, 11) * P1;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}

void sign(content c) {
    uint64_t at = get64(c.bytes + AT_INDEX), size = get64(c.bytes + AT_INDEX_BYTES);
    if (at <= c.size && size <= c.size - at) put64(c.bytes + AT_INDEX_SUM, xxh64(c.bytes + at, size));
    put64(c.bytes + AT_SUM, xxh64(c.bytes, AT_SUM));
}

uint8_t *entry_of(content c, int index) { return c.bytes + get64(c.bytes + AT_INDEX) + (size_t)index * ENTRY_BYTES; }
