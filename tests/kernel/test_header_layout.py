"""The header made from BTF, against others who know the kernel: pahole, clang, the verifier."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from podtracer.btf import Btf
from podtracer.kernel_source import KernelSource, prepare
from podtracer.needs import layout, missing
from podtracer.probes import NEEDS

SYSTEM_PYTHON = "/usr/bin/python3"
TRACER = Path(__file__).parents[2] / "tracer-image"

# Beyond what the tracer uses: types with bit-fields, one-byte enums, unions and packed layouts.
PROBING = {
    **NEEDS,
    "struct tcphdr": ("*",),
    "struct iphdr": ("*",),
    "struct ipv6hdr": ("*",),
    "struct udphdr": ("*",),
    "struct inode": (*NEEDS.get("struct inode", ()), "i_write_hint", "i_blkbits", "i_size"),
    "struct request": ("*",),
    "struct cred": ("*",),
    "struct sk_buff": ("*",),
    "struct net_device": ("name", "ifindex", "mtu"),
    "struct signal_struct": ("*",),
    "struct sock_common": ("*",),
    "struct tcp_sock": ("*",),
    "struct sched_entity": ("*",),
}

MEMBER = re.compile(
    r"(.*?)(\w+|\(\*+\w+\).*?)(?:\[\d*\])*(?::\d+)?;\s+/\* +(\d+)(?:: ?(\d+))? +(\d+) \*/"
)
CLOSED = re.compile(r"\}\s*(\w*)(?:\[\d*\])*(?::\d+)?;(?:\s+/\* +(\d+)(?:: ?\d+)? +(\d+) \*/)?")
ATTRIBUTE = re.compile(r"\s*__attribute__\(\((?:[^()]|\([^()]*\))*\)\)")

needs_pahole = pytest.mark.skipif(
    shutil.which("pahole") is None, reason="needs pahole as the independent reader of BTF"
)


class Place(NamedTuple):
    offset: int
    size: int
    kind: str


@functools.cache
def btf() -> Btf:
    return Btf.load()


@functools.cache
def pahole_members(type_name: str) -> dict[str, Place]:
    """Members of a type as pahole has them; those of types without a tag have dotted names."""
    command = ["pahole", "-F", "btf", "-C", type_name, "/sys/kernel/btf/vmlinux"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    scopes: list[dict[str, Place]] = []
    for line in (ATTRIBUTE.sub("", line).strip() for line in text.splitlines()):
        if line.endswith("{"):
            scopes.append({})
        elif line.startswith("}"):
            inner = scopes.pop()
            if not scopes:
                return inner
            closing = CLOSED.match(line)
            assert closing is not None, line
            prefix = f"{closing[1]}." if closing[1] else ""
            scopes[-1].update({prefix + path: place for path, place in inner.items()})
            if prefix:
                scopes[-1][closing[1]] = Place(int(closing[2]), int(closing[3]), "")
        elif scopes and (member := MEMBER.match(line)):
            name = re.sub(r"\W.*", "", member[2].lstrip("(*"))
            size = 0 if member[4] else int(member[5])
            kind = re.sub(r"\b(const|volatile|struct|union)\b", "", member[1]).strip()
            scopes[-1][name] = Place(int(member[3]) + int(member[4] or 0) // 8, size, kind)
    raise AssertionError(f"pahole does not know {type_name}")


def by_pahole(type_name: str, path: str) -> tuple[int, int]:
    """Offset of a member, which may be dotted, and its size, 0 for a bit-field."""
    members = pahole_members(type_name)
    if path in members:
        return members[path].offset, members[path].size
    names = path.split(".")
    for length in range(len(names) - 1, 0, -1):
        outer = members.get(".".join(names[:length]))
        if outer is not None:
            offset, size = by_pahole(outer.kind, ".".join(names[length:]))
            return outer.offset + offset, size
    raise AssertionError(f"pahole does not know {type_name}.{path}")


@needs_pahole
def test_pahole_agrees_on_every_member() -> None:
    compared = 0
    wrong = []
    for (key, path), (offset, size) in layout(btf(), PROBING).items():
        expected = by_pahole(key.split(" ")[1], path)
        compared += 1
        if (offset, size if expected[1] else 0) != expected:
            wrong.append((key, path, (offset, size), expected))
    assert not wrong
    assert compared > 500


def assertions(source: str) -> list[str]:
    lines = []
    for (key, path), (offset, size) in layout(btf(), PROBING).items():
        member = btf().member(key, path)
        assert member is not None
        if source == "pahole":
            offset, size = by_pahole(key.split(" ")[1], path)
        if not member.bit_size:
            name = re.sub(r"^numbers\.", "numbers[0].", path)
            label = json.dumps(f"{key}.{path}")
            lines.append(f"_Static_assert(offsetof({key}, {name}) == {offset}, {label});")
            lines.append(f"_Static_assert(sizeof((({key} *)0)->{name}) == {size}, {label});")
    return lines


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> KernelSource:
    cache = tmp_path_factory.mktemp("cache")
    return prepare(cache, btf(), PROBING)


# Runs under the Python that has BCC; prints the programs' bytes.
COMPILE = """
import json, sys
from pathlib import Path
from typing import NamedTuple
from bcc import BPF
from podtracer.kernel_source import KernelSource
source = KernelSource(Path(sys.argv[1]), temporary=False, made=False)
with source.compiling():
    module = BPF(text=sys.stdin.read())
