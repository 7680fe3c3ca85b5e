"""Where what a cluster is made of is kept between runs."""

from __future__ import annotations

from cache import Cache

CACHE = Cache("podtrace-e2e")
