"""A wire with a delay, where the kernel has no netem: packets in at one end, out at the other after a while.

`python -m bench.fleet.wire NEAR FAR MILLISECONDS` makes two TUN devices of those names, prints a line once they are
there, and carries packets until it is killed. Either device may be moved to another network namespace.
Linux: Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import collections
import fcntl
import os
import select
import struct
import sys
import time

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MOST_BYTES = 65536


def tun(name: str) -> int:
    """Make the device; returns its descriptor, which reads and writes whole IP packets."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return descriptor


def carry(near: int, far: int, seconds: float) -> None:
    """Carry packets both ways for ever, each `seconds` late."""
    other = {near: far, far: near}
    # The delay is alike for all: first in, first out.
    under_way: collections.deque[tuple[float, int, bytes]] = collections.deque()
    poll = select.poll()
    for end in other:
        poll.register(end, select.POLLIN)
    while True:
        wait = max(under_way[0][0] - time.monotonic(), 0) * 1000 if under_way else None
        for end, _ in poll.poll(wait):
            _take(end, other[end], seconds, under_way)
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, end, packet = under_way.popleft()
            os.write(end, packet)


def _take(end: int, other: int, seconds: float, under_way: collections.deque[tuple[float, int, bytes]]) -> None:
    try:
        while True:
            packet = os.read(end, _MOST_BYTES)
            under_way.append((time.monotonic() + seconds, other, packet))
    except BlockingIOError:
        return


if __name__ == "__main__":
    ends = tun(sys.argv[1]), tun(sys.argv[2])
    print("ready", flush=True)
    carry(*ends, float(sys.argv[3]) / 1000)
