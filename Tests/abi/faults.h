/*
 * faults.h - bad arguments: each macro calls a function with one bad pointer after another and expects the status that
 * sparamx.h promises for it.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include "check.h"
#include "first_sizes.h"
#include "support.h"

#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The call must return one of two statuses, where both describe the fault. It is tried in a process of its own first:
 * a trap ends that one and not the tests.
 */
#define EXPECT_EITHER(one, other, call)                                                                                \
    do {                                                                                                               \
        int end_ = 0;                                                                                                  \
        pid_t child_ = fork();                                                                                         \
        if (child_ == 0) {                                                                                             \
            (void)(call);                                                                                              \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        waitpid(child_, &end_, 0);                                                                                     \
        if (!CHECK(WIFEXITED(end_), "%s: died of signal %d", #call, WTERMSIG(end_))) break;                            \
        sparamx_status got_ = (call);                                                                                  \
        CHECK(got_ == (one) || got_ == (other), "%s: %d instead of %d (or %d)", #call, got_, (int)(one),               \
              (int)(other));                                                                                           \
    } while (0)

/* The call must return this status. */
#define EXPECT(want, call) EXPECT_EITHER(want, want, call)

/* P stands in the call for a struct that is missing, misaligned, too small or too large; it must stay as it is. */
#define STRUCT_FAULTS(TYPE, P, good, call) \
    do { \
        STRUCT_FAULTS_IF_THERE(TYPE, P, good, call); \
        TYPE *P = NULL; \
        EXPECT(SPARAMX_ERR_NULL, call); \
    } while (0)

/* The same where NULL stands for the defaults. */
#define STRUCT_FAULTS_IF_THERE(TYPE, P, good, call) \
    do { \
        _Alignas(64) unsigned char room_[sizeof(TYPE) + 16], before_[sizeof(TYPE) + 16]; \
        static const size_t offsets_[] = {1, 2, 4}; \
        static const uint32_t sizes_[] = {0, 4, FIRST_SIZE(TYPE) / 2, FIRST_SIZE(TYPE) - 1, \
                                          struct_limit + 1, UINT32_MAX}; \
        TYPE good_ = (good), *P; \
        for (size_t i_ = 0; i_ < COUNT(offsets_); i_++) { \
            if (offsets_[i_] % _Alignof(TYPE) == 0) continue; \
            memset(room_, 0xa5, sizeof room_); \
            memcpy(room_ + offsets_[i_], &good_, sizeof good_); \
            memcpy(before_, room_, sizeof room_); \
            P = (TYPE *)(void *)(room_ + offsets_[i_]); \
            EXPECT(SPARAMX_ERR_ALIGNMENT, call); \
            CHECK(memcmp(before_, room_, sizeof room_) == 0, "%s: wrote to a misaligned struct", #call); \
        } \
        for (size_t i_ = 0; i_ < COUNT(sizes_); i_++) { \
            memcpy(room_, &good_, sizeof good_); \
            P = (TYPE *)(void *)room_; \
            P->size = sizes_[i_]; \
            memcpy(before_, room_, sizeof room_); \
            EXPECT(SPARAMX_ERR_STRUCT_SIZE, call); \
            CHECK(memcmp(before_, room_, sizeof room_) == 0, "%s: wrote to a struct of size %u", #call, sizes_[i_]); \
        } \
    } while (0)

/* P stands for a missing or misaligned pointer to a result. */
#define OUT_FAULTS(TYPE, P, call) \
    do { \
        _Alignas(64) unsigned char room_[sizeof(TYPE) + 16]; \
        static const unsigned char untouched_[8] = {0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5}; \
        TYPE *P = NULL; \
        EXPECT(SPARAMX_ERR_NULL, call); \
        memset(room_, 0xa5, sizeof room_); \
        P = (TYPE *)(void *)(room_ + 1); \
        EXPECT(SPARAMX_ERR_ALIGNMENT, call); \
        P = (TYPE *)(void *)(room_ + 4); \
        EXPECT(SPARAMX_ERR_ALIGNMENT, call); \
        CHECK(memcmp(room_, untouched_, 8) == 0 && memcmp(room_ + 8, untouched_, 8) == 0, "%s: wrote", #call); \
    } while (0)

/* P stands for no object, a misaligned one, and memory that is none. */
#define HANDLE_FAULTS(TYPE, P, call) \
    do { \
        _Alignas(64) static unsigned char zeros_[512], ones_[512]; \
        memset(ones_, 0xff, sizeof ones_); \
        TYPE *P = NULL; \
        EXPECT(SPARAMX_ERR_NULL, call); \
        P = (TYPE *)(void *)zeros_; \
        EXPECT(SPARAMX_ERR_STATE, call); \
        P = (TYPE *)(void *)ones_; \
        EXPECT(SPARAMX_ERR_STATE, call); \
        P = (TYPE *)(void *)(zeros_ + 1); \
        EXPECT(SPARAMX_ERR_ALIGNMENT, call); \
        P = (TYPE *)(void *)(zeros_ + 8); \
        EXPECT(SPARAMX_ERR_ALIGNMENT, call); \
    } while (0)

#endif
