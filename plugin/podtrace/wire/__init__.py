"""The schema that the tracer and the plugin share.

Everything here is valid on Python 3.9 and imports the standard library only, because the tracer
runs it under the node image's Python and the plugin runs it under its own.
"""
