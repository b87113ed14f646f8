"""A stand-in for the API server of Kubernetes and KubeRay's operator, for Ray's autoscaler and one RayCluster.

usage: kubernetes_stand_in.py SPEC.json GCS_ADDRESS PORT CERTIFICATE.pem

It serves the RayCluster `segsweep` and its pods over HTTPS, applies the autoscaler's patches, and starts and ends `ray start`
where the operator would start and end pods.
"""

import json
import os
import re
import ssl
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CLUSTER = {"ray.io/cluster": "segsweep"}


class Operator:
    """A RayCluster, with a process in place of each pod of its workers."""

    def __init__(self, spec: dict[str, Any], address: str) -> None:
        self.cluster = {"metadata": {"name": "segsweep", "namespace": "default", "resourceVersion": "1"}, "spec": spec}
        self._address = address
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._launched = 0

    def patch(self, operations: list[dict[str, Any]]) -> None:
        """Apply a patch of the autoscaler: numbers of workers, and names of workers to end."""
        (group,) = self.cluster["spec"]["workerGroupSpecs"]
        for operation in operations:
            assert operation["op"] == "replace"
            name = re.fullmatch(r"/spec/workerGroupSpecs/0/(replicas|scaleStrategy)", operation["path"])
            assert name, operation
            group[name[1]] = operation["value"]
        for worker in group.get("scaleStrategy", {}).get("workersToDelete", []):
            if (process := self._processes.pop(worker, None)) is not None:
                process.terminate()
        while len(self._processes) < group["replicas"]:
            self._launch(group)

    def pods(self) -> list[dict[str, Any]]:
        """Return the head's pod and those of the running workers."""
        gone = [name for name, process in self._processes.items() if process.poll() is not None]
        for name in gone:
            del self._processes[name]
        workers = [_pod(name, "worker", "gpu") for name in self._processes]
        return [_pod("segsweep-head", "head", "headgroup"), *workers]

    def _launch(self, group: dict[str, Any]) -> None:
        self._launched += 1
        name = f"segsweep-gpu-worker-{self._launched}"
        cores = group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]
        options = [f"--num-cpus={cores}", "--num-gpus=0", "--object-store-memory=100000000", "--block"]
        names = {"RAY_CLOUD_INSTANCE_ID": name, "RAY_NODE_TYPE_NAME": group["groupName"]}
        command = ["ray", "start", f"--address={self._address}", *options]
        self._processes[name] = subprocess.Popen(
            command, env={**os.environ, **names}, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )


def _pod(name: str, kind: str, group: str) -> dict[str, Any]:
    labels = {**CLUSTER, "ray.io/node-type": kind, "ray.io/group": group}
    status = {"podIP": "127.0.0.1", "containerStatuses": [{"state": {"running": {}}}]}
    return {"metadata": {"name": name, "labels": labels, "resourceVersion": "1"}, "status": status, "spec": {"containers": []}}


def handler(operator: Operator) -> type[BaseHTTPRequestHandler]:
    """Return a handler of the requests that Ray's autoscaler sends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pods = operator.pods()
            if "/rayclusters/" in self.path:
                self._answer(operator.cluster)
            elif found := re.search(r"/pods/([\w-]+)$", self.path):
                self._answer(next(pod for pod in pods if pod["metadata"]["name"] == found[1]))
            else:
                self._answer({"metadata": {"resourceVersion": "1"}, "items": pods})

        def do_PATCH(self) -> None:
            operator.patch(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer(operator.cluster)

        def _answer(self, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def main(spec: str, address: str, port: str, certificate: str) -> None:
    """Serve until the process is ended."""
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), handler(Operator(json.loads(Path(spec).read_text()), address)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
