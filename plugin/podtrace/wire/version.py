"""The version of this release, of the plugin and of the tracer: this is its only place."""

VERSION = "0.1.0"
