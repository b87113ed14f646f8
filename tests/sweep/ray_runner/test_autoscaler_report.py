"""Reports of autoscalers, from states and reports of Ray 2.60."""

from ray.core.generated.autoscaler_pb2 import AutoscalingState

from segsweep.sweep.ray_runner.autoscaler import AutoscalerReport, legacy_report, report_of


def test_the_v2_autoscaler_reports_launches_and_infeasible_demands():
    """Launches, starting machines, and demands that no type fits are read from its state, with the last failure."""
    state = AutoscalingState(autoscaler_state_version=4)
    assert report_of(state) == AutoscalerReport(True)
    state.pending_instance_requests.add(ray_node_type_name="gpu", count=2)
    state.pending_instances.add(ray_node_type_name="cpu")
    state.failed_instance_requests.add(ray_node_type_name="gpu", count=1, reason="no\n  capacity")
    state.infeasible_gang_resource_requests.add().requests.add().resources_bundle.update({"CPU": 8.0, "GPU": 1.0})
    found = report_of(state)
    assert found == AutoscalerReport(True, ("2 gpu", "1 cpu"), ({"CPU": 8.0, "GPU": 1.0},), "gpu: no capacity")
    assert not found.refuses({"CPU": 8.0, "GPU": 1.0})  # the launched machine may fit it, beside another demand


def test_a_demand_is_refused_only_if_it_is_listed():
    """Another job's infeasible demand does not count."""
    found = AutoscalerReport(True, infeasible=({"CPU": 8.0},))
    assert found.refuses({"CPU": 8.0})
    assert not found.refuses({"CPU": 4.0})
    assert "no machine type has these resources" in found.on({"CPU": 8.0})
    assert found.on({"CPU": 4.0}) == "the autoscaler has not launched a machine yet"


def test_the_v1_autoscaler_is_distinguished_from_a_cluster_without_one():
    """A plain `ray start --head` writes a report, too: its machines are named by their ids."""
    plain = {"autoscaler_report": {"active_nodes": {"node_dca6fb5b": 1}, "pending_launches": {}, "pending_nodes": []}}
    assert not legacy_report(plain).present
    assert not legacy_report({"autoscaler_report": None}).present
    launching = {
        "active_nodes": {"ray.head.default": 1},
        "pending_launches": {"gpu": 1},
        "pending_nodes": [["10.0.0.1", "gpu", "setting-up"], ["10.0.0.2", "gpu", "setting-up"]],
    }
    assert legacy_report({"autoscaler_report": launching}) == AutoscalerReport(True, ("1 gpu", "2 gpu"), explains=False)
