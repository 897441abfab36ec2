/*
 * sparamx.h - the complete C interface of libsparamx; sparamx-kv.h, which it includes, is a part of it.
 *
 * libsparamx keeps the weight matrices of a (pruned) language model in a packed form and multiplies activations by
 * them on Intel CPUs: Y[M x N] = X[M x K] * W[N x K]^T, with X and Y in float32 and W in one of the GGUF tensor types
 * that sparamx_kernel_get() lists. The host keeps its graph, its threads and its KV cache.
 *
 * There are two ways in. A host built around ggml uses buffers, tensors and ops, which mirror ggml's backend buffer
 * interface call for call. Any other host uses sparamx_linear. Both are reached by linking with -lsparamx, or through
 * dlopen() and the one symbol sparamx_get_api().
 *
 * Conventions, valid for every function unless its own comment says otherwise:
 *   status     A function that can fail returns a sparamx_status. Nothing here aborts, traps or prints. On failure
 *              out-parameters are untouched and the objects involved are as they were before the call.
 *   null       A NULL where a pointer is required gives SPARAMX_ERR_NULL. Destroying NULL does nothing.
 *   structs    Each struct that can grow starts with its size in bytes: set it to sizeof. Zero in any other field is a
 *              default. Structs grow at their end alone, so a host may have a smaller one than the library, down to
 *              that of ABI version 1: the fields it lacks count as zero, and nothing behind it is read or written. A
 *              size between those of two releases counts as the smaller one. A host may also have a larger struct, up
 *              to 4096 bytes: what the library does not know of it must be zero in a struct that is read, for a field
 *              that was set would be passed over, and is left as it is in a struct that is filled in. Any other size
 *              gives SPARAMX_ERR_STRUCT_SIZE.
 *   alignment  Structs and out-parameters are aligned as C aligns them, x, y and ids of products to 4 bytes; data
 *              that is packed or read back and the work area may have any address.
 *   units      Sizes, offsets and strides are in bytes; M, N, K and the ne[] fields count elements.
 *   threads    Functions on different objects may run at the same time. On one object any number of threads may read
 *              (compute, get, info) at the same time; creating, uploading, resetting and destroying one object must
 *              not overlap with any other call on that object. Uploads to different tensors of one buffer may
 *              overlap.
 *   ownership  _create and _load make an object that the caller ends with _destroy, sparamx_file_open one that
 *              sparamx_file_close ends. Strings returned are constant, never NULL, and live as long as the library is
 *              loaded, but for names in files.
 *
 * What a host may rely on around a call (LIMITS.md has the numbers):
 *   cost       Creating, uploading and reading back take time linear in the bytes moved; announcing a tensor, and
 *              each piece of a partial upload, adds a logarithm of how many there are. Two calls cost more than they
 *              look: a write into a weight that is packed unpacks and packs all of it, and reading any byte of one
 *              unpacks the 16 rows around it. Asking (info, supports, work_size, size, resident) takes constant time.
 *              Loading from a packed file reads no codes: of the sparse form bitmaps and offsets, of the dense form
 *              scales and padding, of coded forms tables and exceptions too.
 *   input      Weights may be read more than once during a call. If somebody else changes them meanwhile (another
 *              process that writes to a mapped file), the call fails with SPARAMX_ERR_CHANGED or packs some mixture
 *              of both; nothing is read or written outside, and nothing half done is left. A file that is truncated
 *              while it is mapped raises SIGBUS, as for any reader of the mapping: the host's handler runs, on the
 *              thread that read.
 *   callbacks  The log receiver and the barrier are called without any lock and may call this library. They must
 *              return: an exception or longjmp through the library finds its way (there are unwind tables), but what
 *              the interrupted call had taken is lost, the thread's tile configuration and floating-point mode are
 *              those of a kernel, and sparamx_set_log may wait for ever.
 *   fork       In the child of a process with several threads, functions may be called as in a process of its own,
 *              and objects may be used and destroyed on which no other thread had a call running at the time of the
 *              fork. Objects on which one had may only be read (compute, get, info, verify).
 *   signals    Threads of the library block all signals but faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS,
 *              SIGABRT), which reach the host's handlers from them. The caller's mask is as before. Nothing here may
 *              be called from a signal handler, sparamx_version and sparamx_status_string excepted.
 *   cancel     No function is a cancellation point, but through the host's callbacks.
 *   loader     A constructor may make the first call. libnuma is loaded, and only where a machine has several memory
 *              nodes, by a create call that asks for another SPARAMX_NUMA_* than the default.
 *   floats     Results are those of round-to-nearest with subnormal numbers, whatever mode (MXCSR) the calling thread
 *              is in. Only where BF16 is multiplied by the CPU's instructions for it may subnormal numbers count as
 *              zero, in every mode alike: BF16 weights above level reference, others with many tokens at level amx.
 *              The thread's mode is as before afterwards and while the barrier runs. A NaN among the inputs of a sum
 *              makes the sum a NaN, of any sign and payload; floating-point exceptions neither trap nor leave flags.
 */
#ifndef SPARAMX_H
#define SPARAMX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version stands here and nowhere else; CMake and pkg-config read it from these lines. */
#define SPARAMX_VERSION_MAJOR 0
#define SPARAMX_VERSION_MINOR 1
#define SPARAMX_VERSION_PATCH 0
#define SPARAMX_VERSION_STRING "0.1.0"

/* Number of the binary interface: struct layouts and the order of sparamx_api. Raised only when an old host breaks. */
#define SPARAMX_ABI 1

/* ------------------------------------------------------------------------------------------------------ status -- */

/* One of the SPARAMX_OK / SPARAMX_ERR_* values. 0 is success, every failure is positive. */
typedef int32_t sparamx_status;

enum {
    SPARAMX_OK = 0,

    /* 1x: the arguments */
    SPARAMX_ERR_NULL = 10,        /* a required pointer is NULL */
    SPARAMX_ERR_STRUCT_SIZE = 11, /* the size field of a struct is too small, or more is set than is known here */
    SPARAMX_ERR_RANGE = 12,       /* a number, or an offset plus a size, is outside its range */
    SPARAMX_ERR_ALIGNMENT = 13,   /* a pointer is not aligned for its type or for the buffer */
    SPARAMX_ERR_OVERLAP = 14,     /* two regions that must be apart overlap */
    SPARAMX_ERR_TYPE = 15,        /* the library has no kernels for this tensor type */
    SPARAMX_ERR_SHAPE = 16,       /* the dimensions are not allowed, or do not fit each other */
    SPARAMX_ERR_STRIDE = 17,      /* a stride (nb, ld) is not allowed */
    SPARAMX_ERR_OP = 18,          /* the op kind is unknown or not served for these operands */
    SPARAMX_ERR_FOREIGN = 19,     /* the tensor is not in a buffer of this library, or was not initialised in it */

    /* 2x: what this machine, kernel or environment does not allow */
    SPARAMX_ERR_NO_AVX512 = 20,      /* the CPU lacks AVX-512 F/BW/VL/DQ/VBMI/VBMI2/VNNI/BF16 */
    SPARAMX_ERR_NO_AMX = 21,         /* the CPU lacks AMX-TILE/INT8/BF16 */
    SPARAMX_ERR_AMX_PERMISSION = 22, /* the kernel refused AMX: EPERM or EINVAL */
    SPARAMX_ERR_AMX_ENOSYS = 23,     /* the kernel does not know the AMX request, or a sandbox hides it: ENOSYS */
    SPARAMX_ERR_AMX_SIGALTSTACK = 24, /* the kernel refused AMX: ENOSPC, some thread's signal stack is too small */
    SPARAMX_ERR_HIDDEN = 25,         /* the CPU has it, but operating system or hypervisor do not enable its state */
    SPARAMX_ERR_CAPPED = 26,         /* SPARAMX_ISA or sparamx_cap_isa forbids it */
    SPARAMX_ERR_ISA_NAME = 27,       /* SPARAMX_ISA holds an unknown name */
    SPARAMX_ERR_SELF_TEST = 28,      /* a start-up product came out wrong: this CPU or its emulation is faulty */

