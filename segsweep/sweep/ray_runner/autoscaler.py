"""The report of a cluster's autoscaler, and requests to it for machines."""

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

STARTING_SECONDS = 10.0  # time limit of waiting for the first report after the head's start
READ_SECONDS = 5.0
FIRST_GENERATION = b"__autoscaling_status"  # key of the report of Ray's v1 autoscaler, written even if it can launch nothing
UNMANAGED = "node_"  # prefix in that report of the type of a machine that no autoscaler launched


@dataclass(frozen=True)
class AutoscalerReport:
    """The report of a cluster's autoscaler; `present` is False if the cluster has none.

    `launching` lists the machines that it launches now, for example `2 gpu-spot`. `infeasible` lists requested resources that no
    machine type has, or no further machine that it may launch. `failed` is its last failure to launch a machine. The v1
    autoscaler of Ray reports neither of the two; `explains` is False for it.
    """

    present: bool
    launching: tuple[str, ...] = ()
    infeasible: tuple[Mapping[str, float], ...] = ()
    failed: str | None = None
    explains: bool = True

    def refuses(self, bundle: Mapping[str, float]) -> bool:
        """Return whether no machine that the autoscaler may launch has these resources."""
        return not self.launching and dict(bundle) in [dict(each) for each in self.infeasible]

    def on(self, bundle: Mapping[str, float]) -> str:
        """Return, in words, the autoscaler's reaction to a request for a machine with these resources."""
        if self.launching:
            return f"the autoscaler launches {', '.join(self.launching)}"
        if self.refuses(bundle):
            return "the autoscaler reports that no machine type has these resources, or that it may launch no more of them"
        if self.failed:
            return f"the autoscaler could not launch a machine: {self.failed}"
        return "the autoscaler has not launched a machine yet"


def read_report() -> AutoscalerReport:
    """Return the report of the attached cluster's autoscaler. If there is none yet, wait for it up to `STARTING_SECONDS`."""
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
    except ray.exceptions.RpcError:  # the head does not answer at the moment
        return None
    if reply.autoscaling_state.autoscaler_state_version:
        return report_of(reply.autoscaling_state)
    legacy = _internal_kv_get(FIRST_GENERATION)
    return legacy_report(json.loads(legacy)) if legacy else None


def report_of(state: AutoscalingState) -> AutoscalerReport:
    """Return the report of Ray's v2 autoscaler, from its state."""
    launching = [f"{each.count} {each.ray_node_type_name}" for each in state.pending_instance_requests]
    starting = [each.ray_node_type_name for each in state.pending_instances]
    launching += [f"{starting.count(name)} {name}" for name in sorted(set(starting))]
    failures = [f"{each.ray_node_type_name}: {each.reason}" for each in state.failed_instance_requests]
    infeasible = [dict(each.resources_bundle) for gang in state.infeasible_gang_resource_requests for each in gang.requests]
    return AutoscalerReport(True, tuple(launching), tuple(infeasible), _one_line(failures[-1]) if failures else None)


def legacy_report(status: Mapping[str, object]) -> AutoscalerReport:
    """Return the report of Ray's v1 autoscaler, from the status that it writes. It does not list infeasible requests."""
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
    """Within this context, request resources for `count` workers: the autoscaler launches machines for those that do not fit."""
    asked = [placement_group([dict(bundle)]) for _ in range(count)]
    try:
        yield
    finally:
        for each in asked:
            remove_placement_group(each)
