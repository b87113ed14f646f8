"""Files of `ray up`: Ray's schema accepts them, AWS launches the requested machines, and Google's API has every field."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_files.repository import CLUSTER, INSTALL, ROOT, load, shown, tool

FILES = [path for path in [CLUSTER / "machines.yaml", *sorted((CLUSTER / "cloud").glob("*.yaml"))] if path.exists()]
CLOUDS = [path for path in FILES if path.parent.name == "cloud"]
HERE = Path(__file__).parent
named = pytest.mark.parametrize("path", FILES, ids=shown)
in_a_cloud = pytest.mark.parametrize("path", CLOUDS, ids=shown)


def checked(config: dict[str, Any]) -> dict[str, Any]:
    """Return a cluster's file as `ray up` completes it; raise if Ray rejects it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    complete: dict[str, Any] = prepare_config(config)
    validate_config(complete)
    return complete


@named
def test_rays_schema_accepts_the_file(path):
    """`ray up` would accept the file."""
    checked(load(path))


@in_a_cloud
def test_rays_schema_rejects_mistakes(path):
    """A misspelt field of the file, and a minimum of machines above the maximum, are rejected."""
    from jsonschema import ValidationError

    config = load(path)
    with pytest.raises(ValidationError, match="idle_timeout"):
        checked({**config, "idle_timeout": 10})
    config["available_node_types"]["gpu-spot"]["min_workers"] = config["max_workers"] + 1
    with pytest.raises(ValueError, match="max_workers"):
        checked(config)


@in_a_cloud
def test_the_head_does_no_work_and_workers_come_and_go(path):
    """Trials run on spot machines with a GPU, which are launched on request and end when they are idle."""
    config = load(path)
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"] == {"CPU": 0}
    workers = [each for name, each in types.items() if name != config["head_node_type"]]
    assert [each["min_workers"] for each in workers] == [0]
    assert config["max_workers"] == sum(each["max_workers"] for each in workers)
    assert config["provider"]["cache_stopped_nodes"] is False
    assert config["idle_timeout_minutes"] <= 10


@in_a_cloud
def test_the_copied_files_exist_and_suffice(path):
    """The files that are copied from the repository exist, and suffice to install segsweep; the token is copied, too."""
    mounts = load(path)["file_mounts"]
    assert mounts["~/.ray/auth_token"] == "~/.ray/auth_token"
    copied = {place.removeprefix("~/segsweep/"): source for place, source in mounts.items() if place.startswith("~/segsweep/")}
    assert copied == {name: name for name in ("segsweep", "pyproject.toml", "requirements.lock", "README.md")}
    assert all((ROOT / name).exists() for name in copied)


@contextmanager
def moto() -> Iterator[dict[str, str]]:
    """Start moto's AWS server; yield the environment with which a program uses it as AWS."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    server = subprocess.Popen(
        [tool("moto_server", "moto[server]"), "-H", "127.0.0.1", "-p", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, server)
        yield environment
    finally:
        server.terminate()
        server.wait(20)


def wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    """Wait until a server listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "moto_server has ended"
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("moto_server does not listen")


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An empty AWS account; keys that Ray creates are stored in a separate home folder."""
    pytest.importorskip("boto3", reason=f"needs boto3; {INSTALL}")
    (tmp_path / ".ssh").mkdir()
    with moto() as environment:
        yield {**environment, "HOME": str(tmp_path)}


def ask_aws(environment: dict[str, str], *changes: str) -> "subprocess.CompletedProcess[str]":
    """Run `ask_aws.py` on the file for AWS."""
    command = [sys.executable, str(HERE / "ask_aws.py"), str(CLUSTER / "cloud" / "aws.yaml"), *changes]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_aws_launches_the_requested_machines(aws):
    """The head is an on-demand machine without work, workers are spot machines with one GPU of the type's kind; a misspelt field
    of a machine, which Ray's schema accepts, is rejected."""
    asked = ask_aws(aws)
    assert asked.returncode == 0, asked.stderr[-2000:]
    found = json.loads(asked.stdout.splitlines()[-1])
    assert found["launched"] == {"head": ["m7i.large", None], "gpu-spot": ["g5.xlarge", "spot"]}
    assert found["resources"]["head"]["CPU"] == 0
    assert found["resources"]["gpu-spot"] == {**found["resources"]["gpu-spot"], "CPU": 4, "GPU": 1}
    assert found["groups"] == 1
    refused = ask_aws(aws, "gpu-spot.InstanceMarketOption=spot")
    assert refused.returncode != 0
    assert 'Unknown parameter in input: "InstanceMarketOption"' in refused.stdout + refused.stderr


def compute_schema() -> dict[str, Any]:
    """Return the fields of Google's Compute API, by type, from Google's own client."""
    discovery = pytest.importorskip("googleapiclient.discovery_cache", reason=f"needs google-api-python-client; {INSTALL}")
    document = Path(discovery.__file__).parent / "documents" / "compute.v1.json"
    schemas: dict[str, Any] = json.loads(document.read_text(encoding="utf-8"))["schemas"]
    return schemas


def unknown(value: Any, kind: dict[str, Any], schemas: dict[str, Any], place: str) -> list[str]:
    """Return the parts of a value that its type in Google's API lacks: fields, values of enumerations, other types."""
    if "$ref" in kind:
        return unknown(value, schemas[kind["$ref"]], schemas, place)
    if kind["type"] == "object" and "properties" in kind:
        if not isinstance(value, dict):
            return [f"{place}: not an object"]
        missing = [f"{place}.{name}: unknown field" for name in value.keys() - kind["properties"].keys()]
        known = [(name, item) for name, item in value.items() if name in kind["properties"]]
        return missing + [
            each for name, item in known for each in unknown(item, kind["properties"][name], schemas, f"{place}.{name}")
        ]
    if kind["type"] == "array":
        if not isinstance(value, list):
            return [f"{place}: not a list"]
        return [each for item in value for each in unknown(item, kind["items"], schemas, place)]
    if "enum" in kind and value not in kind["enum"]:
        return [f"{place}: {value} is none of {kind['enum']}"]
    fits = {"boolean": bool, "integer": int, "string": (str, int)}[kind["type"]]  # an int64 is a string in JSON
    return [] if isinstance(value, fits) else [f"{place}: not {kind['type']}"]


@pytest.mark.cluster
def test_google_knows_every_field_of_the_machines():
    """Each node's fields are those of an instance in Google's Compute API, including nested ones; mistakes are found."""
    schemas = compute_schema()
    types = load(CLUSTER / "cloud" / "gcp.yaml")["available_node_types"]
    for name, node_type in types.items():
        assert unknown(node_type["node_config"], schemas["Instance"], schemas, name) == []
    machine = yaml.safe_load(yaml.safe_dump(types["gpu-spot"]["node_config"]))
    machine["scheduling"]["provisioningMode"] = machine["scheduling"].pop("provisioningModel")
    machine["scheduling"]["onHostMaintenance"] = "STOP"
    machine["disks"][0]["boot"] = "yes"
    found = unknown(machine, schemas["Instance"], schemas, "gpu-spot")
    assert [each.split(":")[0] for each in sorted(found)] == [
        "gpu-spot.disks.boot",
        "gpu-spot.scheduling.onHostMaintenance",
        "gpu-spot.scheduling.provisioningMode",
    ]