    /* 3x: resources */
    SPARAMX_ERR_NO_MEMORY = 30, /* memory, address space or a thread could not be had */
    SPARAMX_ERR_WORK_SIZE = 31, /* the work area is smaller than work_size() asked for */

    /* 4x: data and state */
    SPARAMX_ERR_INCOMPLETE = 40, /* not every byte of this weight has been uploaded yet */
    SPARAMX_ERR_STATE = 41,      /* the object is in a state that does not allow this call */
    SPARAMX_ERR_DAMAGED = 42,    /* the packed form of a weight is not what packing can have written */
    SPARAMX_ERR_CHANGED = 43,    /* the weights were changed by somebody else while they were being packed */

    /* 5x: packed files */
    SPARAMX_ERR_FILE = 50,          /* the operating system refused to open, read or write it: errno says why */
    SPARAMX_ERR_FILE_KIND = 51,     /* the path does not name a regular file */
    SPARAMX_ERR_FILE_FOREIGN = 52,  /* it is no packed file */
    SPARAMX_ERR_FILE_VERSION = 53,  /* it is of another version of the format, or of another byte order */
    SPARAMX_ERR_FILE_DAMAGED = 54,  /* it is cut off or changed, or was made to look like a packed file */
    SPARAMX_ERR_FILE_MISMATCH = 55, /* a tensor in it has another type, shape or form than is asked for */
    SPARAMX_ERR_FILE_NAME = 56,     /* no tensor has this name; when writing: one has it, or the name is not allowed */

    /* 6x: profiles */
    SPARAMX_ERR_PROFILE_FOREIGN = 60,  /* the file is no profile */
    SPARAMX_ERR_PROFILE_VERSION = 61,  /* it is of another version of the format or of the library */
    SPARAMX_ERR_PROFILE_CPU = 62,      /* it was made on another CPU, or does not say on which */
    SPARAMX_ERR_PROFILE_DAMAGED = 63,  /* a line cannot be understood: the log says which one and why */
    SPARAMX_ERR_PROFILE_ACCURACY = 64  /* it wants a less accurate kernel than the table's, and does not allow that */
};

/* One English sentence that says what is wrong and what to do. Unknown values give a sentence too. Thread-safe. */
const char *sparamx_status_string(sparamx_status status);

/* "0.1.0": the version of the library that is loaded, to compare with SPARAMX_VERSION_STRING. */
const char *sparamx_version(void);

/* -------------------------------------------------------------------------------------------------- diagnostics -- */

enum { SPARAMX_LOG_ERROR = 1, SPARAMX_LOG_WARNING = 2, SPARAMX_LOG_INFO = 3 };

/*
 * Receives one line of UTF-8 without a newline and without control characters: in names of tensors each of those,
 * and each byte that is no UTF-8, is shown as '?', and names end after 100 bytes. May be called from any thread that
 * is inside a call of this library, from several at a time.
 */
typedef void (*sparamx_log_fn)(int32_t level, const char *message, void *user);

/*
 * Sets the receiver of messages for the whole process; NULL (the default) discards them. compute() logs nothing.
 * When it returns, no call of the receiver before is running or will be made, so that user may be freed. Called from
 * inside a receiver it does not wait: calls on other threads, and the one it is called from, may still be running.
 * Thread-safe.
 */
sparamx_status sparamx_set_log(sparamx_log_fn log, void *user);

/* Instruction set levels, in rising order. Each level includes those below it. */
enum { SPARAMX_ISA_REFERENCE = 0, SPARAMX_ISA_AVX512 = 1, SPARAMX_ISA_AMX = 2 };

/*
 * What this process may use and why not more. Found out once, at the first call that needs it: CPUID, XGETBV, the
 * kernel's permission for AMX tile data (arch_prctl, asked for the whole process) and small products computed with
 * the instructions themselves, each extension among them (about a millisecond). The environment variable
 * SPARAMX_ISA=reference|avx512|amx caps the level; it is not read in programs that have more rights than their user.
 * Once a process has the AMX permission, the kernel refuses signal stacks (sigaltstack) in it that are too small for
 * tile data: at least getauxval(AT_MINSIGSTKSZ) bytes, about 11 KB. A host with smaller ones caps the level at avx512.
 */
typedef struct sparamx_capability {
    uint32_t size;              /* in: sizeof(sparamx_capability) */
    int32_t isa;                /* the level in use: SPARAMX_ISA_* */
    sparamx_status status;      /* SPARAMX_OK, or SPARAMX_ERR_ISA_NAME: then every create, supports and compute fails */
    sparamx_status avx512;      /* SPARAMX_OK, or why AVX-512 kernels are not used */
    sparamx_status amx;         /* SPARAMX_OK, or why AMX kernels are not used */
    int32_t cpus;               /* CPUs this process may run on */
    int32_t numa_nodes;         /* memory nodes, by the highest that is online */
    int32_t amx_errno;          /* errno of the kernel's refusal, else 0 */
    const char *avx512_reason;  /* sentence for .avx512 */
    const char *amx_reason;     /* sentence for .amx */
    char cpu[64];               /* brand string of the CPU, zero-terminated */
} sparamx_capability;

/* Fills *out. Thread-safe. */
sparamx_status sparamx_get_capability(sparamx_capability *out);

/*
 * Caps the level from inside the program: the lower of this and SPARAMX_ISA holds. isa: SPARAMX_ISA_*, else
 * SPARAMX_ERR_RANGE. Only before the first call that finds the level out (get_capability and everything that creates,
 * asks or computes): SPARAMX_ERR_STATE afterwards, and nothing changes. The last of several calls counts. Thread-safe.
 */
sparamx_status sparamx_cap_isa(int32_t isa);

/*
 * Profiles: which kernels are fastest on a machine, and from how many zeros on its sparse products are faster than
 * dense ones, as "sparamx-bench --tune FILE" measures it. Without a profile the library goes by its kernel table
 * (sparamx_kernel_get) and by bytes. A profile is a text file that may be edited: words between blanks, "#" begins a
 * comment, at most 64 KB. Its lines, of which the first three must be there:
 *   sparamx-profile 1         comes first: the version of the format
 *   library 0.1.0             of the library that was measured: another one refuses it (PROFILE_VERSION)
 *   cpu BRAND STRING          as in sparamx_capability, or "any": another CPU refuses it (PROFILE_CPU)
 *   kernel NAME FIRST LAST    the kernel that serves FIRST...LAST tokens of its type and form; LAST may be "any".
 *                             Ranges of one type and form must be apart. Between them, and where the level in use is
 *                             lower than the kernel's, the table holds.
 *   sparse TYPE SHARE         SPARAMX_FORM_AUTO packs weights of this type (names as in "q4_0") sparse if at least
 *                             SHARE percent of them are zero, and dense if not; "never" for always dense
 *   accuracy any              allows kernels with a lower .accuracy than the table's own choice for the same tokens,
 *                             at any level, which are refused else (PROFILE_ACCURACY)
 * Results stay the same from run to run with one file, and may differ from those without it by what .accuracy says.
 *
 * Loads one. Before the first call that chooses a kernel or a form (supports, work_size, info; whatever packs):
 * SPARAMX_ERR_STATE afterwards. The last of several calls counts. Nothing changes on failure. If a host has loaded
 * none by then, the file that the environment variable SPARAMX_PROFILE names is loaded; the variable is not read in
 * programs that have more rights than their user. Either way a file that is refused is named in one line of the log,
 * with the number of the line that is wrong, and the library goes by its table. Thread-safe. SPARAMX_ERR_FILE: errno
 * says why.
 */
