"""All rules of Potential Issues; docs/findings.md lists them."""

from __future__ import annotations

from podtrace.model.dns_rules import DNS_RULES
from podtrace.model.host_rules import HOST_RULES
from podtrace.model.lifecycle_rules import LIFECYCLE_RULES
from podtrace.model.tcp_rules import TCP_RULES

RULES = (*DNS_RULES, *TCP_RULES, *HOST_RULES, *LIFECYCLE_RULES)
