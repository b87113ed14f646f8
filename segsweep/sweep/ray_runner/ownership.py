"""The owner of the Ray head at an address.

The address file of `ray start` outlives its head, and then another user's process can listen on the same port.
"""

import os
import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from ray._private.services import psutil  # type: ignore[attr-defined]  # the copy that Ray bundles

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  # sockets of this network namespace, see proc(5)
LISTEN = "0A"


def is_ours(address: str) -> bool:
    """Return whether the head at HOST:PORT runs as this user.

    If this machine's kernel does not list the owner, for example because the head is on another machine, return whether a raylet
    of this user runs here that belongs to the head.
    """
    owners = listeners(address)
    return owners == {os.getuid()} if owners else _has_raylet(address)


def listeners(address: str) -> set[int]:
    """Return the ids of the users whose sockets listen at HOST:PORT on this machine, as far as the kernel lists them."""
    host, _, port = address.rpartition(":")
    here = {_plain(name) for name in _local_addresses(host)}
    if not here:
        return set()
    return {user for ip, at, user in _listening_sockets() if at == int(port) and (ip in here or ip.is_unspecified)}


def _local_addresses(host: str) -> Iterator[str]:
    """Yield the IP addresses of a host that belong to this machine: a socket can be bound to them."""
    for family, kind, protocol, _, (name, _, *scope) in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind((name, 0, *scope))
            except OSError:
                continue
        yield str(name)


def _listening_sockets() -> Iterator[tuple[IPv4Address | IPv6Address, int, int]]:
    """Yield address, port and user of each TCP socket that listens on this machine; nothing if the kernel does not list them."""
    for table in TABLES:
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for _, local, _, state, _, _, _, user, *_ in map(str.split, rows):
            if state == LISTEN:
                words, port = local.split(":")
                raw = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
                yield _plain(raw), int(port, 16), int(user)


def _plain(address: str | bytes) -> IPv4Address | IPv6Address:
    """Return an IP address; an IPv4-mapped IPv6 address as IPv4."""
    ip = ip_address(address)
    return (isinstance(ip, IPv6Address) and ip.ipv4_mapped) or ip


def _has_raylet(address: str) -> bool:
    """Return whether a raylet of this user with its head at HOST:PORT runs on this machine."""
    for process in psutil.process_iter(["cmdline", "uids"]):
        command, users = process.info["cmdline"] or [""], process.info["uids"]
        if Path(command[0]).name == "raylet" and f"--gcs-address={address}" in command and users.real == os.getuid():
            return True
    return False
