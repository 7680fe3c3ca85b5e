"""The version of this release; pyproject.toml has the same."""

VERSION = "0.1.0"