names = sys.argv[2:]
json.dump({name: list(module.dump_func(name)) for name in names}, sys.stdout)
"""


def compile_with_bcc(
    source: KernelSource,
    text: str,
    *functions: str,
    wrapper: tuple[str, ...] = (),
    **options: object,
) -> dict[str, bytes]:
    command = [*wrapper, SYSTEM_PYTHON, "-c", COMPILE, str(source.path), *functions]
    environment = {**os.environ, "PYTHONPATH": str(TRACER), **options.pop("env", {})}
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, env=environment, **options
    )
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\b(warning|error):", done.stderr), done.stderr
    return {name: bytes(content) for name, content in json.loads(done.stdout).items()}


@pytest.mark.parametrize("authority", ["btf", pytest.param("pahole", marks=needs_pahole)])
def test_clang_places_every_member_where_the_kernel_has_it(
    source: KernelSource, authority: str
) -> None:
    program = "int nothing(void *ctx) { return 0; }"
    text = "\n".join([*assertions(authority), program])
    assert compile_with_bcc(source, text, "nothing")["nothing"]


def test_clang_would_notice_a_wrong_offset(source: KernelSource) -> None:
    text = '_Static_assert(offsetof(struct sock_common, skc_num) == 15, "moved");'
    with pytest.raises(AssertionError, match="moved"):
        compile_with_bcc(source, text)


def test_this_kernel_has_what_the_probes_cannot_do_without() -> None:
    from podtracer.probes import OPTIONAL

    assert [absent for absent in missing(btf(), NEEDS) if absent not in OPTIONAL] == []


DIRECT_LOADS = """
BPF_HASH(seen, u32, u64);

#define ARGUMENT(n, type) ({ u64 word; \\
    asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(word) : "r"(ctx), "i"((n) * 8)); (type)word; })

int on_switch(void *ctx) {
    struct task_struct *task = ARGUMENT(1, struct task_struct *);
    u32 tgid = task->tgid;
    u64 group = task->cgroups->dfl_cgrp->kn->id;

    seen.update(&tgid, &group);
    return 0;
}

int on_state(void *ctx) {
    struct sock *sk = ARGUMENT(0, struct sock *);
    u32 port = sk->__sk_common.skc_dport;
    u64 peer = sk->__sk_common.skc_daddr;

    if (sk->__sk_common.skc_family == AF_INET)
        seen.update(&port, &peer);
    return 0;
}

