"""Tracing on this machine: find the tracer, start it, deliver its stream, leave nothing behind."""