sparamx_status sparamx_profile_load(const char *path);

/* ------------------------------------------------------------------------------------------------ tensors, forms -- */

/* Tensor types by their number in the GGUF file format. Others exist; these are F32 and I32, in which activations,
 * results and ids are, and the ones with kernels, which sparamx_kernel_get() lists. */
enum {
    SPARAMX_TYPE_F32 = 0,
    SPARAMX_TYPE_F16 = 1,
    SPARAMX_TYPE_Q4_0 = 2,
    SPARAMX_TYPE_Q4_1 = 3,
    SPARAMX_TYPE_Q5_0 = 6,
    SPARAMX_TYPE_Q5_1 = 7,
    SPARAMX_TYPE_Q8_0 = 8,
    SPARAMX_TYPE_Q2_K = 10,
    SPARAMX_TYPE_Q3_K = 11,
    SPARAMX_TYPE_Q4_K = 12,
    SPARAMX_TYPE_Q5_K = 13,
    SPARAMX_TYPE_Q6_K = 14,
    SPARAMX_TYPE_IQ4_NL = 20,
    SPARAMX_TYPE_IQ4_XS = 23,
    SPARAMX_TYPE_I32 = 26,
    SPARAMX_TYPE_BF16 = 30,
    SPARAMX_TYPE_MXFP4 = 39,
    SPARAMX_TYPE_NVFP4 = 40,
    SPARAMX_TYPE_Q1_0 = 41, /* in the dense form alone: no bitmap could be smaller than its codes */
    SPARAMX_TYPE_Q2_0 = 42
};

/* How a weight is kept. */
enum {
    SPARAMX_FORM_AUTO = 0,   /* as an option only: whichever of the next two takes fewer bytes by a margin, see
                                FORMAT.md */
    SPARAMX_FORM_DENSE = 1,  /* tiles in multiplication order */
    SPARAMX_FORM_SPARSE = 2, /* a bitmap and the codes that are not background. Q1_0 has no such form, for none could
                                be smaller, and gets the dense one */
    SPARAMX_FORM_RAW = 3,    /* as info only: the bytes as uploaded (incomplete, or a tensor that is no weight) */
    SPARAMX_FORM_CODED = 4,  /* BF16 with four bits for each exponent, without loss: 12 bits for each weight, and 32 for
                                each whose exponent is not among the most frequent of its 16 x 256 weights. Results are
                                those of the dense form by the kernel of the same name, bit for bit. Other types get
                                the dense form */
    SPARAMX_FORM_CODED_SPARSE = 5, /* the same of the weights that are not zero, and a bitmap. Results are those of the
                                sparse form. Other types get the sparse form */
    SPARAMX_FORM_AUTO_CODED = 6 /* as an option only: as AUTO, with the coded forms among them */
};

typedef struct sparamx_buffer sparamx_buffer;
typedef struct sparamx_linear sparamx_linear;

/*
 * A tensor as ggml describes one. For a weight: ne[0] = K, ne[1] = N, ne[2] and ne[3] count matrices; nb[] must be
 * contiguous in the type's own layout. For activations and results: float32, ne[0] contiguous, the other strides free.
 */
typedef struct sparamx_tensor {
    uint32_t size;          /* sizeof(sparamx_tensor) */
    int32_t type;           /* number in the GGUF format, SPARAMX_TYPE_* */
    int64_t ne[4];          /* elements per dimension, each at least 1 */
    uint64_t nb[4];         /* stride in bytes per dimension; nb[0] is the size of one block of the type */
    void *data;             /* where the tensor is; inside a buffer: base + the offset the host chose */
    sparamx_buffer *buffer; /* the buffer that holds it, NULL for the host's own memory */
    const char *name;       /* for messages and packed files, may be NULL */
} sparamx_tensor;

/* ------------------------------------------------------------------------------------------------- buffer type -- */

/* The library has one buffer type. Its memory is not host memory: only this library reads packed bytes. */
const char *sparamx_buffer_type_name(void); /* "SPARAMX" */
size_t sparamx_buffer_type_alignment(void); /* a power of two; tensor->data must be a multiple of it */
size_t sparamx_buffer_type_max_size(void);  /* of one buffer */
bool sparamx_buffer_type_is_host(void);     /* false */

/*
 * Bytes of address space that the tensor needs in a buffer: never less than the tensor's own size, rounded up to the
 * alignment. Any type whose size is given by ne[] and nb[] is accepted, weight or not.
 * SPARAMX_ERR_SHAPE, SPARAMX_ERR_STRIDE or SPARAMX_ERR_RANGE if the sizes are absurd.
 */
sparamx_status sparamx_buffer_type_alloc_size(const sparamx_tensor *tensor, size_t *bytes);

/* ----------------------------------------------------------------------------------------------------- buffers -- */

/* What a buffer is for. Weights are packed when their last byte arrives; in the other kind tensors stay raw. */
enum { SPARAMX_USAGE_WEIGHTS = 0, SPARAMX_USAGE_ANY = 1 };

typedef struct sparamx_buffer_options {
    uint32_t size;        /* sizeof(sparamx_buffer_options) */
    int32_t usage;        /* SPARAMX_USAGE_* */
    int32_t form;         /* SPARAMX_FORM_*, but _RAW: for every weight in the buffer */
    int32_t pack_threads; /* threads for packing one tensor, 0 = the CPUs of this process, at most 16; range 0...64 */
    int32_t numa;         /* SPARAMX_NUMA_* */
} sparamx_buffer_options;

/*
 * Where packed bytes go on machines with several memory nodes. It takes libnuma and changes no result; with one node,
 * and without libnuma, all of these are the default. The last two use no nodes without CPUs (memory expanders).
 *   DEFAULT     as the kernel decides: on the nodes of the threads that pack.
 *   INTERLEAVE  page by page on all nodes in turn: every thread reads most bytes from other nodes, all nodes work.
 *   MIRROR      one copy of each weight per node, and each thread reads the copy of the node whose CPU it is on: every
 *               read is local. Takes the memory of as many copies; info counts one of them, buffer_resident all. Memory
 *               that cannot be had for copies is no failure: one copy is kept, and a line of the log says so.
 *   DISTRIBUTE  one copy; each node has the rows that its threads read, if about as many of a product's threads are on
 *               one node as on another, whatever their numbers ith. Stacks of experts are interleaved.
 * A node that is full gives way to another one (the policy is "preferred", not "bound"). Threads should stay on their
 * nodes: one that moves on reads from afar until the next product.
 */
enum {
    SPARAMX_NUMA_DEFAULT = 0,
    SPARAMX_NUMA_INTERLEAVE = 1,
    SPARAMX_NUMA_MIRROR = 2,
    SPARAMX_NUMA_DISTRIBUTE = 3
};

/*
 * Reserves address space; memory is taken only as tensors arrive, and only what the packed form needs, also in a
 * process that locks its memory (mlockall). options may be NULL. size may be 0. SPARAMX_ERR_RANGE above the maximum
 * size, SPARAMX_ERR_NO_MEMORY if the address space cannot be had.
 */
sparamx_status sparamx_buffer_create(size_t size, const sparamx_buffer_options *options, sparamx_buffer **out);

