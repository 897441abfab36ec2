"""instructions.py - what each instruction of a trace needs: slots, ports, latency, operands, as llvm-mca knows it.

table() writes the file that core.cpp reads, one line for each address of the trace:
offset length slots tile eliminated branch prefetch load-bytes store-bytes latency ports... sources... destinations...
Registers are numbers: general 0-15, vector 20-51, mask 60-67, tile 70-77, flags 80.
"""

import re
import shutil
import subprocess
import sys

import numpy as np
from assembly import FLAGS, SZ, canon, fuse, memop, parse, ports, reg, regs_in, size_of

RECORD = np.dtype([("off", "<u4"), ("tile", "<u4"), ("ea", "<u8")])
MCA = next((p for v in range(19, 30) if (p := shutil.which(f"llvm-mca-{v}"))), None)


def describe(o, after, before, d, tab):
    """The fields of one line."""
    t = d[o]
    u = canon(t)
    mn, ops = parse(t)
    tile = 0
    alu = []
    lat = 1
    ls = ss = 0
    src = set()
    dst = set()
    slots = 1
    elim = 0
    br = 0
    pf = 0
    mi = memop(ops)
    if mn.startswith(("tile", "tdp")) or "tilecfg" in mn:
        tile = {
            "tileloadd": 1,
            "tileloaddt1": 2,
            "tilestored": 3,
            "tdpbf16ps": 4,
            "tdpbssd": 5,
            "tdpbsud": 5,
            "tilezero": 6,
        }.get(mn, 7)
        if tile in (1, 2):
            src |= regs_in(ops[0])
            dst.add(reg(ops[1]))
            slots = 8
        elif tile == 3:
            src |= regs_in(ops[1]) | {reg(ops[0])}
            slots = 16
        elif tile in (4, 5):
            src |= {reg(x) for x in ops}
            dst.add(reg(ops[2]))
        elif tile == 6:
            dst.add(reg(ops[0]))
            elim = 1
        alu = []
    else:
        (n, lat, _), p = tab[u]
        slots = max(1, n)
        alu = ports(tab, u, mn)
        sum(p[k] for k in (2, 3, 11)) > 0.5 and mn not in ("lea",) and mi is not None
        p[7] + p[8] > 0.2 or p[4] + p[9] > 0.2
        if mn in ("call", "push"):
            pass
        if mn in ("pop", "ret"):
            pass
        if mn.startswith("prefetch"):
            pf = 1 if mn != "prefetcht1" else 2
            ls = 0
            lat = 1
            alu = []
        # operand handling
        last = ops[-1] if ops else ""
        body = last.split("{")[0]
        zmask = None
        m = re.search(r"\{%(k\d)\}", last)
        if m:
            zmask = reg(m.group(1))
            src.add(zmask)
        merging = m is not None and "{z}" not in last
        for i_, x in enumerate(ops):
            if "(" in x:
                src |= regs_in(x)
        if mn.startswith("prefetch"):
            pass
        elif mn[0] == "j" or mn in ("call", "ret"):
            br = 1
            if mn not in ("jmp", "call", "ret"):
                src.add(FLAGS)
            if mn == "ret":
                ls = 8
            if mn == "call":
                ss = 8
            if mi is not None:
                ls = 8
            for x in ops:
                if x.startswith("*%"):
                    src |= regs_in(x)
            pm = before
            if pm is not None and fuse(parse(d[pm])[0], mn):
                slots = 0
                alu = []
        elif mn in ("push", "pop"):
            if mn == "push":
                ss = 8
                src |= regs_in(ops[0])
            else:
                ls = 8
                dst |= regs_in(ops[0])
            alu = []
            slots = 1
        elif mn == "vzeroupper":
            alu = []
            slots = 1
        elif mn in ("leave",):
            ls = 8
        elif u == "nop":
            alu = []
            slots = 1
        else:
            nodst = (
                mn.startswith(("cmp", "test", "bt"))
                and not mn.startswith("vcmp")
                or mn.startswith(("kortest", "ktest"))
            )
            for x in ops[:-1]:
                if "(" not in x:
                    src |= regs_in(x)
            if "(" in body:
                # memory destination (or memory last with cmp)
                if nodst:
                    ls = 8
                elif mn.startswith(
                    ("mov", "vmov", "kmov", "vextract", "set", "vpmov", "vcompress", "vpcompress", "vcvt")
                ):
                    ss = size_of(ops) if "%zmm" in t or "%ymm" in t or "%xmm" in t else 8
                elif len(ops) == 1 and mn.startswith(("set",)):
                    ss = 8
                else:
                    ls = 8
                    ss = 8
            else:
                q = reg(body)
                if nodst:
                    if q is not None:
                        src.add(q)
                else:
                    if q is not None:
                        dst.add(q)
                    rmw = (
                        (
                            mn.startswith(
                                (
                                    "add",
                                    "sub",
                                    "and",
                                    "or",
                                    "xor",
                                    "shl",
                                    "shr",
                                    "sar",
                                    "inc",
                                    "dec",
                                    "not",
                                    "neg",
                                    "imul",
                                    "cmov",
                                    "adc",
                                    "sbb",
                                    "ror",
                                    "rol",
                                    "bts",
                                    "btr",
                                    "btc",
                                )
                            )
                            and (len(ops) < 3)
                        )
                        or re.match(r"v(fn?m|pternlog|pdp|dpbf|permi2|permt2|pshldv)", mn)
                        or merging
                        or (mn.startswith("set"))
                    )
                    if rmw and q is not None:
                        src.add(q)
                if mi is not None and mn not in ("lea", "leal", "leaq") and u != "nop":
                    ls = 8
                    m = re.search(r"\{1to\d+\}", t)
                    if m or mn.startswith(("vbroadcastss", "vpbroadcastd", "vbroadcastsd", "vpbroadcastq")):
                        ls = 4
                    elif mn.startswith(("vpmovzxwd", "vpmovzxbw", "vpmovsxwd", "vcvtph2ps")):
                        ls = size_of(ops) // 2
                    elif mn.startswith(("vpmovzxbd", "vpmovsxbd")):
                        ls = size_of(ops) // 4
                    elif mn.startswith(("vbroadcasti32x4", "vbroadcastf32x4", "vbroadcasti128")):
                        ls = 16
                    elif mn.startswith("v"):
                        dz = re.search(r"%([xyz]mm)", body if reg(body) and reg(body) >= 20 else t)
                        ls = SZ[dz.group(1)] if dz else 8
            if (
                mn in ("xor", "xorl", "vpxor", "vpxord", "vpxorq", "vxorps", "sub")
                and len(ops) >= 2
                and len(set(ops)) == 1
            ):
                src = set()
                elim = 1
                alu = []
            if (
                mn in ("mov", "movq", "movl", "vmovdqa64", "vmovaps", "vmovdqu64", "vmovups", "vmovdqa", "movslq")
                and mi is None
                and reg(ops[0]) is not None
                and reg(body) is not None
                and (reg(ops[0]) < 20) == (reg(body) < 20)
                and zmask is None
            ):
                elim = 1
                alu = []
            fl = mn.startswith(
                (
                    "add",
                    "sub",
                    "and",
                    "or",
                    "xor",
                    "cmp",
                    "test",
                    "inc",
                    "dec",
                    "neg",
                    "shl",
                    "shr",
                    "sar",
                    "imul",
                    "popcnt",
                    "bt",
                    "kortest",
                    "adc",
                    "sbb",
                )
            ) and not mn.startswith("v")
            if fl:
                dst.add(FLAGS)
            if mn.startswith(("set", "cmov", "adc", "sbb")):
                src.add(FLAGS)
        if ls and lat > 5 and not mn.startswith("tile"):
            l0 = 8 if "%zmm" in t or "%ymm" in t or "%xmm" in t else 5
            lat = max(0, lat - l0)
        if ls and not alu:
            lat = 0
        if ss:
            lat = 1
        # fused-domain slots: load+op fuse, sta+std fuse
        na = len(alu)
        if slots:
            slots = max(1, na) if not ss else max(1, na + 1)
            if ss and na == 0:
                slots = 1
            if elim or u == "nop":
                slots = 1
            if mn in ("call",):
                slots = 2
    return (o, after - o, slots, tile, elim, br, pf, ls, ss, lat, alu, sorted(src), sorted(dst))


