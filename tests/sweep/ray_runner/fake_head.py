"""A stand-in for a Ray head that answers one request, with or without a token."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from ray.core.generated import gcs_service_pb2


@contextmanager
def fake_head(token: str | None = None, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Yield the address of a head that rejects requests without this token (None: it accepts all requests).

    With a certificate and its key it uses TLS, as Ray does, and accepts clients with a certificate signed by this one.
    """

    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        given = dict(context.invocation_metadata()).get("authorization")
        if token is not None and given != f"Bearer {token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken: Authentication token is missing or incorrect")
        return gcs_service_pb2.GetClusterIdReply(cluster_id=b"1" * 28).SerializeToString()

    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", {"GetClusterId": method}),)
    )
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        chain, key = (path.read_bytes() for path in certificate)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)], chain, require_client_auth=True))
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
