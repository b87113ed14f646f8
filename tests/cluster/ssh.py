"""An ssh daemon on each machine, and a laptop that reaches the machines only by ssh."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from machines import PROJECT, Machines

CONF = """
Port 22
HostKey {key}
AuthorizedKeysFile {key}.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile /run/sshd.pid
SetEnv PYTHONPATH={project} RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Ssh:
    """`key` is the private key to root's account on the machines `names`."""

    names: Sequence[str]
    key: Path


def ssh_up(machines: Machines, names: Sequence[str], laptop: str) -> Ssh:
    """Start ssh daemons on machines, and block all their other ports for the laptop."""
    folder = machines.shared / "ssh"
    folder.mkdir()
    key, conf = folder / "key", folder / "sshd_config"
    machines.run(laptop, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    conf.write_text(CONF.format(key=key, project=PROJECT))
    for name in names:
        machines.run(name, "mkdir", "-p", "/run/sshd")
        machines.run(name, "/usr/sbin/sshd", "-f", conf)
    machines.run(laptop, "ip", "rule", "add", "pref", "100", "ipproto", "tcp", "dport", "22", "lookup", "main")
    machines.run(laptop, "ip", "rule", "add", "pref", "200", "to", f"{machines.network}.0/24", "prohibit")
    return Ssh(names, key)
