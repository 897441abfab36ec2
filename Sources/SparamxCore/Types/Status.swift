/// Why a call did not succeed. Values and sentences are those of sparamx.h.
package enum Status: Int32, Error {
    case ok = 0
    case null = 10, structSize = 11, range = 12, alignment = 13, overlap = 14, type = 15, shape = 16, stride = 17
    case op = 18, foreign = 19
    case noAVX512 = 20, noAMX = 21, amxPermission = 22, amxENOSYS = 23, amxSignalStack = 24, hidden = 25, capped = 26
    case isaName = 27, selfTest = 28
    case noMemory = 30, workSize = 31
    case incomplete = 40, state = 41, damaged = 42, changed = 43
    case file = 50, fileKind = 51, fileForeign = 52, fileVersion = 53, fileDamaged = 54, fileMismatch = 55
    case fileName = 56
    case profileForeign = 60, profileVersion = 61, profileCPU = 62, profileDamaged = 63, profileAccuracy = 64

    /// What is wrong and what to do about it.
    package var sentence: StaticString {
        switch self {
        case .ok: return "success"
        case .null: return "a required pointer is NULL: pass a valid one"
        case .structSize:
            return """
                the size field of a struct is too small, or a field is set that this library does not know: \
                set size to sizeof the struct, the rest to zero, or use a newer library
                """
        case .range:
            return "a number, or an offset plus a size, is outside its range: see the function's comment in sparamx.h"
        case .alignment:
            return """
                a pointer is not aligned: \
                structs need 8 bytes, floats 4, tensors in a buffer the buffer type's alignment
                """
        case .overlap:
            return """
                two regions that must be apart overlap: \
                give results and work area memory of their own, and tensors offsets of their own
                """
        case .type: return "the library has no kernels for this tensor type: leave the tensor to the host"
        case .shape:
            return """
                the dimensions are not allowed or do not fit each other: \
                K must be a multiple of the type's block, and weight, x and dst must agree
                """
        case .stride:
            return """
                a stride is not allowed: \
                weights must be contiguous, rows of x and dst must have contiguous elements and not overlap
                """
        case .op: return "the op kind is not served for these operands: let the host compute it"
        case .foreign:
            return "the tensor is not in a buffer of this library: allocate it there and call init_tensor first"
        case .noAVX512:
            return """
                the CPU lacks AVX-512 (F, BW, VL, DQ, VBMI, VBMI2, VNNI, BF16): \
                only the slow reference kernels run here
                """
        case .noAMX:
            return "the CPU lacks AMX (TILE, INT8, BF16): run on 4th generation Xeon Scalable or later for AMX kernels"
        case .amxPermission:
            return """
                the kernel refused the AMX permission (EPERM or EINVAL): \
                allow arch_prctl(ARCH_REQ_XCOMP_PERM) in the sandbox or virtual machine
                """
        case .amxENOSYS:
            return """
                the kernel does not know the AMX permission request (ENOSYS): \
                it needs Linux 5.16 or later and a sandbox that lets arch_prctl through
                """
        case .amxSignalStack:
            return """
                the kernel refused the AMX permission (ENOSPC): a thread has a signal stack that is too small, enlarge \
                sigaltstack to getauxval(AT_MINSIGSTKSZ) or more
                """
        case .hidden:
            return """
                the CPU has the instructions but the operating system or hypervisor does not enable their registers \
                (XCR0): enable them there
                """
        case .capped:
            return """
                the environment variable SPARAMX_ISA, or the host by sparamx_cap_isa, forbids it: unset it or raise it
                """
        case .isaName: return "the environment variable SPARAMX_ISA holds an unknown name: use reference, avx512 or amx"
        case .selfTest:
            return """
                a start-up product came out wrong: \
                the CPU or its emulation is faulty, set SPARAMX_ISA to a lower level
                """
        case .noMemory: return "memory or address space could not be had: free some, or raise the limit of the process"
        case .workSize:
            return "the work area is smaller than work_size() asked for: ask again with the same op and thread count"
        case .incomplete: return "not every byte of this weight has been uploaded yet: finish set_tensor first"
        case .state:
            return "the object is in a state that does not allow this call: see the function's comment in sparamx.h"
        case .changed:
            return """
                the weights were changed while they were being packed, by another thread or process: \
                keep their memory as it is during the call, then upload them again
                """
        case .damaged:
            return """
                the packed form of this weight is damaged, its memory was changed by something else: \
                destroy it, upload the weight again, and look for stray writes or faulty memory
                """
        case .file:
            return """
                the operating system refused to open, read or write the file: \
                errno says why, look at the path, its permissions and the free space
                """
        case .fileKind:
            return """
                the path does not name a regular file: \
                give that of one, or for a new file a name that is free in a directory that is there
                """
        case .fileForeign: return "the file is no packed file of this library: pack the model again, to another path"
        case .fileVersion:
            return """
                the packed file is of another version of the format or of a machine with another byte order: \
                pack the model again with this library
                """
        case .fileDamaged:
            return """
                the packed file is cut off or changed, or was made to look like one: \
                delete it and pack the model again
                """
        case .fileMismatch:
            return """
                the tensor in the packed file has another type, shape or form than is asked for: \
                it is not of this model, pack the model again
                """
        case .fileName:
            return """
                the packed file has no tensor of this name or, when it is written, has it already, or the name is \
                empty or longer than 159 bytes: see the function's comment in sparamx.h
                """
        case .profileForeign: return "the file is no profile of this library: make one with sparamx-bench --tune"
        case .profileVersion:
            return """
                the profile is of another version of the format or was made with another version of the library: \
                make it anew with sparamx-bench --tune
                """
        case .profileCPU:
            return """
                the profile was made on another CPU, or does not say on which: \
                make one here with sparamx-bench --tune, or write "cpu any" into it
                """
        case .profileDamaged:
            return """
                a line of the profile cannot be understood, the log says which: \
                correct it, or make the profile anew with sparamx-bench --tune
                """
        case .profileAccuracy:
            return """
                the profile wants a kernel that is less accurate than the table's: \
                take the line out, or write "accuracy any" into the profile
                """
        }
    }
}
