"""A study as the RayJob of `cluster/kubernetes`, with Ray's autoscaler for Kubernetes, which requests pods from a stand-in."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from machines import MINUTES, PROJECT, Machines, require, wait_until
from small_study import assert_whole, make_study

HEAD = "kube"
STAND_IN = Path(__file__).parent / "kubernetes_stand_in.py"
PORT = "6443"


@pytest.fixture(scope="module")
def machine_names() -> Sequence[str]:
    return (HEAD,)


def cluster_of_the_manifest() -> dict[str, Any]:
    """Return the manifest's cluster, with workers of one core that leave soon, because this machine has no GPU and few cores."""
    manifest = yaml.safe_load((PROJECT / "cluster" / "kubernetes" / "base" / "study.yaml").read_text())
    spec = manifest["spec"]["rayClusterSpec"]
    small = {"cpu": "1", "memory": "1Gi"}
    (group,) = spec["workerGroupSpecs"]
    group["template"]["spec"]["containers"][0]["resources"] = {"requests": small, "limits": small}
    group["maxReplicas"] = 2
    spec["autoscalerOptions"]["idleTimeoutSeconds"] = 10
    return spec


@pytest.fixture(scope="module")
def variables(machines: Machines) -> Iterator[dict[str, str]]:
    """The environment of a pod, after the head, the autoscaler and the stand-in of the API server have started on a machine."""
    require("openssl")
    folder, address = machines.shared, f"{machines.address(HEAD)}:6379"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "certificate.pem", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *key, *names], cwd=folder, check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    spec = cluster_of_the_manifest()
    (folder / "spec.json").write_text(json.dumps(spec))
    token = {"RAY_AUTH_MODE": spec["authOptions"]["mode"], "RAY_AUTH_TOKEN": "of-this-test-alone-" + "x" * 32}
    head = {"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": "segsweep-head", "RAY_NODE_TYPE_NAME": "headgroup", **token}
    parameters = [f"--{name}={value}" for name, value in spec["headGroupSpec"]["rayStartParams"].items()]
    where = (f"--node-ip-address={machines.address(HEAD)}", "--port=6379", "--no-monitor", "--object-store-memory=100000000")
    machines.run(HEAD, "ray", "start", "--head", *where, *parameters, **head)
    machines.start(HEAD, "python", STAND_IN, folder / "spec.json", address, PORT, folder / "both.pem", **token)
    certificates = {
        "RAY_KUBERAY_CA_CERT_PATH": str(folder / "certificate.pem"),
        "RAY_KUBERAY_CLIENT_CERT_PATH": str(folder / "certificate.pem"),
        "RAY_KUBERAY_CLIENT_KEY_PATH": str(folder / "key.pem"),
    }
    server = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT_HTTPS": PORT, "RAY_HEAD_POD_NAME": "segsweep-head"}
    command = (
        "ray",
        "kuberay-autoscaler",
        "--cluster-name",
        "segsweep",
        "--cluster-namespace",
        "default",
        "--gcs-address",
        address,
    )
    into_a_file = ("bash", "-c", 'exec "$@" > autoscaler.log 2>&1', "bash")  # its pipe has no reader
    machines.start(HEAD, *into_a_file, *command, **token, **server, **certificates)
    yield {"RAY_ADDRESS": address, **token}
    machines.power_off(HEAD)


@pytest.mark.timeout(15 * MINUTES)
def test_a_study_requests_pods_and_leaves_none(
    machines: Machines, variables: dict[str, str], expected: pd.DataFrame, ellipses: Path, boxes: Path
) -> None:
    """With a head without cores, Ray's autoscaler for Kubernetes launches the study's workers, with a token, and ends them after
    the study; every number is that of an undisturbed run."""
    study = make_study(machines.shared / "kube", ellipses, boxes)
    driver = machines.start(HEAD, "python", study.script, "--threads", "1", cwd=study.folder, **variables)
    output, _ = driver.communicate(timeout=12 * MINUTES)
    assert driver.returncode == 0, output
    assert "waiting for a machine with 1 core" in output
    assert len(machines.processes(HEAD, "raylet/raylet --raylet_socket")) > 1, "the head's alone"
    assert_whole(study, expected, {})
    wait_until(lambda: len(machines.processes(HEAD, "raylet/raylet --raylet_socket")) == 1, "idle workers leave", 2 * MINUTES)