int on_enter(struct bpf_raw_tracepoint_args *ctx) {
    u32 number = ctx->args[1];
    u64 page = PAGE_SIZE;

    seen.update(&number, &page);
    return 0;
}

int on_packet(struct __sk_buff *skb) {
    struct iphdr header;
    u32 key = skb->len;
    u64 value = 0;

    if (bpf_skb_load_bytes(skb, 0, &header, sizeof(header)) == 0) {
        value = bpf_ntohl(header.saddr) + header.ihl;
        seen.update(&key, &value);
    }
    return 1;
}
#if LINUX_VERSION_CODE < KERNEL_VERSION(4, 0, 0)
#error "LINUX_VERSION_CODE is wrong"
#endif
_Static_assert(roundup_pow_of_two(1000) == 1024, "");
_Static_assert(roundup_pow_of_two(1024) == 1024, "");
_Static_assert(roundup_pow_of_two(1) == 1, "");
"""


def loads(program: bytes) -> list[tuple[int, int]]:
    """Offset and width of each load of a program."""
    widths = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
    found = []
    for at in range(0, len(program), 8):
        if program[at] & 7 == 1:
            offset = int.from_bytes(program[at + 2 : at + 4], "little", signed=True)
            found.append((offset, widths[program[at] & 0x18]))
    return found


def test_members_are_loaded_directly_and_by_whole_words(source: KernelSource) -> None:
    programs = compile_with_bcc(
        source, DIRECT_LOADS, "on_switch", "on_state", "on_enter", "on_packet"
    )
    places = layout(btf(), NEEDS)
    chain = [("task_struct", "cgroups"), ("css_set", "dfl_cgrp"), ("cgroup", "kn")]
    chain += [("kernfs_node", "id"), ("task_struct", "tgid")]
    wanted = {places[f"struct {name}", path] for name, path in chain}
    assert wanted <= set(loads(programs["on_switch"]))
    for program in programs.values():
        calls = [program[at : at + 8] for at in range(0, len(program), 8) if program[at] == 0x85]
        probe_read, probe_read_kernel = 4, 113
        assert not {call[4] for call in calls} & {probe_read, probe_read_kernel}


# Loads a program of a BTF tracepoint by the bpf system call; exits with the error number.
LOAD = """
import ctypes, os, platform, struct, sys
code = sys.stdin.buffer.read()
log = ctypes.create_string_buffer(1 << 18)
instructions = ctypes.create_string_buffer(code, len(code))
license = ctypes.create_string_buffer(b"GPL")
attributes = struct.pack(
    "<IIQQIIQII16sIIIIQIIQII", 26, len(code) // 8, ctypes.addressof(instructions),
    ctypes.addressof(license), 1, len(log), ctypes.addressof(log), 0, 0, b"check", 0, 23, 0, 0,
    0, 0, 0, 0, 0, int(sys.argv[1]))
buffer = ctypes.create_string_buffer(attributes, len(attributes))
number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
descriptor = libc.syscall(number, 5, buffer, len(attributes))
if descriptor < 0:
    sys.exit(f"{os.strerror(ctypes.get_errno())}: {log.value.decode()}")
