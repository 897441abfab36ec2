#!/usr/bin/env bash
# numa/run.sh LIBDIR OUTDIR - the library in LIBDIR on a machine with three memory nodes, which qemu-system plays. The
# log is OUTDIR/console.log. Last line: "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(realpath "$0")")
mkdir -p "$2"
lib=$(realpath "$1") out=$(realpath "$2")

skip() {
    echo "SKIPPED 1: a machine with memory nodes: $1"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

for program in qemu-system-x86_64 busybox cpio numactl; do
    command -v "$program" >/dev/null ||
        skip "there is no $program (Debian: qemu-system-x86 busybox-static cpio numactl)"
done
numa=$(ldconfig -p | sed -n 's/.*libnuma\.so\.1 .*x86-64.* => //p' | head -n 1)
[ -n "$numa" ] || skip "there is no libnuma.so.1 (Debian: libnuma1)"

# -- a kernel ----------------------------------------------------------------------------------------------------------

kernel=${NUMA_KERNEL:-}
if [ -z "$kernel" ]; then
    kernel=$(ls "$out"/kernel/boot/vmlinuz-* 2>/dev/null | head -n 1)
fi
if [ -z "$kernel" ]; then
    name=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
    [ -n "$name" ] || skip "apt knows no linux-image-cloud-amd64; NUMA_KERNEL can name a kernel"
    (cd "$out" && timeout 300 apt-get download "$name" && dpkg -x "$name"_*.deb kernel) >"$out/kernel.log" 2>&1 ||
        skip "$name cannot be had, see $out/kernel.log; NUMA_KERNEL can name a kernel"
    rm -f "$out/$name"_*.deb
    kernel=$(ls "$out"/kernel/boot/vmlinuz-* | head -n 1)
fi

# -- what runs inside --------------------------------------------------------------------------------------------------

root=$out/root
rm -rf "$root"
mkdir -p "$root"/{bin,lib,lib64,proc,sys,dev}
"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Werror -I "$here/../../include" -I "$here/../abi" "$here/pages_test.c" \
    "$here/../abi/support.c" -o "$root/bin/pages_test" "-L$lib" -lsparamx -lpthread -lm || {
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
}
cp -L "$lib/libsparamx.so.0" "$numa" "$root/lib/"
cp "$(command -v busybox)" "$(command -v numactl)" "$root/bin/"
for needed in $(ldd "$root/bin/pages_test" "$(command -v busybox)" "$(command -v numactl)" 2>/dev/null |
    grep -o '/[^ ]*\.so[^ ]*'); do
    [ -e "$root/lib/$(basename "$needed")" ] || cp -L "$needed" "$root/lib/"
done
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
cat >"$root/init" <<'END'
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
export LD_LIBRARY_PATH=/lib PATH=/bin
echo "== numactl --hardware"
numactl --hardware
echo "== pages_test"
pages_test
echo "== the end"
/bin/busybox poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1) >"$out/initramfs.gz"

timeout "${NUMA_TIMEOUT:-540}" qemu-system-x86_64 -machine q35 -accel tcg -cpu max -smp 2 -m 768M -display none \
    -serial "file:$out/console.log" -monitor none -no-reboot -nic none \
    -object memory-backend-ram,id=m0,size=256M -numa node,nodeid=0,cpus=0,memdev=m0 \
    -object memory-backend-ram,id=m1,size=256M -numa node,nodeid=1,cpus=1,memdev=m1 \
    -object memory-backend-ram,id=m2,size=256M -numa node,nodeid=2,memdev=m2 \
    -numa dist,src=0,dst=1,val=21 -numa dist,src=0,dst=2,val=30 -numa dist,src=1,dst=2,val=24 \
    -kernel "$kernel" -initrd "$out/initramfs.gz" -append "console=ttyS0 quiet panic=-1 rdinit=/init" \
    >"$out/qemu.log" 2>&1

tr -d '\r' <"$out/console.log" | sed -n '/^== numactl/,/^== the end/p' | tee "$out/inside.log" |
    grep -E '^(available|node|not ok|SKIPPED|  )' | head -n 40
result=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$out/inside.log" | tail -n 1)
if [ -z "$result" ]; then
    echo "not ok: the machine did not get to the end of the test, see $out/console.log and qemu.log"
    result="0 passed, 1 failed, 0 skipped"
fi
echo "$result"
[[ $result == *" 0 failed,"* ]]
