"""Ethernet frames to a machine's second card, over UDP as QEMU carries them: every TCP port is tried from outside.

The frames are made by hand because the machine's other card leads only to ports that were named beforehand.
RFC 826 (ARP), RFC 791 (IPv4), RFC 9293 (TCP).
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable

from stacks.errors import EngineError

HERE, THERE = "10.77.0.1", "10.77.0.2"  # the latter is the machine's, image.py
_HERE_MAC, _THERE_MAC = bytes.fromhex("525400000099"), bytes.fromhex("525400000002")
_ARP, _IPV4, _TCP = 0x0806, 0x0800, 6
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_PORT = 40000  # the one that the questions come from
_AT_ONCE = 256
_ANSWER_SECONDS = 3.0
_TRIES = 40  # a machine that boots or is busy drops some


def open_ports(wire: tuple[int, int], ports: Iterable[int] = range(1, 65536)) -> list[int]:
    """Those of the ports that take a connection. Raises EngineError where others neither take nor refuse one."""
    own, its = wire
    waiting = list(ports)
    found: set[int] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", own))
        line.connect(("127.0.0.1", its))
        tries = 0
        while waiting and tries < _TRIES:
            asked = waiting[:_AT_ONCE]
            for port in asked:
                line.send(_frame(_IPV4, _packet(port, _SYN)))
            answered = _answers(line, set(asked))
            found.update(port for port, flags in answered.items() if flags & _SYN)
            for port in found & answered.keys():
                line.send(_frame(_IPV4, _packet(port, _RST)))
            tries = 0 if answered else tries + 1
            silent = [port for port in asked if port not in answered]
            waiting = waiting[_AT_ONCE:] + silent
    if waiting:
        raise EngineError(f"{len(waiting)} ports of the machine are silent, {waiting[0]} among them.")
    return sorted(found)


def _answers(line: socket.socket, asked: set[int]) -> dict[int, int]:
    """The flags of each port's answer, for as long as answers come; who asks for our address is told it."""
    answered: dict[int, int] = {}
    deadline = time.monotonic() + _ANSWER_SECONDS
    while asked - answered.keys() and time.monotonic() < deadline:
        line.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            frame = line.recv(2048)
        except (TimeoutError, ConnectionRefusedError):  # refused: QEMU has not opened its end yet
            break
        (kind,) = struct.unpack_from("!H", frame, 12)
        if kind == _ARP and frame[38:42] == socket.inet_aton(HERE):
            line.send(_frame(_ARP, _arp_answer(frame)))
        if kind == _IPV4 and frame[23] == _TCP and frame[30:34] == socket.inet_aton(HERE):
            start = 14 + 4 * (frame[14] & 0x0F)
            source, target = struct.unpack_from("!HH", frame, start)
            if target == _PORT and source in asked:
                answered[source] = frame[start + 13]
                deadline = time.monotonic() + _ANSWER_SECONDS
    return answered


def _frame(kind: int, content: bytes) -> bytes:
    return _THERE_MAC + _HERE_MAC + struct.pack("!H", kind) + content


def _arp_answer(question: bytes) -> bytes:
    """We are at our address, to whoever asked."""
    head = struct.pack("!HHBBH", 1, _IPV4, 6, 4, 2)
    return head + _HERE_MAC + socket.inet_aton(HERE) + question[22:32]


def _packet(port: int, flags: int) -> bytes:
    addresses = socket.inet_aton(HERE) + socket.inet_aton(THERE)
    bare = struct.pack("!HHIIBBHHH", _PORT, port, 1, 0, 5 << 4, flags, 1024, 0, 0)
    check = _checksum(addresses + struct.pack("!BBH", 0, _TCP, len(bare)) + bare)
    segment = bare[:16] + struct.pack("!H", check) + bare[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, _TCP, 0)
    head = head[:10] + struct.pack("!H", _checksum(head + addresses))
    return head + addresses + segment


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