def costs(texts, work):
    """Of each text, as llvm-mca has it: ((uops, latency, throughput), pressure on each port)."""
    uniq = sorted(texts)
    skip = [u for u in uniq if re.match(r"(tile|tdp|ldtile|sttile|syscall)", u)]
    mcaset = [u for u in uniq if u not in skip]
    if not mcaset:
        return {}
    source = work / "instructions.s"
    source.write_text("\n".join(mcaset) + "\n")
    r = subprocess.run(
        [MCA, "-mtriple=x86_64", "-mcpu=sapphirerapids", "-instruction-tables", source],
        capture_output=True, text=True, check=False
    )
    if r.returncode:
        sys.exit("llvm-mca: " + r.stderr[:2000])
    L = r.stdout.splitlines()
    i = next(k for k, l in enumerate(L) if l.startswith("[1]    [2]")) + 1
    info = []
    while L[i].strip():
        m = re.match(r"^\s*(\d+)\s+(\d+)\s+([\d.-]+)", L[i])
        info.append((int(m.group(1)), int(m.group(2)), m.group(3)))
        i += 1
    i = next(k for k, l in enumerate(L) if l.startswith("Resource pressure by instruction")) + 2
    pres = []
    while i < len(L) and L[i].strip():
        c = L[i].split()[:13]
        pres.append([0 if x == "-" else float(x) for x in c])
        i += 1
    assert len(info) == len(mcaset) == len(pres), (len(info), len(mcaset), len(pres))
    return {u: (info[k], pres[k]) for k, u in enumerate(mcaset)}


def table(listing, trace, target, work):
    """Writes the file for core.cpp: listing is what disassemble() gives, trace a file of records."""
    d = listing
    offs = np.unique(np.fromfile(trace, dtype=RECORD)["off"]).tolist()
    srt = sorted(d)
    place = {a: k for k, a in enumerate(srt)}
    tab = costs({canon(d[o]) for o in offs}, work)
    rows = []
    for o in offs:
        k = place[o]
        rows.append(describe(o, srt[k + 1] if k + 1 < len(srt) else o + 1, srt[k - 1] if k else None, d, tab))
    with open(target, "w") as f:
        for o, ln, sl, tile, elim, br, pf, ls, ss, lat, alu, src, dst in rows:
            f.write(
                " ".join(
                    map(
                        str,
                        [o, ln, sl, tile, elim, br, pf, ls, ss, lat, len(alu)]
                        + alu
                        + [len(src)]
                        + src
                        + [len(dst)]
                        + dst,
                    )
                )
                + "\n"
            )
