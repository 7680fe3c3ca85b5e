from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import btf_blob
from btf_blob import Blob
from podtracer.btf import Btf, BtfError
from podtracer.header import emit
from podtracer.needs import layout

STUBS = Path(__file__).parents[3] / "tracer-image/podtracer/kernel_stubs/include"
HAS_COMPILER = shutil.which("gcc") is not None
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="needs gcc to compile the header")


def compiled(header: str, program: str, tmp_path: Path) -> str:
    """Compile the header with a program, warnings being errors, and return what it prints."""
    source = tmp_path / "program.c"
    prologue = "#include <linux/types.h>\nint printf(const char *, ...);\n"
    source.write_text(f"{prologue}{header}\nint main(void) {{ {program} return 0; }}\n")
    flags = ["-std=gnu11", "-nostdinc", "-Wall", "-Wextra", "-Werror", "-I", str(STUBS)]
    binary = tmp_path / "program"
    made = subprocess.run(
        ["gcc", *flags, "-o", str(binary), str(source)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return subprocess.run([str(binary)], capture_output=True, text=True, check=True).stdout


def assert_layout(blob: Blob, needs: Mapping[str, Sequence[str]], tmp_path: Path) -> None:
    btf = Btf(blob.encoded())
    lines = []
    for (key, path), (offset, size) in layout(btf, needs).items():
        lines.append(f"_Static_assert(__builtin_offsetof({key}, {path}) == {offset}, {path!r});")
        lines.append(f"_Static_assert(sizeof((({key} *)0)->{path}) == {size}, {path!r});")
    for key in needs:
        type_id = btf.named(key)
        assert type_id is not None
        lines.append(f"_Static_assert(sizeof({key}) == {btf.size(type_id)}, {key!r});")
    assert lines
    compiled(emit(btf, needs) + "\n".join(lines).replace("'", '"'), "", tmp_path)


def flat(header: str) -> str:
    return re.sub(r"\s+", " ", header)


def test_only_chosen_members_are_declared_the_rest_is_padding() -> None:
    blob = Blob()
    u32 = blob.integer("unsigned int", 4)
    blob.struct("task_struct", 24, [("a", u32, 0), ("pid", u32, 64), ("b", u32, 96)])
    text = flat(emit(Btf(blob.encoded()), {"struct task_struct": ("pid",)}))
    assert (
        "struct task_struct { u8 __pad1[8]; u32 pid; u8 __pad2[12]; } "
        "__attribute__((packed, aligned(4)));"
    ) in text


def test_macros_tell_what_is_there() -> None:
    blob = Blob()
    u32 = blob.integer("unsigned int", 4)
    inner = blob.struct("inner", 4, [("x", u32, 0)])
    blob.struct("task_struct", 8, [("__state", u32, 0), ("in", inner, 32)])
    blob.tracepoint("sched_switch", [u32, u32, u32])
    blob.add(btf_blob.FUNC, "bpf_rdonly_cast", blob.prototype([]))
    needs = {
        "struct task_struct": ("__state", "state", "in.x"),
        "struct absent": ("a",),
        "tracepoint sched_switch": (),
        "tracepoint absent": (),
        "func bpf_rdonly_cast": (),
    }
    defined = re.findall(r"^#define (.*)$", emit(Btf(blob.encoded()), needs), re.MULTILINE)
    assert defined == [
        "HAVE_struct_task_struct 1",
        "HAVE_task_struct____state 1",
        "HAVE_task_struct__in__x 1",
        "HAVE_tracepoint_sched_switch 1",
        "HAVE_func_bpf_rdonly_cast 1",
        "ARGUMENTS_sched_switch 3",
    ]


def test_nothing_present_gives_an_empty_header() -> None:
    blob = Blob()
    blob.integer("int", 4)
    assert emit(Btf(blob.encoded()), {"struct absent": ("a",)}).strip() == ""


@needs_compiler
def test_anonymous_and_embedded_members_keep_their_c_names(tmp_path: Path) -> None:
    blob = Blob()
    u64 = blob.integer("u64", 8)
    u32 = blob.integer("u32", 4)
    u16 = blob.integer("u16", 2)
    addresses = blob.struct("", 8, [("daddr", u32, 0), ("saddr", u32, 32)])
    pair = blob.union("", 8, [("addrpair", u64, 0), ("", addresses, 0)])
    words = blob.union("", 16, [("u8", blob.array(u16, 8), 0), ("u32", blob.array(u32, 4), 0)])
    in6 = blob.struct("in6_addr", 16, [("in6_u", words, 0)])
    net = blob.add(btf_blob.TYPEDEF, "possible_net_t", blob.struct("", 8, [("net", u64, 0)]))
    common = blob.struct(
        "sock_common",
        48,
        [("", pair, 0), ("family", u16, 64), ("v6", in6, 128), ("net", net, 256), ("x", u32, 320)],
    )
    blob.struct("sock", 64, [("common", common, 0), ("err", u32, 416)])
    needs = {
        "struct sock": ("common.saddr", "common.family", "common.v6", "common.net.net", "err"),
        "struct in6_addr": ("in6_u.u32",),
    }
    assert_layout(blob, needs, tmp_path)
    text = flat(emit(Btf(blob.encoded()), needs))
    assert "daddr" not in text
    assert "u8 __pad" in text


@needs_compiler
def test_arrays_pointers_enums_and_booleans(tmp_path: Path) -> None:
    blob = Blob()
    char = blob.integer("char", 1, signed=True)
    boolean = blob.integer("_Bool", 1, boolean=True)
    u128 = blob.integer("unsigned __int128", 16)
    long = blob.integer("long int", 8, signed=True)
    double = blob.add(btf_blob.FLOAT, "double", 8)
    tiny = blob.enum("tiny", {"A": 0}, size=1)
    normal = blob.enum("normal", {"B": -1})
    file = blob.add(btf_blob.FWD, "file")
    anonymous = blob.struct("", 8, [("x", long, 0)])
    function = blob.pointer(blob.prototype([long]))
    files = blob.pointer(blob.pointer(file))
    types = {
        "comm": blob.array(char, 16),
        "matrix": blob.array(blob.array(long, 3), 2),
        "flag": boolean,
        "tiny": tiny,
        "normal": normal,
        "wide": u128,
        "real": double,
        "file": blob.pointer(blob.add(btf_blob.CONST, "", file)),
        "files": files,
        "handlers": blob.array(function, 4),
        "bytes": blob.pointer(char),
        "anonymous": blob.pointer(anonymous),
        "group": blob.pointer(blob.add(btf_blob.FWD, "group", flag=True)),
        "nothing": blob.pointer(0),
        "tail": blob.array(blob.pointer(file), 0),
    }
    btf = Btf(blob.encoded())
    fields, at = [], 0
    for name, type_id in types.items():
        size = btf.size(type_id)
        align = 64 if size >= 8 or name in ("tail",) else 8 * size
        at += -at % align
        fields.append((name, type_id, at))
        at += 8 * size
    blob.struct("everything", (at + 63) // 64 * 8, fields)
    needs = {"struct everything": ("*",)}
    assert_layout(blob, needs, tmp_path)
    text = flat(emit(Btf(blob.encoded()), needs))
    for declaration in (
        "char comm[16];",
        "s64 matrix[2][3];",
        "_Bool flag;",
        "u8 tiny;",
        "s32 normal;",
        "u8 wide[16];",
        "u8 real[8];",
        "struct file *file;",
        "struct file **files;",
        "void *handlers[4];",
        "char *bytes;",
        "void *anonymous;",
        "union group *group;",
        "void *nothing;",
        "struct file *tail[0];",
    ):
        assert declaration in text
    assert text.index("struct file;") < text.index("struct everything {")


@needs_compiler
def test_flexible_array_before_the_end_of_its_struct(tmp_path: Path) -> None:
    blob = Blob()
    u64 = blob.integer("u64", 8)
    u8 = blob.integer("u8", 1)
    blob.struct("flexible", 16, [("a", u64, 0), ("b", u8, 64), ("data", blob.array(u8, 0), 72)])
    assert_layout(blob, {"struct flexible": ("a", "data")}, tmp_path)


@needs_compiler
def test_bit_fields_lie_where_the_kernel_has_them(tmp_path: Path) -> None:
    blob = Blob()
    u16 = blob.integer("u16", 2)
    u32 = blob.integer("u32", 4)
    widths = {"ae": 1, "res1": 3, "doff": 4, "fin": 1, "syn": 1, "rst": 1}
    fields: list[tuple[str, int, int] | tuple[str, int, int, int]] = [("seq", u32, 0)]
    at = 32
    for name, width in widths.items():
        fields.append((name, u16, at, width))
        at += width
    fields += [("odd", u32, 51, 11), ("after", u16, 64)]
    blob.struct("tcphdr", 12, fields)
    needs = {"struct tcphdr": ("doff", "syn", "odd", "after")}
    header = emit(Btf(blob.encoded()), needs)
    program = """
        union { struct tcphdr header; unsigned char bytes[12]; } u;
        #define SHOW(field) \\
            u = (typeof(u)){}; u.header.field = -1; \\
            for (unsigned i = 0; i < sizeof(u); i++) printf("%02x", u.bytes[i]); \\
            printf(" ");
        SHOW(doff) SHOW(syn) SHOW(odd) SHOW(after)
    """
    shown = [bytes.fromhex(word) for word in compiled(header, program, tmp_path).split()]
    expected = {"doff": (36, 4), "syn": (41, 1), "odd": (51, 11), "after": (64, 16)}
    for content, (bit, width) in zip(shown, expected.values(), strict=True):
        assert int.from_bytes(content, "little") == ((1 << width) - 1) << bit


@needs_compiler
def test_structs_that_the_kernel_packs_are_not_taken_for_aligned(tmp_path: Path) -> None:
    blob = Blob()
    u16 = blob.integer("u16", 2)
    u32 = blob.integer("u32", 4)
    packed = blob.struct("packed", 8, [("a", u16, 0), ("b", u32, 16), ("c", u16, 48)])
    blob.struct("outer", 9, [("x", blob.integer("u8", 1), 0), ("in", packed, 8)])
    needs = {"struct outer": ("in.b",)}
    assert_layout(blob, needs, tmp_path)
    assert "aligned(1)))" in emit(Btf(blob.encoded()), needs)
    assert "aligned(4)))" not in emit(Btf(blob.encoded()), needs)


@needs_compiler
def test_enums_keep_values_and_size(tmp_path: Path) -> None:
    blob = Blob()
    blob.enum("tiny", {"TINY": 3, "OTHER": 4}, size=1)
    blob.enum("normal", {"MINUS": -5, "MANY": 1 << 30})
    blob.enum("wide", {"HUGE": 1 << 40}, size=8)
    blob.enum("", {"LONELY": 9})
    needs = {
        "enum tiny": ("TINY", "ABSENT"),
        "enum normal": ("*",),
        "enum wide": ("HUGE",),
        "enum": ("LONELY",),
        "enum absent": ("X",),
    }
    header = emit(Btf(blob.encoded()), needs)
    program = """
        printf("%d %d %d %d %lld %d", TINY, (int)sizeof(enum tiny), MINUS, MANY,
               (long long)HUGE, LONELY);
    """
    assert compiled(header, program, tmp_path) == f"3 1 -5 {1 << 30} {1 << 40} 9"
    assert "OTHER" not in header


@needs_compiler
def test_two_types_of_one_name_do_not_clash(tmp_path: Path) -> None:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    u64 = blob.integer("u64", 8)
    blob.struct("key", 4, [("a", u32, 0)])
    other = blob.struct("key", 8, [("b", u64, 0)])
    union = blob.union("key", 8, [("c", u64, 0)])
    blob.struct("user", 24, [("mine", other, 0), ("its", blob.pointer(union), 64)])
    needs = {"struct key": ("a",), "struct user": ("mine.b", "its")}
    assert_layout(blob, needs, tmp_path)
    assert "void *its;" in emit(Btf(blob.encoded()), needs)


@needs_compiler
def test_typedefs_of_anonymous_structs(tmp_path: Path) -> None:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    kuid = blob.add(btf_blob.TYPEDEF, "kuid_t", blob.struct("", 4, [("val", u32, 0)]))
    blob.struct("cred", 8, [("uid", kuid, 32)])
    needs = {"struct cred": ("uid.val",), "typedef kuid_t": ("*",)}
    header = emit(Btf(blob.encoded()), needs)
    program = 'kuid_t id = {7}; struct cred c = {}; c.uid.val = id.val; printf("%u", c.uid.val);'
    assert compiled(header, program, tmp_path) == "7"


def test_an_anonymous_type_asked_for_as_a_whole_has_all_its_members() -> None:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    kuid = blob.add(btf_blob.TYPEDEF, "kuid_t", blob.struct("", 4, [("val", u32, 0)]))
    named = blob.struct("named", 4, [("hidden", u32, 0)])
    blob.struct("cred", 8, [("uid", kuid, 0), ("other", named, 32)])
    text = emit(Btf(blob.encoded()), {"struct cred": ("uid", "other")})
    assert "u32 val;" in text
    assert "struct named other;" in text
    assert "hidden" not in text


def test_names_that_c_cannot_spell_are_never_written() -> None:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    rust = blob.struct("Option<core::ptr>", 4, [("a", u32, 0)])
    evil = blob.struct("x; } int main() {", 4, [("a", u32, 0)])
    blob.struct("holder", 16, [("rust", blob.pointer(rust), 0), ("evil", blob.pointer(evil), 64)])
    text = emit(Btf(blob.encoded()), {"struct holder": ("*",)})
    assert "core" not in text
    assert "main" not in text
    assert flat(text).count("void *") == 2


def test_members_that_overlap_are_refused() -> None:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    blob.struct("bad", 8, [("a", u32, 0), ("b", u32, 16)])
    with pytest.raises(BtfError, match="does not fit"):
        emit(Btf(blob.encoded()), {"struct bad": ("a", "b")})


def test_a_struct_that_contains_itself_is_refused() -> None:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    blob.struct("bad", 8, [("a", u32, 0), ("again", u32 + 1, 32)])
    with pytest.raises(BtfError, match="contains itself"):
        emit(Btf(blob.encoded()), {"struct bad": ("a", "again")})
