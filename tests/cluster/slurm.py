"""A real Slurm cluster for tests: munged and slurmctld on one machine, slurmd on the others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from machines import Machines, wait_until

LOGIN = "login"
CONF = """
ClusterName=lab
SlurmctldHost={login}({login_address})
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir=/srv/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile=/srv/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
MinJobAge=3600
SchedulerParameters=bf_interval=2,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
SlurmctldTimeout=30
SlurmdTimeout=15
SlurmdParameters=config_overrides
GresTypes=gpu
{nodes}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=60 MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    """A Slurm cluster: partition `low`, whose jobs are preempted with a minute of grace, and `high`, whose jobs preempt them.

    Every node has two CPUs and one GPU, which is a name without a device.
    """

    machines: Machines
    nodes: Sequence[str]
    conf: Path

    def run(self, *command: str | Path, cwd: Path | None = None, **variables: str) -> str:
        """Run a command on the login machine, and return its output."""
        return self.machines.run(LOGIN, *command, cwd=cwd, SLURM_CONF=str(self.conf), **variables)

    def submit(self, *arguments: str | Path, cwd: Path | None = None, **variables: str) -> str:
        """Submit a job, and return its number."""
        return self.run("sbatch", "--parsable", *arguments, cwd=cwd, **variables).strip()

    def job(self, job: str) -> dict[str, str]:
        """Return the fields of a job, under `scontrol`'s names."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, job: str) -> str:
        """Return a job's state, for example RUNNING."""
        return self.job(job)["JobState"]

    def await_state(self, job: str, *states: str, seconds: float = 60) -> None:
        """Wait until a job is in one of the given states."""
        wait_until(lambda: self.state(job) in states, f"job {job} is {' or '.join(states)}", seconds, every=0.5)

    def resume(self, job: str) -> None:
        """Release a requeued job, which Slurm holds for two minutes."""
        self.await_state(job, "PENDING")
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def start_daemon(self, node: str) -> None:
        """Start slurmd on a machine, and wait until its node is idle."""
        self.machines.run(node, "slurmd", "-N", node, SLURM_CONF=str(self.conf))
        wait_until(lambda: self.run("sinfo", "-h", "-n", node, "-p", "low", "-o", "%T").strip() == "idle", f"{node} is idle", 30)


@contextmanager
def slurm_up(machines: Machines) -> Iterator[Slurm]:
    """Yield a Slurm cluster on all machines except `LOGIN`, from which jobs are submitted."""
    folder = machines.shared / "slurm"
    (folder / "state").mkdir(parents=True)
    nodes = [name for name in machines.names if name != LOGIN]
    slurm = Slurm(machines, nodes, folder / "slurm.conf")
    lines = [f"NodeName={name} NodeAddr={machines.address(name)} CPUs=2 RealMemory=2000 Gres=gpu:1" for name in nodes]
    text = CONF.format(login=LOGIN, login_address=machines.address(LOGIN), folder=folder, nodes="\n".join(lines))
    slurm.conf.write_text(text)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # with it, slurmd requires no cgroup
    _start_munge(machines, folder)
    slurm.run("slurmctld", "-c")
    for name in nodes:
        slurm.start_daemon(name)
    yield slurm


def _start_munge(machines: Machines, folder: Path) -> None:
    """Start the daemon that signs Slurm's messages; all machines use its socket in the shared folder."""
    (folder / "munge.key").touch(mode=0o600)
    machines.run(LOGIN, "dd", "if=/dev/urandom", f"of={folder}/munge.key", "bs=128", "count=1", "status=none")
    places = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    options = [f"--{option}={folder / name}" for option, name in places.items()]
    machines.run(LOGIN, "munged", "--force", "--seed-file=/srv/munge.seed", *options)
