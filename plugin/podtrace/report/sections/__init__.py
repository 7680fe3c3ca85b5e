"""The sections of the text report: each a function from a snapshot to plain lines.

A section never returns nothing: where there is nothing to show it says why.
"""
