"""The metrics of a run's tracers on ports of this machine: one port for each tracer."""

from __future__ import annotations

from collections.abc import Sequence

from podtrace.cluster.interface import ApiLike
from podtrace.cluster.local_ports import LocalPort
from podtrace.cluster.port_forward import PortForward, forward_port
from podtrace.cluster.relay import Relay
from podtrace.cluster.settings import METRICS_PORT
from podtrace.cluster.tracer import Tracer
from podtrace.errors import ClusterError, NotReadyError, PodtraceError


class MetricsPort:
    """The port of one tracer's pod, and what it means that it cannot be reached.

    Args:
        api: the cluster.
        tracer: the tracer, which may not be there yet, or any more.
    """

    def __init__(self, api: ApiLike, tracer: Tracer) -> None:
        self._api = api
        self._tracer = tracer

    def dial(self) -> PortForward:
        """Connect to it.

        Raises:
            NotReadyError: there is no tracer yet.
            ClusterError: there is none any more, or the API server does not connect to it.
        """
        tracer = self._tracer
        if tracer.is_over:
            raise self.explained("")
        pod = tracer.pod_name
        if pod is None:
            raise self.explained("")
        try:
            return forward_port(self._api, tracer.namespace, pod, METRICS_PORT)
        except ClusterError as error:
            raise self.explained(error.message) from error

    def explained(self, reason: str) -> PodtraceError:
        """Return the error for a connection that there is not, or not any more.

        Args:
            reason: what is known of it; may be empty.
        """
        tracer = self._tracer
        node = f"the tracer on node {tracer.plan.node}"
        if tracer.is_over:
            return ClusterError(f"{node} has ended", "start the trace again")
        if not tracer.has_sent:
            # Whatever stands in the way of that ends the run, which says it.
            return NotReadyError(f"{node} is being started", "try again in a moment")
        return ClusterError(
            f"{node} cannot be reached: {reason or 'the connection was cut'}", "try again"
        )


class MetricsForward:
    """The relays of a run.

    Args:
        api: the cluster.
        tracers: whose metrics are offered.
        ports: one for each of them; they are closed with the relays.
    """

    def __init__(self, api: ApiLike, tracers: Sequence[Tracer], ports: Sequence[LocalPort]) -> None:
        self._relays = []
        for tracer, port in zip(tracers, ports, strict=True):
            metrics = MetricsPort(api, tracer)
            self._relays.append(Relay(port.sockets, metrics.dial, metrics.explained))

    def start(self) -> None:
        """Begin to answer."""
        for relay in self._relays:
            relay.start()

    def close(self) -> None:
        """Stop to listen, and cut what is connected."""
        for relay in self._relays:
            relay.close()
