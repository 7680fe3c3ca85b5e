"""Numbers and layouts of the kernel's interface against the headers that declare them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from podtracer import bpf, plan

UNISTD = {
    "x86_64": (
        "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "/usr/include/asm/unistd_64.h",
        "/usr/x86_64-linux-gnu/include/asm/unistd_64.h",
    ),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
COMPILER = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
BPF_NUMBERS = {
    "BPF_MAP_LOOKUP_ELEM": bpf.MAP_LOOKUP_ELEM,
    "BPF_MAP_UPDATE_ELEM": bpf.MAP_UPDATE_ELEM,
    "BPF_MAP_DELETE_ELEM": bpf.MAP_DELETE_ELEM,
    "BPF_PROG_LOAD": bpf.PROG_LOAD,
    "BPF_OBJ_GET_INFO_BY_FD": bpf.OBJ_GET_INFO_BY_FD,
    "BPF_RAW_TRACEPOINT_OPEN": bpf.RAW_TRACEPOINT_OPEN,
    "BPF_MAP_LOOKUP_BATCH": bpf.MAP_LOOKUP_BATCH,
    "BPF_LINK_CREATE": bpf.LINK_CREATE,
    "BPF_ENABLE_STATS": bpf.ENABLE_STATS,
    "BPF_ITER_CREATE": bpf.ITER_CREATE,
    "BPF_PROG_TYPE_CGROUP_SKB": bpf.PROG_TYPE_CGROUP_SKB,
    "BPF_PROG_TYPE_TRACING": bpf.PROG_TYPE_TRACING,
    "BPF_CGROUP_INET_INGRESS": bpf.ATTACH_CGROUP_INGRESS,
    "BPF_CGROUP_INET_EGRESS": bpf.ATTACH_CGROUP_EGRESS,
    "BPF_TRACE_RAW_TP": bpf.ATTACH_TRACE_RAW_TP,
    "BPF_TRACE_ITER": bpf.ATTACH_TRACE_ITER,
    "BPF_PSEUDO_KFUNC_CALL": bpf.PSEUDO_KFUNC_CALL,
    "sizeof(struct bpf_insn)": bpf.INSTRUCTION_BYTES,
    # Where program_info and the batches find what they read.
    "offsetof(struct bpf_prog_info, run_time_ns)": 192,
    "offsetof(struct bpf_prog_info, run_cnt)": 200,
    "offsetof(struct bpf_prog_info, recursion_misses)": 208,
    "offsetof(union bpf_attr, batch.count)": 32,
    # Helpers that podtrace.h calls by number.
    "BPF_FUNC_probe_read_user": 112,
    "BPF_FUNC_probe_read_kernel": 113,
    "BPF_FUNC_probe_read_kernel_str": 115,
    "BPF_FUNC_get_current_task_btf": 158,
    "BPF_FUNC_task_pt_regs": 175,
}


def system_calls(machine: str) -> dict[str, int]:
    path = next((path for path in map(Path, UNISTD[machine]) if path.exists()), None)
    if path is None:
        pytest.skip(f"needs the numbers of {machine}: linux-libc-dev")
    # asm-generic numbers calls whose arguments differ with the word size as __NR3264_.
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", path.read_text(), re.M)
    return {name: int(number) for name, number in found}


@pytest.mark.parametrize("machine", plan.SYSCALLS)
def test_system_calls_have_the_numbers_of_the_architecture(machine: str) -> None:
    declared = system_calls(machine)
    used = {name: n for calls in plan.SYSCALLS[machine].values() for name, n in calls.items()}
    absent = used.keys() - declared.keys()
    assert {name: declared[name] for name in used.keys() - absent} == {
        name: number for name, number in used.items() if name not in absent
    }
    # Headers older than a call do not have it; new calls get numbers above all others.
    newest = max(number for name, number in declared.items() if name != "syscalls")
    assert {name for name in absent if used[name] <= newest} == set()


@pytest.mark.skipif(
    COMPILER is None or not Path("/usr/include/linux/bpf.h").exists(),
    reason="needs a C compiler and linux/bpf.h (linux-libc-dev)",
)
def test_bpf_is_called_with_the_numbers_of_its_header(tmp_path: Path) -> None:
    prints = "".join(f'printf("%ld\\n", (long){name});\n' for name in BPF_NUMBERS)
    source = tmp_path / "numbers.c"
    source.write_text(
        "#include <stdio.h>\n#include <stddef.h>\n#include <linux/bpf.h>\n"
        f"int main(void) {{\n{prints}return 0;\n}}\n"
    )
    program = tmp_path / "numbers"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-o", str(program), str(source)], check=True)
    output = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    assert dict(zip(BPF_NUMBERS, map(int, output.split()), strict=True)) == BPF_NUMBERS
