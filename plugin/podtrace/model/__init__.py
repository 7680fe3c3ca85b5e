"""What a trace means: a pure model of the stream, with no input or output of its own.

`session.Session` folds the stream and `Session.snapshot` freezes it into `snapshot.Snapshot`; every
report is a rendering of that snapshot.
"""
