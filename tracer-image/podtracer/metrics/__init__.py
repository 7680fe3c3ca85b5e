"""The counts of a trace for Prometheus: a page of text that is new each tick, and who serves it.

Nothing here is imported unless metrics are asked for: they would cost every trace ten MiB.
"""
