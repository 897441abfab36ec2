// swift-tools-version: 6.0
import PackageDescription

// The shipped library is Embedded Swift: no runtime, no reflection, libc alone. The ordinary mode of the same sources
// serves `swift test`, which needs the Swift runtime. This is the one place that switches.
let ordinary = Context.environment["SPARAMX_ORDINARY_SWIFT"] == "1"
let mode = ordinary ? [] : ["-enable-experimental-feature", "Embedded"]
// Embedded Swift marks every function as one that nothing unwinds through, and then writes no unwind tables: an
// exception from a host's callback would end the process inside a `try`, and backtraces would stop here. So the mark is
// taken off. Not in kernels: the mark would go from their intrinsics too, which then are not optimized. There line
// tables make the compiler describe frames, and sx_unwind_tables() makes the assembler write that where it is loaded
// with the code.
let unwindTables = ordinary ? []
    : ["-force-remove-attribute=nounwind", "-disable-nounwind-inference"].flatMap { ["-Xllvm", $0] }
// One section per function, so that the linker can drop what is not used, the unused runtime stubs above all.
let sections = ["-Xfrontend", "-function-sections"]
// Testable only where tests are built.
let testable = ordinary ? ["-enable-testing"] : []
let baseline: [SwiftSetting] = [.unsafeFlags(mode + unwindTables + sections + testable + ["-wmo"])]

// Kernels are checked at their front door, so inside them nothing is checked twice. Each kernel target has its own
// instruction sets; nothing outside them is compiled for more than baseline x86-64.
func kernels(_ room: String, _ features: [String]) -> [SwiftSetting] {
    [.define(room), .unsafeFlags(mode + sections + (ordinary ? [] : ["-gline-tables-only"]) + ["-wmo", "-Ounchecked"]
                  + features.flatMap { ["-Xcc", "-m" + $0] })]
}
let avx512 = ["avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vbmi", "avx512vbmi2", "avx512vnni", "avx512bf16",
              "bmi", "bmi2", "popcnt", "fma", "f16c"]
let amx = avx512 + ["amx-tile", "amx-int8", "amx-bf16"]

// Only sparamx_* leaves the library, and nothing it does not use stays in it.
let script = Context.packageDirectory + "/cmake/sparamx.map"
let link: [LinkerSetting] = ordinary ? [] : [
    .unsafeFlags(mode + ["-wmo"] + ["--version-script=" + script, "-soname=libsparamx.so.0", "--gc-sections",
                                    "-z", "defs", "-z", "relro", "-z", "now"].flatMap { ["-Xlinker", $0] })
]

// What runs AVX-512 code on CPUs without it; Tests/swift.sh decides whether it is needed and can be built.
let interpreted = ordinary && Context.environment["SPARAMX_INTERPRETED"] == "1"

// The unit tests, and the tile emulator that runs AMX kernels on CPUs without AMX.
let tests: [Target] = !ordinary ? [] : [
    .target(name: "CTileEmulator", path: "Tests/emulator",
            exclude: ["README.md", "build.sh", "interpreter", "preload", "selftest"],
            publicHeadersPath: "include", cSettings: [.unsafeFlags(["-O3"])]),
    .testTarget(name: "SparamxTests",
                dependencies: ["CKernelABI", "CKernelTable", "CPlatform", "CInstructions", "CTileEmulator",
                               "KernelsReference", "SparamxCore"]
                    + (interpreted ? ["CInterpreter"] : []),
                exclude: ["README.md"],
                swiftSettings: interpreted ? [.define("INTERPRETED")] : []),
] + (!interpreted ? [] : [
    .target(name: "CInterpreter", dependencies: ["CTileEmulator"], path: "Tests/emulator/interpreter",
            exclude: ["README.md", "selftest"],
            publicHeadersPath: "include",
            cSettings: [.unsafeFlags(["-O2", "-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mpopcnt",
                                      "-fno-strict-aliasing"])],
            linkerSettings: [.linkedLibrary("Zydis")])
])

// The README.md of each room is for people.
let signs = ["README.md"]

let package = Package(
    name: "sparamx",
    products: [
        .library(name: "sparamx", type: .dynamic, targets: ["Sparamx"])
    ],
    targets: [
        .systemLibrary(name: "CSparamx", path: "include"),
        .target(name: "CKernelABI", exclude: signs),
        .target(name: "CInstructions", exclude: signs),
        .target(name: "CPlatform", exclude: signs),
        .target(name: "CKernelTable", dependencies: ["CKernelABI"], exclude: signs),
        .target(name: "KernelsReference", dependencies: ["CKernelABI"], exclude: signs,
                swiftSettings: [.define("ROOM_REFERENCE")] + baseline),
        .target(name: "KernelsAVX512", dependencies: ["CKernelABI", "CInstructions"], exclude: signs,
                swiftSettings: kernels("ROOM_AVX512", avx512)),
        .target(name: "KernelsAMX", dependencies: ["CKernelABI", "CInstructions"], exclude: signs,
                swiftSettings: kernels("ROOM_AMX", amx)),
        .target(name: "SparamxCore",
                dependencies: ["CKernelABI", "CKernelTable", "CPlatform", "KernelsReference", "KernelsAVX512",
                               "KernelsAMX"],
                exclude: signs, swiftSettings: baseline),
        .target(name: "CExports", exclude: signs),
        .target(name: "Sparamx", dependencies: ["CSparamx", "CExports", "CPlatform", "SparamxCore"],
                exclude: signs, swiftSettings: baseline, linkerSettings: link),
    ] + tests
)
