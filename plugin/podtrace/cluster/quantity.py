"""Kubernetes quantities, such as 10m of a CPU or 64Mi of memory, as exact numbers.

The grammar is that of k8s.io/apimachinery/pkg/api/resource: a decimal number, then a binary or
decimal suffix or an exponent.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,3})?")
_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "k": Fraction(1000),
} | {letter: Fraction(1000 ** (power + 2)) for power, letter in enumerate("MGTPE")}
_BINARY = {f"{letter}i": Fraction(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")}


def quantity(text: Any) -> Fraction | None:
    """Return the number that a quantity stands for, or None where it is none."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        return None
    number, suffix = Fraction(match.group(1)), match.group(2) or ""
    if suffix in _SUFFIXES:
        return number * _SUFFIXES[suffix]
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    return number * Fraction(10) ** int(suffix[1:]) if suffix else number
