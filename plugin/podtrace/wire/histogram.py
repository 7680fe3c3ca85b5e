"""Log-linear histogram slots: the one arithmetic that the kernel and Python must agree on.

A duration in whole nanoseconds maps to a slot. Each power of two is cut into 16 equal steps, so a
value reported as the middle of its slot is at most 1/32 (3.2 %) off, and every power of two is the
lower edge of a slot. The C twin is `slot_of` in bpf/podtrace.h; a property test compares them.
"""

STEP_BITS = 4
STEPS = 1 << STEP_BITS
SLOTS = (64 - STEP_BITS + 1) * STEPS
"""Number of slots that cover every unsigned 64-bit duration."""


def slot_of(nanoseconds: int) -> int:
    """Return the slot, from 0 to SLOTS - 1, of a duration of 0 to 2**64 - 1 nanoseconds."""
    if nanoseconds < STEPS:
        return nanoseconds
    shift = nanoseconds.bit_length() - 1 - STEP_BITS
    return (shift << STEP_BITS) + (nanoseconds >> shift)


def slot_lower(slot: int) -> int:
    """Return the smallest duration, in nanoseconds, that maps to the slot."""
    if slot < STEPS:
        return slot
    shift = (slot >> STEP_BITS) - 1
    return (STEPS + (slot & (STEPS - 1))) << shift


def slot_upper(slot: int) -> int:
    """Return the smallest duration, in nanoseconds, that lies above the slot."""
    return slot_lower(slot) + (1 << max((slot >> STEP_BITS) - 1, 0))
