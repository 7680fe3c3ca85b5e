"""The tracer: runs beside the traced processes and writes the stream to standard output."""