"""


@pytest.mark.parametrize(
    ("tracepoint", "argument", "expression"),
    [
        ("sched_switch", 1, "((struct task_struct *)object)->cgroups->dfl_cgrp->kn->id"),
        ("sched_switch", 1, "((struct task_struct *)object)->tgid"),
        ("inet_sock_set_state", 0, "((struct sock *)object)->__sk_common.skc_daddr"),
        ("inet_sock_set_state", 0, "((struct sock *)object)->sk_protocol"),
    ],
)
def test_the_verifier_takes_direct_loads_from_typed_arguments(
    source: KernelSource, tracepoint: str, argument: int, expression: str
) -> None:
    text = f"""
        int program(void *ctx) {{
            u64 object;
            asm volatile("%0 = *(u64 *)(%1 + {argument * 8})" : "=r"(object) : "r"(ctx));
            return {expression} ? 0 : 0 * bpf_ktime_get_ns();
        }}
    """.replace("? 0 : 0 * bpf_ktime_get_ns()", "> 1000")
    program = compile_with_bcc(source, text, "program")["program"]
    assert loads(program)[1:]
    found = btf().tracepoint(tracepoint)
    assert found is not None
    loaded = subprocess.run(
        [SYSTEM_PYTHON, "-c", LOAD, str(found.type_id)], input=program, capture_output=True
    )
    assert loaded.returncode == 0, loaded.stderr.decode()


BPF_FUNC_PROBE_READ_KERNEL = 113
BPF_FUNC_PROBE_READ_USER = 112
MOST_READS = 100
PLAIN = "int nothing(void *ctx) { return 0; }"
POISON = "#error poisoned\n"


def test_headers_in_the_current_folder_and_in_cpath_are_ignored(
    source: KernelSource, tmp_path: Path
) -> None:
    for folder in ("linux", "uapi/linux", "asm", "net", "include/linux", "podtrace"):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("types.h", "bpf.h", "version.h", "kconfig.h", "page.h", "kernel.h"):
            (tmp_path / folder / name).write_text(POISON)
    options = {"CPATH": str(tmp_path), "C_INCLUDE_PATH": str(tmp_path)}
    assert compile_with_bcc(source, PLAIN, "nothing", env=options, cwd=tmp_path)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see what is opened")
def test_installed_kernel_headers_are_not_even_looked_at(
    source: KernelSource, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    wrapper = ("strace", "-f", "-qq", "-e", "trace=%file", "-o", str(trace))
    compile_with_bcc(source, PLAIN, "nothing", wrapper=wrapper)
    touched = set(re.findall(r'"(/[^"]*)"', trace.read_text()))
    assert any(path.startswith(str(source.path)) for path in touched)
    places = ("/usr/src", "/lib/modules", "/usr/lib/modules", "/usr/include", "/proc/config.gz")
    assert [path for path in touched if path.startswith((*places, "/sys/kernel/kheaders"))] == []


READS = """
int reads(void *ctx) {
    u64 word = 0;

    bpf_probe_read_kernel(&word, sizeof(word), ctx);
    bpf_probe_read_user(&word, sizeof(word), (void *)word);
    return word;
}
"""


def test_bcc_takes_the_helpers_that_tell_kernel_and_user_memory_apart(
    source: KernelSource, tmp_path: Path
) -> None:
    code = compile_with_bcc(source, READS, "reads", cwd=tmp_path)["reads"]
    instructions = struct.iter_unpack("=BBhi", code)
    calls = [number for opcode, _, _, number in instructions if opcode == 0x85]
    assert calls == [BPF_FUNC_PROBE_READ_KERNEL, BPF_FUNC_PROBE_READ_USER]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see what is opened")
def test_bcc_does_not_read_the_kernels_symbols(source: KernelSource, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    wrapper = ("strace", "-f", "-qq", "-e", "trace=chroot,read", "-s", "99", "-o", str(trace))
    compile_with_bcc(source, PLAIN, "nothing", wrapper=wrapper)
    inside = trace.read_text().partition("chroot(")[2].partition("chroot(")[0]
    assert " T bpf_probe_read_kernel" in inside
    assert inside.count("read(") < MOST_READS


def test_reading_the_running_kernels_btf_keeps_small() -> None:
    code = (
        "import resource, sys\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "from podtracer.btf import Btf\n"
        "btf = Btf.load()\n"
        "btf.member('struct task_struct', 'cgroups')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    shown = subprocess.run(
        [SYSTEM_PYTHON, "-c", code],
        env={**os.environ, "PYTHONPATH": str(TRACER)},
        capture_output=True,
        text=True,
        check=True,
    )
    kibibytes = int(shown.stdout)
    assert kibibytes < 4 * os.stat("/sys/kernel/btf/vmlinux").st_size / 1024 + 4096
