import CKernelABI
import CInstructions

/// Runs the body with this library's tile configuration and puts the host's own back. The host may have configured
/// tiles once per thread and never look again (ggml does), so nothing of ours may stay; costs about 0.15 us per call.
///
/// Roles are fixed: tiles 0-3 results, 4-5 activations, 6-7 weights. rows: tokens per tile, second: of tiles
/// 1, 3 and 5. Deep tiles hold 64 bytes of K per token (bf16: 32 k); flat ones 32 bytes (q8: one block of 32, so
/// 8 rows of weights).
/// The first 128 bytes of the scratch area hold the two configurations.
@inline(__always)
func withTiles(rows: Int, second: Int, deep: Bool, _ args: sx_kernel_args, _ body: () -> Void) {
    let saved = UnsafeMutableRawPointer(args.scratch), own = saved + 64
    sx_tile_save_config(saved)
    own.initializeMemory(as: UInt64.self, repeating: 0, count: 8)
    own.storeBytes(of: 1, as: UInt8.self)  // palette 1: 8 tiles of 16 rows of 64 bytes, whatever CPUID says
    var tile = 0
    while tile < 8 {
        let weights = tile >= 6, activations = tile == 4 || tile == 5
        own.storeBytes(of: activations && !deep ? 32 : 64, toByteOffset: 16 + 2 * tile, as: UInt16.self)
        own.storeBytes(of: UInt8(truncatingIfNeeded: weights ? (deep ? 16 : 8) : tile & 1 == 0 ? rows : second),
                       toByteOffset: 48 + tile, as: UInt8.self)
        tile += 1
    }
    sx_tile_load_config(own)
    body()
    // A host without a configuration has none afterwards.
    if saved.load(as: UInt8.self) == 0 { sx_tile_release() } else { sx_tile_load_config(saved) }
}

/// Writes the rows of a result tile to y.
@inline(__always)
func storeTile(_ args: sx_kernel_args, _ tile: UnsafeRawPointer, _ firstToken: Int, _ rows: Int, _ panel: Int) {
    let mask = columnMask(args, panel)
    var out = args.y.data + (firstToken * Int(args.y.ld) + panel * 16)
    var row = 0
    while row < rows {
        sx_mask_store_ps(out, mask, sx_load_ps(tile + row * 64))
        out += Int(args.y.ld)
        row += 1
    }
}