/* Gives everything back. Tensors in the buffer must not be used afterwards. NULL is fine. */
void sparamx_buffer_destroy(sparamx_buffer *buffer);

/* Start of the address space (aligned to the buffer type), NULL for a NULL buffer. Never read or write through it. */
void *sparamx_buffer_base(const sparamx_buffer *buffer);

/* The size given at creation, 0 for a NULL buffer. */
size_t sparamx_buffer_size(const sparamx_buffer *buffer);

/*
 * Bytes of memory that the buffer's tensors occupy now: packed bytes, of every copy with SPARAMX_NUMA_MIRROR, plus raw
 * bytes of tensors not packed. Of weights loaded from a file only what is the process's own, and not the pages of the
 * file. May be asked while other threads upload.
 */
size_t sparamx_buffer_resident(const sparamx_buffer *buffer);

/* Changes the usage for tensors initialised from now on. */
sparamx_status sparamx_buffer_set_usage(sparamx_buffer *buffer, int32_t usage);

/*
 * Announces a tensor at tensor->data (base + offset). Its contents are zero bytes until it is written. Announcing
 * the same tensor again (same place, same shape) forgets what it held; any other tensor that lies inside an
 * announced one is a view of it, is accepted and changes nothing. SPARAMX_ERR_OVERLAP if it cuts into another
 * tensor, SPARAMX_ERR_RANGE if it leaves the buffer, SPARAMX_ERR_ALIGNMENT if its offset is not a multiple of the
 * alignment.
 */
sparamx_status sparamx_buffer_init_tensor(sparamx_buffer *buffer, const sparamx_tensor *tensor);

/*
 * Writes size bytes of the tensor, from byte offset on, in the tensor's own (GGUF) layout. Parts may come in any order
 * and size and may repeat. A weight is packed when its last missing byte arrives, by threads of the library that end
 * before the call returns; after that a write unpacks it, changes it and packs it again. A whole upload in one call
 * needs no memory beyond the packed form. The tensor is announced first if the host has not done so.
 * SPARAMX_ERR_NO_MEMORY leaves what had arrived before.
 */
sparamx_status sparamx_buffer_set_tensor(sparamx_buffer *buffer, const sparamx_tensor *tensor, const void *data,
                                         size_t offset, size_t size);

/* Reads size bytes back from byte offset on: exactly the bytes that were written, whatever the form. */
sparamx_status sparamx_buffer_get_tensor(const sparamx_buffer *buffer, const sparamx_tensor *tensor, void *data,
                                         size_t offset, size_t size);

/* As set_tensor with size bytes of the given value. */
sparamx_status sparamx_buffer_memset_tensor(sparamx_buffer *buffer, const sparamx_tensor *tensor, uint8_t value,
                                            size_t offset, size_t size);

/* copies pieces of size bytes; piece i goes to offset + i * tensor_stride and comes from data + i * data_stride. Pieces
 * must not overlap in the tensor: SPARAMX_ERR_STRIDE. All are written or none. */
sparamx_status sparamx_buffer_set_tensor_2d(sparamx_buffer *buffer, const sparamx_tensor *tensor, const void *data,
                                            size_t offset, size_t size, size_t copies, size_t tensor_stride,
                                            size_t data_stride);

/* The reverse of set_tensor_2d; here pieces must not overlap in data. */
sparamx_status sparamx_buffer_get_tensor_2d(const sparamx_buffer *buffer, const sparamx_tensor *tensor, void *data,
                                            size_t offset, size_t size, size_t copies, size_t tensor_stride,
                                            size_t data_stride);

/*
 * Copies a whole tensor of the same type and shape into dst, which is in this buffer. src is in any buffer of this
 * library or, with src->buffer NULL, in the host's memory. Copying a tensor onto itself changes nothing.
 */
sparamx_status sparamx_buffer_copy_tensor(sparamx_buffer *buffer, const sparamx_tensor *src,
                                          const sparamx_tensor *dst);

/*
 * Sets every byte of every tensor in the buffer, announced now or later, to value. Weights are packed again, one
 * after the other, each after its old form is gone: there are never two forms of one weight in memory. All or
 * nothing.
 */
sparamx_status sparamx_buffer_clear(sparamx_buffer *buffer, uint8_t value);

/* Forgets all tensors and gives their memory back; the address space stays. */
sparamx_status sparamx_buffer_reset(sparamx_buffer *buffer);

/* ----------------------------------------------------------------------------------------------- tensor traits -- */

enum {
    SPARAMX_OP_MUL_MAT = 1,     /* dst = x * weight^T */
    SPARAMX_OP_MUL_MAT_ID = 2,  /* the same with one expert matrix per token and slot, chosen by ids */
    SPARAMX_OP_UP_GATE = 3,     /* dst = activation(x * weight2^T) * (x * weight^T) */
    SPARAMX_OP_MOE_UP_GATE = 4  /* the same per expert */
};

/*
 * The activation of the fused kinds, in float32: SiLU within 2^-22 of its value, GELU within 2^-22 * (1 + |z|),
 * where its logistic form g / (1 + exp(-z)) has z. An infinite negative gate gives NaN.
 */
enum {
    SPARAMX_ACTIVATION_SILU = 0, /* g / (1 + exp(-g)) */
    SPARAMX_ACTIVATION_GELU = 1  /* its tanh form: g * (1 + tanh(sqrt(2/pi) * (g + 0.044715 * g^3))) / 2 */
};

/*
 * A product as the host's graph has it.
 * MUL_MAT: weight [K, N, B2, B3], x [K, M, X2, X3] float32 with X2 a multiple of B2 and X3 of B3,
 *   dst [N, M, X2, X3].
 * MUL_MAT_ID: weight [K, N, E], one matrix per expert; ids [U, T] int32, the U experts of each of T tokens;
 *   x [K, S, T] float32 with U a multiple of S (1: all experts of a token get the same x); dst [N, U, T]:
 *   dst[:, u, t] = weight[:, :, ids[u, t]]^T * x[:, u % S, t]. An expert that ids does not name is not read.
 * UP_GATE: weight (up) and weight2 (gate) [K, N], x [K, M, X2, X3], dst [N, M, X2, X3]:
 *   dst = f(x * weight2^T) * (x * weight^T), f the activation.
 * MOE_UP_GATE: weight and weight2 [K, N, E]; x, ids and dst as in MUL_MAT_ID; the same f.
 * Both products of a fused kind are bit for bit what MUL_MAT (MUL_MAT_ID) gives; the rest is element by element in
 * float32. The two weights need not have one type. Tensors that a kind does not name are not looked at.
 */
typedef struct sparamx_op {
    uint32_t size;                 /* sizeof(sparamx_op) */
    int32_t kind;                  /* SPARAMX_OP_* */
    const sparamx_tensor *dst;     /* float32, in the host's memory, nb[0] = 4 */
    const sparamx_tensor *weight;  /* in a buffer of this library; one that is not packed (a buffer of usage ANY, or
                                      with buffer NULL the host's own memory) is packed as the product goes: slower */
    const sparamx_tensor *weight2; /* the gate, for the fused kinds */
    const sparamx_tensor *x;       /* float32, in the host's memory, nb[0] = 4 */
    const sparamx_tensor *ids;     /* int32, in the host's memory, nb[0] = 4: for the kinds with experts */
    int32_t activation;            /* of the fused kinds: SPARAMX_ACTIVATION_*, any other gives SPARAMX_ERR_OP */
    float limit;                   /* of the fused kinds: if greater than 0, f is cut at limit, and x * weight^T at
                                      -limit and limit, before they are multiplied; SPARAMX_ERR_RANGE if negative
                                      or NaN */
} sparamx_op;

