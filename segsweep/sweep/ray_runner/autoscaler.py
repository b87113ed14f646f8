"""What an autoscaler does about the machines that a study asks for."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
from ray.core.generated.autoscaler_pb2 import AutoscalingState, GetClusterStatusReply  # type: ignore[attr-defined]  # generated
from ray.experimental.internal_kv import _internal_kv_get
from ray.util.placement_group import placement_group, remove_placement_group

STARTING_SECONDS = 10.0  # a head that has just started has no report yet
READ_SECONDS = 5.0
FIRST_GENERATION = b"__autoscaling_status"  # where Ray's first autoscaler writes its report, also where it can launch nothing
UNMANAGED = "node_"  # how that report names a machine that no autoscaler launched


@dataclass(frozen=True)
class AutoscalerReport:
    """What the autoscaler of a cluster says of itself; `present` is False where there is none.

    `launching` names what it launches now, as `2 gpu-spot`. `infeasible` holds the resources that are asked for and that none of
    its machine types has, or no further machine that it may launch. `failed` is its last failure to launch. Ray's first
    autoscaler says neither: it does not `explain`.
    """

    present: bool
    launching: tuple[str, ...] = ()
    infeasible: tuple[Mapping[str, float], ...] = ()
    failed: str | None = None
    explains: bool = True

    def refuses(self, bundle: Mapping[str, float]) -> bool:
        """Return whether no machine that it may launch has these resources."""
        return not self.launching and dict(bundle) in [dict(each) for each in self.infeasible]

    def on(self, bundle: Mapping[str, float]) -> str:
        """Return in words what it does about a machine with these resources."""
        if self.launching:
            return f"the autoscaler launches {', '.join(self.launching)}"
        if self.refuses(bundle):
            return "the autoscaler says that none of its machine types has that, or that it may launch no more of them"
        if self.failed:
            return f"the autoscaler could not launch a machine: {self.failed}"
        return "the autoscaler launches nothing yet"


def read_report() -> AutoscalerReport:
    """Return what the autoscaler of the attached cluster says; waits for the first report shortly after the head's start."""
    deadline = time.monotonic() + STARTING_SECONDS
    while (found := _report()) is None:
        if time.monotonic() > deadline:
            return AutoscalerReport(present=False)
        time.sleep(0.5)
    return found


def _report() -> AutoscalerReport | None:
    reply = GetClusterStatusReply()
    address = ray.get_runtime_context().gcs_address
    try:
        reply.ParseFromString(GcsClient(address).get_cluster_status(timeout_s=READ_SECONDS))
    except ray.exceptions.RpcError:  # the head does not answer now
        return None
    if reply.autoscaling_state.autoscaler_state_version:
        return report_of(reply.autoscaling_state)
    legacy = _internal_kv_get(FIRST_GENERATION)
    return legacy_report(json.loads(legacy)) if legacy else None


def report_of(state: AutoscalingState) -> AutoscalerReport:
    """Return the report of Ray's second autoscaler, from its state."""
    launching = [f"{each.count} {each.ray_node_type_name}" for each in state.pending_instance_requests]
    starting = [each.ray_node_type_name for each in state.pending_instances]
    launching += [f"{starting.count(name)} {name}" for name in sorted(set(starting))]
    failures = [f"{each.ray_node_type_name}: {each.reason}" for each in state.failed_instance_requests]
    infeasible = [dict(each.resources_bundle) for gang in state.infeasible_gang_resource_requests for each in gang.requests]
    return AutoscalerReport(True, tuple(launching), tuple(infeasible), _one_line(failures[-1]) if failures else None)


def legacy_report(status: Mapping[str, object]) -> AutoscalerReport:
    """Return the report of Ray's first autoscaler, from the status that it writes. What is infeasible it does not say."""
    report = status.get("autoscaler_report") or {}
    assert isinstance(report, dict)
    if all(name.startswith(UNMANAGED) for name in report.get("active_nodes") or {}):
        return AutoscalerReport(present=False)
    launching = [f"{count} {name}" for name, count in (report.get("pending_launches") or {}).items()]
    starting = [node[1] for node in report.get("pending_nodes") or ()]  # address, type, state
    launching += [f"{starting.count(name)} {name}" for name in sorted(set(starting))]
    return AutoscalerReport(True, tuple(launching), explains=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


@contextmanager
def asking_for(bundle: Mapping[str, float], count: int) -> Iterator[None]:
    """Ask for places until the end: the autoscaler launches machines for what fits on none that is up."""
    asked = [placement_group([dict(bundle)]) for _ in range(count)]
    try:
        yield
    finally:
        for each in asked:
            remove_placement_group(each)
