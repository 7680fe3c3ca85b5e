"""A network link of known delay, jitter and loss: one TUN device whose far end is this machine.

A packet for the far address comes back after the delay with source and destination exchanged, so
that a client that connects to the far address meets a server that listens on the near one. Sums of
addresses do not change by exchange: checksums stay right. Packets keep their order. The device goes
with this process.

A packet never comes back before its delay is over. The truth counts what was dropped.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import select
import socket
import struct
import time
from collections import Counter, deque
from dataclasses import dataclass

import gate
import urgency

_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_TCP = 6
_SYN, _ACK = 0x02, 0x10
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFTXQLEN = 0x8914, 0x8916, 0x891C, 0x8943
_IFF_UP = 1
_QUEUE_PACKETS = 10_000
_SUBNETS = 250


@dataclass(frozen=True)
class Schedule:
    """What happens to which packet. Delays are one way; spikes and drops meet data segments."""

    delay_ns: int
    syn_delay_ns: int
    spike_every: int
    spike_ns: int
    drop_every: int
    blackhole_port: int
    unreachable_port: int


@dataclass(frozen=True)
class Segment:
    """The parts of a packet that the schedule asks for."""

    swapped: bytes
    destination_port: int
    syn: bool
    data: bool


def parse(packet: bytes) -> Segment | None:
    """Exchange source and destination of a TCP packet; None for anything else."""
    if packet[0] >> 4 == 4:
        header, protocol, length = (
            (packet[0] & 0xF) * 4,
            packet[9],
            int.from_bytes(packet[2:4], "big"),
        )
        swapped = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
    else:
        header, protocol, length = 40, packet[6], 40 + int.from_bytes(packet[4:6], "big")
        swapped = packet[:8] + packet[24:40] + packet[8:24] + packet[40:]
    if protocol != _TCP:
        return None
    flags = packet[header + 13]
    payload = length - header - (packet[header + 12] >> 4) * 4
    return Segment(
        swapped=swapped,
        destination_port=int.from_bytes(packet[header + 2 : header + 4], "big"),
        syn=bool(flags & _SYN) and not flags & _ACK,
        data=payload > 0,
    )


def host_unreachable(packet: bytes) -> bytes:
    """Return the ICMP host unreachable message (RFC 792) for an IPv4 packet."""
    body = struct.pack("!BBHI", 3, 1, 0, 0) + packet[:28]
    body = body[:2] + _checksum(body) + body[4:]
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 1, 0, packet[16:20], packet[12:16]
    )
    return header[:10] + _checksum(header) + header[12:] + body


def _checksum(data: bytes) -> bytes:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


class Relay:
    """Holds packets back and gives them to the kernel again."""

    def __init__(self, device: int, schedule: Schedule) -> None:
        """Relay the packets of an open TUN device."""
        self.device = device
        self.schedule = schedule
        self.queue: deque[tuple[int, bytes]] = deque()
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        """Relay until standard input has a line or ends."""
        while True:
            timeout = None
            if self.queue:
                wait_ns = self.queue[0][0] - time.monotonic_ns() - urgency.SPIN_NS
                timeout = max(wait_ns, 0) / 1e9
            ready = select.select([0, self.device], [], [], timeout)[0]
            if 0 in ready:
                return
            if self.device in ready:
                self._take(os.read(self.device, 65536), time.monotonic_ns())
            while self.queue and self.queue[0][0] - time.monotonic_ns() <= urgency.SPIN_NS:
                due_ns, packet = self.queue.popleft()
                urgency.spin_until(due_ns)
                os.write(self.device, packet)

    def _take(self, packet: bytes, taken_ns: int) -> None:
        segment = parse(packet)
        if segment is None:
            return
        schedule = self.schedule
        delay_ns = schedule.delay_ns
        if segment.syn:
            self.counts["syns"] += 1
            delay_ns += schedule.syn_delay_ns
            if segment.destination_port == schedule.blackhole_port:
                return
            if segment.destination_port == schedule.unreachable_port:
                self.queue.append((taken_ns + delay_ns, host_unreachable(packet)))
                return
        if segment.data:
            self.counts["data_segments"] += 1
            number = self.counts["data_segments"]
            if schedule.drop_every and number % schedule.drop_every == 0:
                self.counts["dropped"] += 1
                return
            if schedule.spike_every and number % schedule.spike_every == 0:
                self.counts["spikes"] += 1
                delay_ns += schedule.spike_ns
        due_ns = taken_ns + delay_ns
        if self.queue:
            due_ns = max(due_ns, self.queue[-1][0])
        self.queue.append((due_ns, segment.swapped))


def open_device() -> tuple[int, int]:
    """Create the TUN device of a subnet that no other link has; return both."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    first = os.getpid() % _SUBNETS
    for subnet in (*range(first + 1, _SUBNETS + 1), *range(1, first + 1)):
        request = struct.pack("16sH", _name(subnet).encode(), _IFF_TUN | _IFF_NO_PI)
        try:
            fcntl.ioctl(device, _TUNSETIFF, request)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        else:
            return device, subnet
    raise OSError(errno.EBUSY, "every subnet has a link")


def bring_up(name: str, near: str, near_ipv6: str) -> None:
    """Give the device the near addresses (/24 and /64) and bring it up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:

        def set_interface(request: int, value: bytes) -> bytes:
            data = struct.pack("16s24s", name.encode(), value)
            return fcntl.ioctl(sock, request, data)[16:]

        for request, address in ((_SIOCSIFADDR, near), (_SIOCSIFNETMASK, "255.255.255.0")):
            family = struct.pack("HH", socket.AF_INET, 0)
            set_interface(request, family + socket.inet_aton(address))
        set_interface(_SIOCSIFTXQLEN, struct.pack("i", _QUEUE_PACKETS))
        set_interface(_SIOCSIFFLAGS, struct.pack("H", _IFF_UP))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        address6 = socket.inet_pton(socket.AF_INET6, near_ipv6)
        fcntl.ioctl(
            sock, _SIOCSIFADDR, struct.pack("16sIi", address6, 64, socket.if_nametoindex(name))
        )


def _name(subnet: int) -> str:
    return f"ptlink{subnet}"


def main() -> None:
    """Relay until told to stop, then print the truth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rtt-ms", type=float, default=31.0)
    parser.add_argument("--syn-delay-ms", type=float, default=0.0)
    parser.add_argument("--spike-every", type=int, default=0)
    parser.add_argument("--spike-ms", type=float, default=0.0)
    parser.add_argument("--drop-every", type=int, default=0)
    parser.add_argument("--blackhole-port", type=int, default=0)
    parser.add_argument("--unreachable-port", type=int, default=0)
    options = parser.parse_args()
    device, subnet = open_device()
    bring_up(_name(subnet), f"10.203.{subnet}.1", f"fd77:{subnet:x}::1")
    schedule = Schedule(
        delay_ns=int(options.rtt_ms * 500_000),
        syn_delay_ns=int(options.syn_delay_ms * 1e6),
        spike_every=options.spike_every,
        spike_ns=int(options.spike_ms * 1e6),
        drop_every=options.drop_every,
        blackhole_port=options.blackhole_port,
        unreachable_port=options.unreachable_port,
    )
    urgency.claim()
    gate.say(
        "ready",
        near=f"10.203.{subnet}.1",
        far=f"10.203.{subnet}.2",
        near_ipv6=f"fd77:{subnet:x}::1",
        far_ipv6=f"fd77:{subnet:x}::2",
    )
    relay = Relay(device, schedule)
    relay.run()
    gate.say("truth", **relay.counts)


if __name__ == "__main__":
    main()
