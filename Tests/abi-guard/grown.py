#!/usr/bin/env python3
"""grown.py ROOT OUT - makes a copy of the library's sources in OUT in which every struct with a size field has grown by
eight bytes, as Sources/CExports/include/struct_sizes.h says that structs grow, and builds it: OUT/libsparamx.so.
Wherever a struct is read, the copy also refuses the call with SPARAMX_ERR_STATE unless what the host does not have is
zero. So an old program shows that a field that it never heard of is neither read from its memory nor left to chance.
"""
import filecmp
import os
import re
import shutil
import subprocess
import sys


def replaced(text, pattern, new, count=1):
    """The text with the pattern replaced, which must be there `count` times."""
    text, found = re.subn(pattern, new, text)
    if found != count:
        raise SystemExit(f"grown.py: {pattern!r} is there {found} times, not {count}")
    return text


def edit(path, change):
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(change(text))


def grow(root):
    sizes = os.path.join(root, "Sources/CExports/include/struct_sizes.h")
    with open(sizes) as file:
        newest = {}
        for name, number, size in re.findall(r"^    SX_(\w+)_(\d) = (\d+),", file.read(), flags=re.M):
            newest[name] = (int(number), int(size))
    structs = ["sparamx_" + name.lower() for name in newest]

    def header(text, name):
        for struct in structs:
            if (name == "sparamx-kv.h") != (struct in ("sparamx_kv_options", "sparamx_kv_info", "sparamx_attention")):
                continue
            text = replaced(text, r"\n\} " + struct + ";", f"\n    int32_t grown[2];\n}} {struct};")
        return text

    def numbers(text):
        for name, (number, size) in newest.items():
            line = f"    SX_{name}_{number} = {size},"
            text = replaced(text, re.escape(line), f"{line}\n    SX_{name}_{number + 1} = {size + 8},")
        return text

    def assertions(text):
        for name, (number, _) in newest.items():
            text = replaced(text, rf"SX_{name}_{number}\)", f"SX_{name}_{number + 1})")
        return text

    def rows(text):
        for name, (number, _) in newest.items():
            text = replaced(text, rf"Int\(SX_{name}_{number}\)\)",
                            f"Int(SX_{name}_{number}), Int(SX_{name}_{number + 1}))")
        copied = r"(    withUnsafeMutableBytes\(of: &value\) \{ [^\n]*byteCount: counts\) \}\n)    return value\n"
        return replaced(text, copied, r"""\1    let left = withUnsafeBytes(of: value) { bytes in
        var left = false
        for i in counts..<MemoryLayout<T>.size where bytes[i] != 0 { left = true }
        return left
    }
    guard !left else { throw .state }
    return value
""")

    for name in "sparamx.h", "sparamx-kv.h":
        edit(os.path.join(root, "include", name), lambda text: header(text, name))
    edit(sizes, numbers)
    edit(os.path.join(root, "Sources/CExports/api_table.c"), assertions)
    edit(os.path.join(root, "Sources/Sparamx/Growth.swift"), rows)


def follow(fresh, copy):
    """Makes copy what fresh is. Files that are so already are left alone, and are not compiled again."""
    kept = set()
    for folder, _, names in os.walk(fresh):
        for name in names:
            source = os.path.join(folder, name)
            target = os.path.join(copy, os.path.relpath(source, fresh))
            kept.add(target)
            if not (os.path.exists(target) and filecmp.cmp(source, target, shallow=False)):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(source, target)
    for folder, _, names in os.walk(copy):
        for path in (os.path.join(folder, name) for name in names):
            if path not in kept:
                os.remove(path)


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    root, out = map(os.path.abspath, sys.argv[1:])
    copy, fresh = os.path.join(out, "source"), os.path.join(out, "fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    for name in "Sources", "include", "cmake":
        shutil.copytree(os.path.join(root, name), os.path.join(fresh, name))
    shutil.copy(os.path.join(root, "Package.swift"), fresh)
    grow(fresh)
    follow(fresh, copy)
    environment = {name: value for name, value in os.environ.items() if name not in ("CC", "SPARAMX_ORDINARY_SWIFT")}
    scratch = os.path.join(out, "swift")
    subprocess.run([os.environ.get("SPARAMX_SWIFT", "swift"), "build", "-c", "release", "--disable-local-rpath",
                    "--product", "sparamx", "--package-path", copy, "--scratch-path", scratch],
                   check=True, env=environment)
    for name in "libsparamx.so", "libsparamx.so.0":
        shutil.copy(os.path.join(scratch, "release/libsparamx.so"), os.path.join(out, name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
