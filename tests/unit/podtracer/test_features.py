from __future__ import annotations

import pytest

from btf_blob import FUNC, Blob
from podtracer import features
from podtracer.btf import Btf
from podtracer.hooks import Style


def kernel(cast: bool = True) -> Btf:
    blob = Blob()
    number = blob.integer("unsigned int", 4)
    pointer = blob.pointer(0)
    for name in features.CAST_TYPES:
        if name not in ("task_struct", "callback_head"):
            blob.struct(name, 4, [("x", number, 0)])
    blob.struct("callback_head", 16, [("next", pointer, 0)])
    blob.struct("task_struct", 16, [("pid", number, 0), ("in_iowait", number, 32 + 11, 1)])
    blob.enum("bpf_func_id", {"BPF_FUNC_get_current_task_btf": 158})
    if cast:
        blob.add(FUNC, "bpf_rdonly_cast", blob.prototype([]))
    return Btf(blob.encoded())


def flags(btf: Btf, *hidden: str, style: Style = Style.TYPED) -> dict[str, int]:
    found = features.flags(btf, frozenset(hidden), style)
    return {name: int(value) for name, value in (flag[2:].split("=") for flag in found)}


def test_helpers_are_those_that_the_kernel_knows() -> None:
    found = flags(kernel())
    assert (found["HAVE_CURRENT_TYPED"], found["HAVE_TASK_REGISTERS"]) == (1, 0)
    assert flags(kernel(), "helper get_current_task_btf")["HAVE_CURRENT_TYPED"] == 0


def test_a_bit_field_is_told_by_its_byte_and_bit() -> None:
    found = flags(kernel())
    assert (found["IN_IOWAIT_BYTE"], found["IN_IOWAIT_MASK"]) == (4 + 1, 1 << 3)


def test_casts_come_with_the_ids_of_all_types() -> None:
    found = flags(kernel())
    assert found["HAVE_CAST"] == 1
    assert all(found[f"BTF_ID_{name}"] for name in features.CAST_TYPES)


@pytest.mark.parametrize(
    ("cast", "hidden", "style"),
    [
        (False, (), Style.TYPED),
        (True, ("func bpf_rdonly_cast",), Style.TYPED),
        (True, ("struct callback_head",), Style.TYPED),
        (True, (), Style.UNTYPED),
        (True, (), Style.REGISTERS),
    ],
)
def test_without_the_function_or_typed_arguments_nothing_is_cast(
    cast: bool, hidden: tuple[str, ...], style: Style
) -> None:
    assert flags(kernel(cast), *hidden, style=style)["HAVE_CAST"] == 0
