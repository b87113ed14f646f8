"""Another machine on a network cable: a network namespace, which needs root and `ip`."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

REACH = """
import json, socket, sys

def answers(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True

hosts, ports = json.loads(sys.argv[1])
print(json.dumps([port for port in ports if any(answers(host, port) for host in hosts)]))
"""


@contextmanager
def neighbour(name: str, here: str, there: str) -> Iterator[Callable[[Sequence[int]], list[int]]]:
    """Connect a namespace to this machine, and yield a function that returns the TCP ports that can be reached from there.

    `here` and `there` are the addresses of this machine and of the neighbour, in one /24 network. Every other IPv4 address of
    this machine is tried, too.
    """
    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}n", "netns", name)
        ip("address", "add", f"{here}/24", "dev", f"{name}h")
        ip("link", "set", f"{name}h", "up")
        for arguments in (
            ("address", "add", f"{there}/24", "dev", f"{name}n"),
            ("link", "set", f"{name}n", "up"),
            ("route", "add", "default", "via", here),
        ):
            ip("-n", name, *arguments)
        addresses = json.loads(ip("-j", "-4", "address"))
        hosts = [each["local"] for device in addresses if device["ifname"] != "lo" for each in device["addr_info"]]

        def reached(ports: Sequence[int]) -> list[int]:
            inside = ["ip", "netns", "exec", name, sys.executable, "-c", REACH, json.dumps([hosts, list(ports)])]
            return list(json.loads(subprocess.run(inside, capture_output=True, text=True, check=True, timeout=50).stdout))

        yield reached
    finally:
        ip("netns", "delete", name)  # removes its cable, too


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=10).stdout
