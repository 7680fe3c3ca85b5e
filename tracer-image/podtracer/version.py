"""Version of the tracer; the plugin and its image carry the same."""

VERSION = "0.1.0"