/* What one of the host's threads brings to compute. All threads of one op pass the same nth, work and op. */
typedef struct sparamx_params {
    uint32_t size;                 /* sizeof(sparamx_params) */
    int32_t ith;                   /* this thread, 0...nth-1 */
    int32_t nth;                   /* threads that work on this op, 1...1024 */
    size_t work_size;              /* bytes at work, at least work_size() */
    void *work;                    /* scratch memory shared by the threads; any alignment; NULL if work_size() is 0 */
    void (*barrier)(void *data);   /* returns when all nth threads have called it; may be NULL if nth is 1. Each
                                      thread calls it once at most in an op, however many matrices that has */
    void *barrier_data;
} sparamx_params;

/*
 * SPARAMX_OK if a weight of this type and shape can be packed here and ops of this kind will be computed. The tensor's
 * data and buffer may be NULL (a host asks before it allocates). A refusal says why; the host then keeps the tensor.
 */
sparamx_status sparamx_supports_weight(const sparamx_tensor *weight, int32_t kind);

/*
 * SPARAMX_OK if compute will take this op. Data pointers and buffers may be NULL; those that are there are judged
 * too: alignment of x, dst and ids, overlap of what is read and what is written, and whether a weight's place in its
 * buffer is its own or still free. What is accepted never fails later for another reason than these, all found
 * before anything is written:
 *   what this call could not see: a pointer that was NULL, a work area that is too small (SPARAMX_ERR_WORK_SIZE) or
 *   overlaps, a weight that has not arrived (SPARAMX_ERR_INCOMPLETE, SPARAMX_ERR_FOREIGN if it was not even
 *   announced); an expert number that is negative or not less than E (SPARAMX_ERR_RANGE).
 */
sparamx_status sparamx_supports_op(const sparamx_op *op);

/* Bytes of work area that compute needs for this op with n_threads threads (1...1024). */
sparamx_status sparamx_work_size(const sparamx_op *op, int32_t n_threads, size_t *bytes);

/*
 * Computes the op. Every one of the nth threads calls it; the result is complete when all have returned, and only
 * then may the work area serve something else. The result does not depend on nth. Arguments are judged alike on
 * every thread and before the first barrier: all threads get the same status; ids must not change meanwhile. dst and
 * work must not overlap each other, x or ids. The calling thread's AMX tile configuration is as before afterwards
 * (tile data is not kept). Allocates nothing, makes no threads, writes no log.
 */
sparamx_status sparamx_compute(const sparamx_params *params, const sparamx_op *op);

/* ----------------------------------------------------------------------------------------------- explanation -- */

/* The kernel that serves tokens (rows of x) m_min...m_max of a weight. */
typedef struct sparamx_kernel_range {
    int64_t m_min;
    int64_t m_max;    /* INT64_MAX for no limit */
    const char *name; /* as in sparamx_kernel_info */
} sparamx_kernel_range;

/* What became of a weight, and why. */
typedef struct sparamx_tensor_info {
    uint32_t size;          /* in: sizeof(sparamx_tensor_info) */
    int32_t type;           /* number in the GGUF format */
    int32_t form;           /* SPARAMX_FORM_* */
    int32_t n_kernels;      /* entries used in kernels[], 8 at most */
    int64_t n, k, matrices; /* rows (outputs), columns (inputs), matrices of this shape */
    uint64_t source_bytes;  /* in the file's layout */
    uint64_t packed_bytes;  /* as kept, all streams and padding; of one copy */
    uint64_t background;    /* codes equal to the background, which the sparse form leaves out: the type's code for
                               zero, or in Q4_1, Q5_1, Q2_K, Q4_K and Q5_K the most frequent code of each group of 32
                               (Q2_K: 16); FORMAT.md names them. 0 in types without a sparse form */
    double sparsity;        /* background / (n * k * matrices), 0...1 */
    double bits_per_weight; /* 8 * packed_bytes / (n * k * matrices) */
    const char *reason;     /* why this form: one sentence */
    sparamx_kernel_range kernels[8]; /* the first of ranges[], for hosts of version 0.1.0 */
    /* The struct of version 0.1.0 ends here. */
    int32_t n_ranges;       /* entries used in ranges[], the others are zero */
    int32_t mapped;         /* 1: the packed form is mapped from a file (sparamx_linear_load), 0: private memory */
    sparamx_kernel_range ranges[16]; /* rising in m, without gaps, from 1 on; with a forced kernel its range alone. If
                                        there are more than fit here, the last m_max is not INT64_MAX */
} sparamx_tensor_info;

/* Fills *info for a tensor in the buffer. Raw tensors have form SPARAMX_FORM_RAW and no kernels. */
sparamx_status sparamx_buffer_tensor_info(const sparamx_buffer *buffer, const sparamx_tensor *tensor,
                                          sparamx_tensor_info *info);

/*
 * Looks whether the packed form of a weight is still what packing can have written: sizes as type and dimensions
 * demand, every chunk of codes as long as its part of the bitmap says and where its offset says, padding empty. If
 * so, no kernel and no read-back touches anything outside the packed form, whatever its codes and scales are.
 * SPARAMX_ERR_DAMAGED if not: destroy the object (that is safe), upload the weight again, and suspect a stray write
 * or faulty memory. A change inside a code or a scale is not found: any bits are a weight. Reads at most the packed
 * bytes of every copy once, on the calling thread, and allocates nothing; for servers that check now and then.
 * SPARAMX_ERR_INCOMPLETE while the weight is not packed yet, SPARAMX_ERR_STATE for a tensor that stays raw.
 */
sparamx_status sparamx_buffer_verify_tensor(const sparamx_buffer *buffer, const sparamx_tensor *tensor);

/* A row of the kernel table, which is the support matrix of the library. */
typedef struct sparamx_kernel_info {
    uint32_t size;    /* in: sizeof(sparamx_kernel_info) */
    int32_t isa;      /* level it needs */
    int32_t type;     /* weight type */
    int32_t form;     /* SPARAMX_FORM_DENSE, _SPARSE, _CODED or _CODED_SPARSE */
    int64_t m_min;    /* tokens it can serve */
    int64_t m_max;    /* INT64_MAX for no limit */
    int64_t m_plan;   /* tokens from which the plan wants it: the plan takes the last usable row with
                         m_plan <= M and m_min <= M <= m_max, where no profile says otherwise */
    int32_t exact;    /* 1: bit-equal to the reference kernel on the same input; 0: within the bound in README */
    sparamx_status usable; /* SPARAMX_OK, or why this machine does not run it */
    const char *name;
    /* The struct of version 0.1.0 ends here. */
    int32_t accuracy; /* rising: 0 rounds weights or activations to a type with fewer bits than theirs, 1 sums in
                         another order than the reference, 2 is bit-equal to it (.exact) */
    int32_t reserved; /* 0 */
} sparamx_kernel_info;

/* Rows of the kernel table. */
int32_t sparamx_kernel_count(void);

/* Fills *out with row index (0...count-1), SPARAMX_ERR_RANGE beyond. */
sparamx_status sparamx_kernel_get(int32_t index, sparamx_kernel_info *out);

/* ---------------------------------------------------------------------------------------------------- linear -- */

typedef struct sparamx_linear_options {
    uint32_t size;        /* sizeof(sparamx_linear_options) */
    int32_t form;         /* SPARAMX_FORM_*, but _RAW */
    int32_t pack_threads; /* as in sparamx_buffer_options */
    int32_t numa;         /* as in sparamx_buffer_options */
    const char *kernel;   /* NULL, or the name of the one kernel to use (benchmarks, tests): SPARAMX_ERR_RANGE if the
                             table has no such row for this type and form (or, later, if it cannot serve M), its
                             .usable status if it cannot run */
} sparamx_linear_options;

