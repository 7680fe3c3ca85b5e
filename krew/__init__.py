"""How kubectl's plugin manager gets podtrace."""
