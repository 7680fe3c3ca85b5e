from __future__ import annotations

import pytest

from podtracer.hooks import FENTRY, KPROBE, RAW_TP, TAIL_RAW_TP, TAIL_TP_BTF, TP_BTF, Hook, Style


@pytest.mark.parametrize(
    ("kind", "style"),
    [
        (TP_BTF, Style.TYPED),
        (FENTRY, Style.TYPED),
        (RAW_TP, Style.UNTYPED),
        (KPROBE, Style.REGISTERS),
        (TAIL_TP_BTF, Style.TYPED),
        (TAIL_RAW_TP, Style.UNTYPED),
    ],
)
def test_code_is_compiled_for_the_way_in_which_arguments_come(kind: str, style: Style) -> None:
    assert Hook(kind, "x").style is style


def test_styles_are_told_apart_by_two_flags() -> None:
    assert Style.TYPED.flags() == ["-DARGUMENTS_TYPED=1", "-DARGUMENTS_IN_REGISTERS=0"]
    assert Style.UNTYPED.flags() == ["-DARGUMENTS_TYPED=0", "-DARGUMENTS_IN_REGISTERS=0"]
    assert Style.REGISTERS.flags() == ["-DARGUMENTS_TYPED=0", "-DARGUMENTS_IN_REGISTERS=1"]


@pytest.mark.parametrize("hidden", ["hook tp_btf", "hook tp_btf/sched_switch"])
def test_a_hook_is_hidden_by_its_kind_or_by_itself(hidden: str) -> None:
    assert Hook(TP_BTF, "sched_switch").is_hidden(frozenset({hidden}))
    assert not Hook(RAW_TP, "sched_switch").is_hidden(frozenset({hidden}))