/*
 * Packs an N x K matrix. data: N rows of K elements in the type's GGUF layout, row_stride bytes apart (0: packed
 * tightly); it is only read during the call. K must be a multiple of the type's block: 1 for BF16 and F16, 64 for NVFP4
 * and Q2_0, 128 for Q1_0, 256 for Q2_K to Q6_K and IQ4_XS, 32 for the others; N and K at least 1. options may be NULL.
 */
sparamx_status sparamx_linear_create(int32_t type, int64_t n, int64_t k, const void *data, size_t row_stride,
                                     const sparamx_linear_options *options, sparamx_linear **out);

/* NULL is fine. */
void sparamx_linear_destroy(sparamx_linear *linear);

/* Writes rows row...row+count-1 of the matrix as they were given to create, tightly packed, to data. */
sparamx_status sparamx_linear_read(const sparamx_linear *linear, int64_t row, int64_t count, void *data);

/* Bytes of work area that compute needs for m tokens and n_threads threads. m: 1...2^31-1. */
sparamx_status sparamx_linear_work_size(const sparamx_linear *linear, int64_t m, int32_t n_threads, size_t *bytes);

/*
 * y[i * ldy + j] = sum over l of x[i * ldx + l] * W[j, l], for m rows i. ldx >= K and ldy >= N are in elements.
 * Threads, work area and tile state as in sparamx_compute.
 */
sparamx_status sparamx_linear_compute(const sparamx_linear *linear, const sparamx_params *params, int64_t m,
                                      const float *x, int64_t ldx, float *y, int64_t ldy);

/*
 * One call of a whole layer, for hosts whose activations are no float32 and whose threads come and go, such as PyTorch:
 * y = x * W^T + bias. Each of x, y and bias is SPARAMX_TYPE_F32, _F16 or _BF16, any other type gives
 * SPARAMX_ERR_TYPE; its data are aligned to one element. x is widened exactly; the sum and the bias are added in
 * float32 and rounded once, to nearest, to y's type. With float32 and no bias the results are those of
 * sparamx_linear_compute, bit for bit.
 */
typedef struct sparamx_linear_call {
    uint32_t size;       /* sizeof(sparamx_linear_call) */
    int32_t x_type, y_type, bias_type;
    int64_t m;           /* tokens, 0...2^31-1: rows of x and y. Nothing is done for 0 */
    int64_t ldx, ldy;    /* from row to row, in elements: ldx >= K, ldy >= N */
    const void *x;
    void *y;             /* apart from all the others */
    const void *bias;    /* N elements, or NULL */
    /*
     * Runs task(index, data) for every index 0...count-1, each once, on any threads, in any order, one after another
     * or at the same time, and returns when all are done. It is called once or twice, with count = tasks, and makes
     * what one call wrote visible to the next, as the end of a parallel loop does (OpenMP's, TBB's, at::parallel_for
     * of PyTorch). May be NULL: the tasks then run on the calling thread.
     */
    void (*parallel)(void (*task)(int32_t index, void *data), void *data, int32_t count, void *user);
    void *user;          /* handed to parallel */
    int32_t tasks;       /* shares of the work, 1...1024: as many as threads are free. Results do not depend on it */
    int32_t reserved;    /* 0, else SPARAMX_ERR_RANGE */
    size_t work_size;    /* bytes at work, at least sparamx_linear_call_work_size() */
    void *work;          /* scratch memory; any alignment */
} sparamx_linear_call;

/* Bytes of work area that this call needs. x, y, bias and work may be NULL; a bias counts if bias is not NULL. */
sparamx_status sparamx_linear_call_work_size(const sparamx_linear *linear, const sparamx_linear_call *call,
                                             size_t *bytes);

/*
 * Computes y. The calling thread alone checks; nothing is written on failure, but for SPARAMX_ERR_STATE: parallel
 * returned although not every task had run, and y is not complete. Tile state and floating-point mode of every thread
 * are as before. Allocates nothing, makes no threads, writes no log. Any number of calls on one linear may run at the
 * same time, each with its own y and work.
 */
sparamx_status sparamx_linear_apply(const sparamx_linear *linear, const sparamx_linear_call *call);

/* Fills *info. */
sparamx_status sparamx_linear_info(const sparamx_linear *linear, sparamx_tensor_info *info);

/* As sparamx_buffer_verify_tensor. */
sparamx_status sparamx_linear_verify(const sparamx_linear *linear);

/* ------------------------------------------------------------------------------------------------ packed files -- */

/*
 * A file that holds packed weights as they are in memory: packed once, written once, mapped as often as wanted. What is
 * loaded from it is not read and not packed again; its pages are those of the page cache, which all processes share
 * that have loaded it, and which the kernel may drop and read anew. FORMAT.md says how the file lies, to the byte.
 *   use        Write to a path with a writer, or with sparamx_linear_save and sparamx_buffer_save. Give the file a key
 *              that says what it was made of (a hash of the model file, its size and date): a host that opens it and
 *              finds another key packs anew.
 *   levels     The form does not depend on the instruction set: a file may be written at one level, on one machine,
 *              and be loaded at another, on another.
 *   trust      A file is judged before it is used. The index, which has a checksum, when it is opened; each tensor when
 *              it is loaded, as sparamx_linear_verify does, before any kernel may read it: so a file that is damaged,
 *              or was made to do harm, is refused or gives wrong numbers, and nothing is read outside of its mapping.
 *              Whether codes and scales are those that were written, only sparamx_file_verify tells.
 *   changes    A file that is replaced (rename), removed or written again by this library stays as it was for those
 *              who have loaded it. One that is written to in place gives other numbers, but nothing outside of its
 *              mapping is read even then. One that is made shorter raises SIGBUS, as any mapping does: do neither. So
 *              does a disk that fails.
 *   errno      After SPARAMX_ERR_FILE errno says why. Other calls may change it, too.
 *   log        The receiver of sparamx_set_log gets a line with the path or name for each failure to write, verify or
 *              load, and none from sparamx_file_open.
 *   threads    An open file may be used by any number of threads at the same time, but for sparamx_file_close; a
 *              writer by one thread at a time. Not a cancellation point, as everything here.
 */
typedef struct sparamx_file sparamx_file;
typedef struct sparamx_file_writer sparamx_file_writer;

enum {
    SPARAMX_FILE_KEY_MAX = 256,      /* bytes of a key */
    SPARAMX_FILE_NAME_MAX = 159,     /* bytes of a tensor's name, without the zero behind it */
    SPARAMX_FILE_TENSORS_MAX = 65536 /* tensors of a file */
};

/*
 * Begins a file that will be at path. key: key_size bytes of any kind, 0...SPARAMX_FILE_KEY_MAX (SPARAMX_ERR_RANGE);
 * NULL if there are none. Until finish has succeeded nothing is at path, or what was there before, also if this
 * process is killed or the disk is full. The bytes go to the path's directory meanwhile, without a name, or where the
 * file system cannot have that, under one that starts with ".sparamx-", which a process that is killed may leave.
 * SPARAMX_ERR_FILE_KIND if something is at path that is no regular file, a link included; SPARAMX_ERR_FILE if the
 * directory is not there or refuses; SPARAMX_ERR_NO_MEMORY.
 */
sparamx_status sparamx_file_writer_create(const char *path, const void *key, size_t key_size,
                                          sparamx_file_writer **out);

