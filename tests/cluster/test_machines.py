"""The test bed itself: machines share only what they should."""

from machines import Machines, wait_until

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 7000), 1)"


def answers(machines: Machines, name: str) -> bool:
    """Return whether a machine's port 7000 answers to the first machine."""
    return "Error" not in machines.run("n1", "sh", "-c", f"python -c '{CONNECT}' {machines.address(name)} 2>&1; true")


def test_machines_have_their_own_processes_files_and_names(machines: Machines) -> None:
    """Processes, files in /tmp, /srv, /dev/shm and the home folder, and the host name of one machine are invisible to another;
    the shared folder, the project and its Python are at the same place on all."""
    machines.start("n1", "sleep", "4321")
    folders = ("/tmp", "/srv", "/dev/shm", "/root", machines.shared)
    machines.run("n1", "touch", *(f"{folder}/here" for folder in folders))
    wait_until(lambda: machines.processes("n1", "4321"), "the process is started")
    assert not machines.processes("n2", "sleep 4321")
    seen = machines.run("n2", "sh", "-c", f"ls {' '.join(f'{folder}/here' for folder in folders)} 2>/dev/null; true")
    assert seen == f"{machines.shared}/here\n"
    assert machines.run("n2", "hostname") == "n2\n"
    assert machines.run("n3", "python", "-c", "import segsweep; print(segsweep.__file__)").endswith("/segsweep/__init__.py\n")


def test_a_machine_without_power_or_cable_does_not_answer(machines: Machines) -> None:
    """A port answers until the machine's cable is disconnected, and again once it is reconnected; power off ends every process
    and deletes the private files, and the replacement has the same address and name."""
    machines.start("n2", "python", "-m", "http.server", "7000", "--directory", "/srv")
    machines.run("n2", "touch", "/tmp/here")
    wait_until(lambda: answers(machines, "n2"), "the server answers")
    machines.cut("n2")
    assert not answers(machines, "n2")
    machines.heal("n2")
    wait_until(lambda: answers(machines, "n2"), "the server answers again")
    machines.power_off("n2")
    assert not answers(machines, "n2")
    machines.replace("n2")
    assert machines.run("n2", "sh", "-c", "hostname; ls /tmp/here 2>/dev/null; true") == "n2\n"
    assert not machines.processes("n2", "http.server")
    assert not answers(machines, "n2")
