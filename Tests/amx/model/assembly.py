"""assembly.py - the text of instructions, as objdump writes it: operands, registers, ports."""

import re
import subprocess


def disassemble(library):
    """Text of each instruction by its offset."""
    command = ["objdump", "-d", "-w", "--no-show-raw-insn", library]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        int(m[1], 16): m[2].split("#")[0].strip() for m in re.finditer(r"^\s*([0-9a-f]+):\t(.*)$", text, re.MULTILINE)
    }


GPR = {}
for i, (a, b, c, e) in enumerate(
    [
        ("rax", "eax", "ax", "al"),
        ("rcx", "ecx", "cx", "cl"),
        ("rdx", "edx", "dx", "dl"),
        ("rbx", "ebx", "bx", "bl"),
        ("rsp", "esp", "sp", "spl"),
        ("rbp", "ebp", "bp", "bpl"),
        ("rsi", "esi", "si", "sil"),
        ("rdi", "edi", "di", "dil"),
    ]
):
    for x in (a, b, c, e):
        GPR[x] = i
for h, i in (("ah", 0), ("ch", 1), ("dh", 2), ("bh", 3)):
    GPR[h] = i
for i in range(8, 16):
    for s in ("", "d", "w", "b"):
        GPR[f"r{i}{s}"] = i


def reg(x):
    x = x.strip().lstrip("%")
    if x in GPR:
        return GPR[x]
    m = re.match(r"[xyz]mm(\d+)$", x)
    if m:
        return 20 + int(m.group(1))
    m = re.match(r"k(\d)$", x)
    if m:
        return 60 + int(m.group(1))
    m = re.match(r"tmm(\d)$", x)
    if m:
        return 70 + int(m.group(1))
    return None


FLAGS = 80


def split_ops(s):
    out = []
    depth = 0
    cur = ""
    for ch in s:
        if ch in "({":
            depth += 1
        if ch in ")}":
            depth -= 1
        if ch == "," and depth == 0:
            out.append(cur)
            cur = ""
        else:
            cur += ch
    if cur.strip():
        out.append(cur)
    return [o.strip() for o in out]


PFX = ("data16", "cs", "ds", "notrack", "bnd", "lock", "rep", "repz", "repnz")


def parse(t):
    w = t.split(None, 1)
    while w[0] in PFX and len(w) > 1:
        w = w[1].split(None, 1)
    mn = w[0]
    ops = split_ops(w[1]) if len(w) > 1 else []
    return mn, ops


def canon(t):
    mn, ops = parse(t)
    if mn.startswith("nop") or mn == "xchg" and ops == ["%ax", "%ax"]:
        return "nop"
    if mn[0] == "j" or mn == "call":
        if ops and ops[0].startswith("*"):
            return mn + " " + ", ".join(ops)
        return mn + " foo"
    return mn + " " + ", ".join(ops)


P05 = re.compile(r"^(vfn?m(add|sub)\d+ps|vmulps|vaddps|vsubps|vcvtdq2ps|vpdpbusds?|vmaxps|vminps)$")


def ports(tab, u, mn):
    """list of (portmask) for the non-memory uops"""
    p = tab[u][1][:12]
    a = {k: v for k, v in enumerate(p) if v > 1e-6 and k in (0, 1, 5, 6, 10)}
    zmm = "%zmm" in u
    if P05.match(mn) and zmm:
        return [0b100001]
    out = []

    def take(ports):
        if all(a.get(k, 0) > 0.02 for k in ports):
            m = min(a[k] for k in ports)
            k_ = round(m * len(ports))
            if k_ < 1:
                return
            for k in ports:
                a[k] -= m
            out.extend([sum(1 << k for k in ports)] * k_)

    take((0, 1, 5, 6, 10))
    take((0, 1, 5, 10))
    take((0, 1, 5))
    take((0, 6))
    take((0, 1))
    take((1, 5))
    if zmm and a.get(0, 0) > 0.4 and a.get(5, 0) > 0.4 and abs(a[0] - a[5]) < 0.02 and (a[0] % 1) > 0.4:
        take((0, 5))
    for k in list(a):
        q = round(a[k])
        out.extend([1 << k] * q)
    return out


def fuse(prev, mn):
    return (
        mn[0] == "j"
        and mn not in ("jmp",)
        and prev
        in ("cmp", "test", "and", "add", "sub", "inc", "dec", "cmpq", "cmpl", "cmpb", "testb", "testq", "testl")
    )


def memop(ops):
    for i, o in enumerate(ops):
        if "(" in o:
            return i
    return None


SZ = {"zmm": 64, "ymm": 32, "xmm": 16}


def size_of(ops):
    for x in ops:
        m = re.search(r"%([xyz]mm)", x)
        if m:
            return SZ[m.group(1)]
    return 8


def regs_in(x):
    s = set()
    for m in re.finditer(r"%([a-z]+\d*[dwb]?)", x):
        q = reg(m.group(1))
        if q is not None:
            s.add(q)
    return s