/*
 * Writes a packed weight of a buffer. name: 1...SPARAMX_FILE_NAME_MAX bytes that no tensor of the file has yet
 * (SPARAMX_ERR_FILE_NAME); NULL: that of the tensor. SPARAMX_ERR_INCOMPLETE while the weight is not packed,
 * SPARAMX_ERR_STATE for a tensor that stays raw or after finish, SPARAMX_ERR_DAMAGED if verify would say so,
 * SPARAMX_ERR_RANGE beyond SPARAMX_FILE_TENSORS_MAX tensors or 2^42 bytes. SPARAMX_ERR_FILE if the disk is full, or the
 * file as long as RLIMIT_FSIZE allows (EFBIG; no SIGXFSZ is raised). After a failure the file is as if the call had not
 * been made, and more may be added.
 */
sparamx_status sparamx_file_writer_add(sparamx_file_writer *writer, const char *name, const sparamx_buffer *buffer,
                                       const sparamx_tensor *tensor);

/* The same for a linear, of which ne is [K, N, 1, 1]. name must not be NULL. */
sparamx_status sparamx_file_writer_add_linear(sparamx_file_writer *writer, const char *name,
                                              const sparamx_linear *linear);

/*
 * Writes the index, waits until all of it is on the disk, and puts the file at path, in one step. A file without
 * tensors is fine. Whether it succeeds or fails, the writer can only be destroyed afterwards: SPARAMX_ERR_STATE.
 */
sparamx_status sparamx_file_writer_finish(sparamx_file_writer *writer);

/* NULL is fine. A file that was not finished is gone. */
void sparamx_file_writer_destroy(sparamx_file_writer *writer);

/* Writes one linear, under the name "linear" and without a key, to a file of its own: writer, add, finish in one. */
sparamx_status sparamx_linear_save(const sparamx_linear *linear, const char *path);

/*
 * Writes all weights of a buffer, each under the name it was announced with and without a key, to one file. Tensors
 * that stay raw are left out. SPARAMX_ERR_INCOMPLETE if a weight has not arrived, SPARAMX_ERR_FILE_NAME if one has no
 * name, one that is too long, or that of another. Nothing may be uploaded meanwhile.
 */
sparamx_status sparamx_buffer_save(const sparamx_buffer *buffer, const char *path);

/*
 * Opens a file and judges its header and index; takes memory for these, 256 bytes for each tensor and 8 for each MiB.
 * SPARAMX_ERR_FILE (ENOENT, EACCES, ...); SPARAMX_ERR_FILE_KIND for a directory, a pipe, a device;
 * SPARAMX_ERR_FILE_FOREIGN for any other file; SPARAMX_ERR_FILE_VERSION for a file of another version of the format or
 * another byte order; SPARAMX_ERR_FILE_DAMAGED for one that is cut off or changed. In each case but the first two the
 * host may pack anew and write over it.
 */
sparamx_status sparamx_file_open(const char *path, sparamx_file **out);

/* What was loaded from the file stays. NULL is fine. */
void sparamx_file_close(sparamx_file *file);

/* The key, *size bytes at *key, which live until the file is closed. */
sparamx_status sparamx_file_key(const sparamx_file *file, const void **key, size_t *size);

/* Tensors in the file, 0 for NULL. */
int32_t sparamx_file_count(const sparamx_file *file);

/* A tensor of a file, as the index has it. */
typedef struct sparamx_file_tensor {
    uint32_t size;         /* in: sizeof(sparamx_file_tensor) */
    int32_t type;          /* number in the GGUF format; may be one that this library does not serve */
    int32_t form;          /* SPARAMX_FORM_DENSE, _SPARSE, _CODED or _CODED_SPARSE */
    int32_t name_size;     /* bytes of the name, without the zero behind it */
    int64_t ne[4];         /* as in sparamx_tensor: ne[0] = K, ne[1] = N, ne[2] and ne[3] count matrices */
    uint64_t packed_bytes; /* in the file and in memory, all streams and padding */
    uint64_t background;   /* as in sparamx_tensor_info */
    uint64_t offset;       /* in the file, a multiple of 4096 */
    const char *name;      /* lives until the file is closed; any bytes but zero */
} sparamx_file_tensor;

/* Fills *info with tensor index (0...count-1, ordered by name as strcmp does), SPARAMX_ERR_RANGE beyond. */
sparamx_status sparamx_file_info(const sparamx_file *file, int32_t index, sparamx_file_tensor *info);

/* The index of the tensor of this name, SPARAMX_ERR_FILE_NAME if there is none. */
sparamx_status sparamx_file_find(const sparamx_file *file, const char *name, int32_t *index);

/*
 * Reads all of a tensor and compares the checksums of its blocks of 1 MiB: SPARAMX_ERR_FILE_DAMAGED if a byte is not
 * what was written. For hosts that doubt their disk; loading does not do it, because it would read everything.
 * Takes 1 MiB of memory meanwhile.
 */
sparamx_status sparamx_file_verify(const sparamx_file *file, int32_t index);

/*
 * A linear whose packed form is mapped from the file. It works like any other, is ended by sparamx_linear_destroy, and
 * outlives the file object. options may be NULL. Its form must be SPARAMX_FORM_AUTO, _AUTO_CODED or that of the file
 * (SPARAMX_ERR_FILE_MISMATCH); pack_threads and numa are checked and do nothing; kernel as in sparamx_linear_create.
 * SPARAMX_ERR_TYPE for a type that is not served here, SPARAMX_ERR_SHAPE for a tensor of several matrices,
 * SPARAMX_ERR_FILE_DAMAGED if the tensor is not what packing can have written, SPARAMX_ERR_NO_MEMORY.
 * Of memory of its own it takes what the offsets need: 8 bytes for 4,096 weights in sparse and coded forms.
 */
sparamx_status sparamx_linear_load(const sparamx_file *file, int32_t index, const sparamx_linear_options *options,
                                   sparamx_linear **out);

/*
 * Gives a weight of a buffer its contents from a file, in place of what it had; announces it if the host has not. Type
 * and ne must be those of the file, and the form that of the buffer's options, or these SPARAMX_FORM_AUTO or
 * _AUTO_CODED: SPARAMX_ERR_FILE_MISMATCH. SPARAMX_ERR_STATE if the tensor is not one that this buffer packs; the rest
 * as in sparamx_linear_load and sparamx_buffer_init_tensor. The weight works like any other: a write into it unpacks
 * it and packs it anew into memory of the process, and clear and reset end the mapping.
 */
sparamx_status sparamx_buffer_load_tensor(sparamx_buffer *buffer, const sparamx_tensor *tensor,
                                          const sparamx_file *file, int32_t index);

/* --------------------------------------------------------------------------------------- key-value caches -- */

#include "sparamx-kv.h"

/* ----------------------------------------------------------------------------------------- one symbol for dlopen -- */

