"""Talks to the cluster: finds pods, starts tracers beside them, reads their logs, clears up."""
