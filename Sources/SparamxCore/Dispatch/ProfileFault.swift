import CPlatform

/// Why a profile is not used.
package struct ProfileFault: Error {
    enum Kind {
        case file, kind, memory, late, foreign, cutOff, format, library, cpu, noCPU, word, count, value, kernel, tokens
        case overlap, accuracy, type, share, twice
    }

    let kind: Kind
    /// Of the file; 0: all of it.
    package let line: Int

    init(_ kind: Kind, line: Int = 0) {
        self.kind = kind
        self.line = line
    }

    package var status: Status {
        switch kind {
        case .file: return .file
        case .kind: return .fileKind
        case .memory: return .noMemory
        case .late: return .state
        case .foreign: return .profileForeign
        case .format, .library: return .profileVersion
        case .cpu, .noCPU: return .profileCPU
        case .accuracy: return .profileAccuracy
        default: return .profileDamaged
        }
    }

    package var sentence: StaticString {
        switch kind {
        case .file: return Status.file.sentence
        case .kind: return Status.fileKind.sentence
        case .memory: return Status.noMemory.sentence
        case .late: return "a profile comes too late: load it before the first object is created"
        case .foreign: return Status.profileForeign.sentence
        case .cutOff: return "the profile was cut off while it was read: load it again"
        case .format: return "the profile is of another version of the format: make it anew with sparamx-bench --tune"
        case .library:
            return "the profile was made with another version of the library: make it anew with sparamx-bench --tune"
        case .cpu:
            return "the profile was made on another CPU: make one here, or write \"cpu any\" to use it all the same"
        case .noCPU: return "the profile lacks its line \"library\" or \"cpu\": make it anew with sparamx-bench --tune"
        case .word: return "a line begins with a word that profiles do not know: kernel, sparse and accuracy are known"
        case .count: return "a line of the profile has too few or too many words: see sparamx_profile_load in sparamx.h"
        case .value: return "a line of the profile has a number or a word that it cannot have there"
        case .kernel: return "the profile names a kernel that is not there: sparamx-bench --list has them all"
        case .tokens: return "the profile gives a kernel tokens that it does not serve: sparamx-bench --list says which"
        case .overlap: return "the profile has two kernels for one type, form and number of tokens: keep one"
        case .accuracy: return Status.profileAccuracy.sentence
        case .type: return "the profile names a type that the library does not have, or that has no sparse form"
        case .share: return "a share of zeros is neither a number from 0 to 100 nor \"never\""
        case .twice: return "the profile says the same thing twice: keep one of the lines"
        }
    }

    /// One line for the host's log: the file and its line, then why.
    package func log(_ path: UnsafePointer<CChar>) {
        // Of a long path the end: it tells more, and the number must stay.
        let room = 88
        var length = 0
        while path[length] != 0 { length += 1 }
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 112) { name in
            var used = 0
            for i in max(0, length - room)..<length {
                name[used] = path[i]
                used += 1
            }
            if line > 0 {
                name[used] = CChar(UInt8(ascii: ":"))
                used += 1
                var divisor = 1
                while line / divisor >= 10 { divisor *= 10 }
                while divisor > 0 {
                    name[used] = CChar(48 + line / divisor % 10)
                    used += 1
                    divisor /= 10
                }
            }
            name[used] = 0
            sx_log(1, UnsafeRawPointer(sentence.utf8Start).assumingMemoryBound(to: CChar.self), name.baseAddress)
        }
    }
}
