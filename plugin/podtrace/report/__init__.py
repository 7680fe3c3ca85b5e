"""Renderings of one frozen snapshot: text, JSON, YAML and the live view."""