/* Every function above, for hosts that load the library at run time. Grows only at its end. */
typedef struct sparamx_api {
    uint32_t size; /* sizeof(sparamx_api) in the library that is loaded */
    uint32_t abi;  /* SPARAMX_ABI of the library that is loaded */

    const char *(*version)(void);
    const char *(*status_string)(sparamx_status status);
    sparamx_status (*set_log)(sparamx_log_fn log, void *user);
    sparamx_status (*get_capability)(sparamx_capability *out);

    const char *(*buffer_type_name)(void);
    size_t (*buffer_type_alignment)(void);
    size_t (*buffer_type_max_size)(void);
    bool (*buffer_type_is_host)(void);
    sparamx_status (*buffer_type_alloc_size)(const sparamx_tensor *tensor, size_t *bytes);

    sparamx_status (*buffer_create)(size_t size, const sparamx_buffer_options *options, sparamx_buffer **out);
    void (*buffer_destroy)(sparamx_buffer *buffer);
    void *(*buffer_base)(const sparamx_buffer *buffer);
    size_t (*buffer_size)(const sparamx_buffer *buffer);
    size_t (*buffer_resident)(const sparamx_buffer *buffer);
    sparamx_status (*buffer_set_usage)(sparamx_buffer *buffer, int32_t usage);
    sparamx_status (*buffer_init_tensor)(sparamx_buffer *buffer, const sparamx_tensor *tensor);
    sparamx_status (*buffer_set_tensor)(sparamx_buffer *buffer, const sparamx_tensor *tensor, const void *data,
                                        size_t offset, size_t size);
    sparamx_status (*buffer_get_tensor)(const sparamx_buffer *buffer, const sparamx_tensor *tensor, void *data,
                                        size_t offset, size_t size);
    sparamx_status (*buffer_memset_tensor)(sparamx_buffer *buffer, const sparamx_tensor *tensor, uint8_t value,
                                           size_t offset, size_t size);
    sparamx_status (*buffer_set_tensor_2d)(sparamx_buffer *buffer, const sparamx_tensor *tensor, const void *data,
                                           size_t offset, size_t size, size_t copies, size_t tensor_stride,
                                           size_t data_stride);
    sparamx_status (*buffer_get_tensor_2d)(const sparamx_buffer *buffer, const sparamx_tensor *tensor, void *data,
                                           size_t offset, size_t size, size_t copies, size_t tensor_stride,
                                           size_t data_stride);
    sparamx_status (*buffer_copy_tensor)(sparamx_buffer *buffer, const sparamx_tensor *src, const sparamx_tensor *dst);
    sparamx_status (*buffer_clear)(sparamx_buffer *buffer, uint8_t value);
    sparamx_status (*buffer_reset)(sparamx_buffer *buffer);

    sparamx_status (*supports_weight)(const sparamx_tensor *weight, int32_t kind);
    sparamx_status (*supports_op)(const sparamx_op *op);
    sparamx_status (*work_size)(const sparamx_op *op, int32_t n_threads, size_t *bytes);
    sparamx_status (*compute)(const sparamx_params *params, const sparamx_op *op);

    sparamx_status (*buffer_tensor_info)(const sparamx_buffer *buffer, const sparamx_tensor *tensor,
                                         sparamx_tensor_info *info);
    int32_t (*kernel_count)(void);
    sparamx_status (*kernel_get)(int32_t index, sparamx_kernel_info *out);

    sparamx_status (*linear_create)(int32_t type, int64_t n, int64_t k, const void *data, size_t row_stride,
                                    const sparamx_linear_options *options, sparamx_linear **out);
    void (*linear_destroy)(sparamx_linear *linear);
    sparamx_status (*linear_read)(const sparamx_linear *linear, int64_t row, int64_t count, void *data);
    sparamx_status (*linear_work_size)(const sparamx_linear *linear, int64_t m, int32_t n_threads, size_t *bytes);
    sparamx_status (*linear_compute)(const sparamx_linear *linear, const sparamx_params *params, int64_t m,
                                     const float *x, int64_t ldx, float *y, int64_t ldy);
    sparamx_status (*linear_info)(const sparamx_linear *linear, sparamx_tensor_info *info);

    sparamx_status (*buffer_verify_tensor)(const sparamx_buffer *buffer, const sparamx_tensor *tensor);
    sparamx_status (*linear_verify)(const sparamx_linear *linear);
    sparamx_status (*cap_isa)(int32_t isa);

    sparamx_status (*file_writer_create)(const char *path, const void *key, size_t key_size, sparamx_file_writer **out);
    sparamx_status (*file_writer_add)(sparamx_file_writer *writer, const char *name, const sparamx_buffer *buffer,
                                      const sparamx_tensor *tensor);
    sparamx_status (*file_writer_add_linear)(sparamx_file_writer *writer, const char *name,
                                             const sparamx_linear *linear);
    sparamx_status (*file_writer_finish)(sparamx_file_writer *writer);
    void (*file_writer_destroy)(sparamx_file_writer *writer);
    sparamx_status (*file_open)(const char *path, sparamx_file **out);
    void (*file_close)(sparamx_file *file);
    sparamx_status (*file_key)(const sparamx_file *file, const void **key, size_t *size);
    int32_t (*file_count)(const sparamx_file *file);
    sparamx_status (*file_info)(const sparamx_file *file, int32_t index, sparamx_file_tensor *info);
    sparamx_status (*file_find)(const sparamx_file *file, const char *name, int32_t *index);
    sparamx_status (*file_verify)(const sparamx_file *file, int32_t index);
    sparamx_status (*linear_load)(const sparamx_file *file, int32_t index, const sparamx_linear_options *options,
                                  sparamx_linear **out);
    sparamx_status (*buffer_load_tensor)(sparamx_buffer *buffer, const sparamx_tensor *tensor, const sparamx_file *file,
                                         int32_t index);
    sparamx_status (*linear_save)(const sparamx_linear *linear, const char *path);
    sparamx_status (*buffer_save)(const sparamx_buffer *buffer, const char *path);
    sparamx_status (*linear_call_work_size)(const sparamx_linear *linear, const sparamx_linear_call *call,
                                            size_t *bytes);
    sparamx_status (*linear_apply)(const sparamx_linear *linear, const sparamx_linear_call *call);

    sparamx_status (*kv_create)(const sparamx_kv_options *options, sparamx_kv **out);
    void (*kv_destroy)(sparamx_kv *kv);
    sparamx_status (*kv_write)(sparamx_kv *kv, const int64_t *cells, int64_t n, const void *k, uint64_t k_stride,
                               const void *v, uint64_t v_stride);
    sparamx_status (*kv_touch)(sparamx_kv *kv, int64_t first, int64_t n);
    sparamx_status (*kv_remove)(sparamx_kv *kv, int64_t first, int64_t n);
    sparamx_status (*kv_copy)(sparamx_kv *dst, int64_t to, const sparamx_kv *src, int64_t from, int64_t n);
    sparamx_status (*kv_read)(const sparamx_kv *kv, int64_t first, int64_t n, float *k, float *v);
    sparamx_status (*kv_observe)(sparamx_kv *kv, const sparamx_tensor *q);
    sparamx_status (*kv_pack)(sparamx_kv *kv, const sparamx_params *params, int64_t newest);
    sparamx_status (*kv_get_info)(const sparamx_kv *kv, sparamx_kv_info *info);
    sparamx_status (*kv_verify)(const sparamx_kv *kv);
    sparamx_status (*attention_supports)(const sparamx_attention *attention);
    sparamx_status (*attention_work_size)(const sparamx_attention *attention, int32_t n_threads, size_t *bytes);
    sparamx_status (*attention_compute)(const sparamx_params *params, const sparamx_attention *attention);
    sparamx_status (*kv_save)(const sparamx_kv *kv, bool (*write)(const void *data, size_t size, void *user),
                              void *user);
    sparamx_status (*kv_load)(bool (*read)(void *data, size_t size, void *user), void *user, sparamx_kv **out);

    sparamx_status (*profile_load)(const char *path);
} sparamx_api;

/*
 * The table for this interface number (pass SPARAMX_ABI), or NULL if the library does not speak it. The table is
 * constant and lives as long as the library is loaded. Check .size before using a function added in a later version.
 */
const sparamx_api *sparamx_get_api(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif /* SPARAMX_H */
