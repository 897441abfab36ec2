#!/usr/bin/env python3
"""layout.py HEADER - what a program that was compiled against the header relies on, one fact per line:

    version 0.1.0                                  struct NAME SIZE ALIGNMENT
    constant NAME VALUE                            field NAME.FIELD OFFSET SIZE TYPE
    function NAME(PARAMETERS) RESULT               handle NAME

layout.py --compare RECORDED HEADER: every fact of the recorded file is a fact of the header still; only a struct may
have become larger. Prints what has changed and what is new. Exit status 1 if an old program would break.

Names come from the header's text, numbers from a program that is compiled against it with $CC: what is misread does
not compile, and what is passed over is missing in the record, which --compare of the header with itself would show.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile


def read(header):
    """The header's text, with that of the part of it that it includes from its own folder."""
    def included(match):
        with open(os.path.join(os.path.dirname(header), match.group(1))) as file:
            return file.read()
    with open(header) as file:
        return re.sub(r'^#include "(sparamx-kv\.h)".*$', included, file.read(), count=1, flags=re.M)


def strip(text):
    return re.sub(r"//[^\n]*", "", re.sub(r"/\*.*?\*/", " ", text, flags=re.S))


def squeeze(text):
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"\s*([*(),\[\]])\s*", r"\1", text)


def fields(body):
    """(declared type, name) of each member."""
    for member in body.split(";"):
        member = squeeze(member)
        if not member:
            continue
        function = re.fullmatch(r"(.*?)\(\*(\w+)\)\((.*)\)", member)
        if function:
            yield f"{function.group(1)}(*)({function.group(3)})", function.group(2)
            continue
        plain = re.fullmatch(r"(.*?[\s*])([\w\[\],]+)", member)
        if not plain:
            raise SystemExit(f"layout.py: what is the member {member!r}?")
        names = re.sub(r"\[[^\]]*\]", lambda m: m.group(0).replace(",", ";"), plain.group(2)).split(",")
        for name in names:
            array = re.fullmatch(r"(\w+)((?:\[\w+\])*)", name)
            yield plain.group(1).strip() + array.group(2), array.group(1)


def facts(header):
    text = strip(read(header))
    code, lines = [], []
    version = re.search(r'#define SPARAMX_VERSION_STRING "([^"]+)"', text).group(1)
    lines.append(f"version {version}")
    for name in re.findall(r"#define (SPARAMX_\w+) +\d+", text):
        if not name.startswith("SPARAMX_VERSION"):
            code.append(f'printf("constant {name} %lld\\n", (long long){name});')
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    body = re.sub(r'extern "C" \{', "", body)
    for block in re.findall(r"\benum\s*\{(.*?)\}", body, flags=re.S):
        for entry in block.split(","):
            name = entry.split("=")[0].strip()
            if name:
                code.append(f'printf("constant {name} %lld\\n", (long long){name});')
    for name, block, alias in re.findall(r"typedef struct (\w+)\s*\{(.*?)\}\s*(\w+)\s*;", body, flags=re.S):
        assert name == alias, name
        code.append(f'printf("struct {name} %zu %zu\\n", sizeof({name}), _Alignof({name}));')
        for kind, field in fields(block):
            code.append(f'printf("field {name}.{field} %zu %zu {kind}\\n", offsetof({name}, {field}), '
                        f"sizeof((({name} *)0)->{field}));")
    rest = re.sub(r"typedef struct \w+\s*\{.*?\}\s*\w+\s*;", "", body, flags=re.S)
    lines += [f"handle {name}" for name in re.findall(r"typedef struct (\w+) \1;", rest)]
    lines += [squeeze(line) for line in re.findall(r"typedef (?!struct)[^;]+", rest)]
    prototype = re.compile(r"^([\w \t*]+?[\s*])(sparamx_\w+)\(([^;{]*)\);", flags=re.M | re.S)
    for result, name, parameters in prototype.findall(rest):
        lines.append(f"function {name}({squeeze(parameters)}) {squeeze(result)}")
    with tempfile.TemporaryDirectory() as directory:
        source, program = os.path.join(directory, "layout.c"), os.path.join(directory, "layout")
        with open(source, "w") as file:
            file.write(f'#include "{os.path.abspath(header)}"\n#include <stdio.h>\nint main(void) {{\n'
                       + "\n".join(code) + "\nreturn 0;\n}\n")
        subprocess.run([*shlex.split(os.environ.get("CC", "cc")), "-std=c11", "-o", program, source], check=True)
        lines += subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return lines


def compare(recorded, today):
    """What of the record does not hold any more, and what is new."""
    with open(recorded) as file:
        old = [line.rstrip("\n") for line in file if not line.startswith("version ")]
    new = [line for line in today if not line.startswith("version ")]
    sizes = {line.split()[1]: line.split() for line in new if line.startswith("struct ")}
    broken = []
    for line in old:
        if line in new:
            continue
        word = line.split()
        grown = sizes.get(word[1]) if word[0] == "struct" else None
        if not (grown and int(grown[2]) >= int(word[2]) and grown[3] == word[3]):
            broken.append(line)
    return broken, [line for line in new if line not in old and not line.startswith("struct ")]


def main(arguments):
    if len(arguments) == 1:
        print("\n".join(facts(arguments[0])))
        return 0
    if len(arguments) != 3 or arguments[0] != "--compare":
        print(__doc__, file=sys.stderr)
        return 2
    broken, fresh = compare(arguments[1], facts(arguments[2]))
    for line in broken:
        print(f"gone: {line}")
    for line in fresh:
        print(f"new: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
