"""Numbers and layouts of the kernel's interface against the headers that declare them."""

from __future__ import annotations

import os
import platform
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
    "BPF_PROG_TYPE_KPROBE": bpf.PROG_TYPE_KPROBE,
    "BPF_PROG_TYPE_RAW_TRACEPOINT": bpf.PROG_TYPE_RAW_TRACEPOINT,
    "BPF_PROG_TYPE_CGROUP_SKB": bpf.PROG_TYPE_CGROUP_SKB,
    "BPF_PROG_TYPE_TRACING": bpf.PROG_TYPE_TRACING,
    "BPF_CGROUP_INET_INGRESS": bpf.ATTACH_CGROUP_INGRESS,
    "BPF_CGROUP_INET_EGRESS": bpf.ATTACH_CGROUP_EGRESS,
    "BPF_TRACE_RAW_TP": bpf.ATTACH_TRACE_RAW_TP,
    "BPF_TRACE_FENTRY": bpf.ATTACH_TRACE_FENTRY,
    "BPF_TRACE_FEXIT": bpf.ATTACH_TRACE_FEXIT,
    "BPF_TRACE_ITER": bpf.ATTACH_TRACE_ITER,
    "BPF_PSEUDO_KFUNC_CALL": bpf.PSEUDO_KFUNC_CALL,
    "sizeof(struct bpf_insn)": bpf.INSTRUCTION_BYTES,
    # Where program_info and the batches find what they read.
    "offsetof(struct bpf_prog_info, run_time_ns)": 192,
    "offsetof(struct bpf_prog_info, run_cnt)": 200,
    "offsetof(struct bpf_prog_info, recursion_misses)": 208,
    "offsetof(union bpf_attr, batch.count)": 32,
    # Where attach_kprobe puts what it says, and what it does then.
    "PERF_FLAG_FD_CLOEXEC": 8,
    "PERF_EVENT_IOC_ENABLE": 0x2400,
    "PERF_EVENT_IOC_SET_BPF": 0x40042408,
    "offsetof(struct perf_event_attr, config1)": 56,
    # Helpers that podtrace.h calls by number.
    "BPF_FUNC_probe_read_user": 112,
    "BPF_FUNC_probe_read_kernel": 113,
    "BPF_FUNC_probe_read_kernel_str": 115,
    "BPF_FUNC_get_current_task": 35,
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
        "#include <linux/perf_event.h>\n#include <sys/ioctl.h>\n"
        f"int main(void) {{\n{prints}return 0;\n}}\n"
    )
    program = tmp_path / "numbers"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-o", str(program), str(source)], check=True)
    output = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    assert dict(zip(BPF_NUMBERS, map(int, output.split()), strict=True)) == BPF_NUMBERS


@pytest.mark.skipif(
    COMPILER is None or platform.machine() != "x86_64", reason="needs a C compiler and x86-64"
)
def test_functions_get_their_arguments_in_the_registers_of_the_calling_convention(
    tmp_path: Path,
) -> None:
    registers = ("rdi", "rsi", "rdx", "rcx")
    flags = dict(flag[2:].split("=", 1) for flag in plan.Plan().flags("x86_64", 1))
    asserts = "".join(
        f'_Static_assert(AT({n}) == offsetof(struct pt_regs, {name}), "{name}");\n'
        for n, name in enumerate(registers)
    )
    source = tmp_path / "registers.c"
    source.write_text(
        "#include <stddef.h>\n#include <asm/ptrace.h>\n"
        f"#define AT(n) {flags['ARGUMENT_REGISTER(n)']}\n{asserts}"
    )
    assert COMPILER is not None
    subprocess.run([COMPILER, "-c", "-o", os.devnull, str(source)], check=True)
