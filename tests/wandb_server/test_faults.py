"""Behaviour of the server with a fault, and of the real client with such a server."""

import socket
import time
from urllib.parse import urlsplit

import pytest
import wandb

from wandb_server import Down, LoseAnswer, RateLimit, Refuse, Silent, Slow, WandbServer, When
from wandb_server.faults import FILE_UPLOADS, Fault

BOUNDED = wandb.Settings(finish_timeout=0.5, finish_timeout_raises=True)
PROMPT = wandb.Settings(x_file_stream_retry_wait_min_seconds=1, x_file_stream_retry_wait_max_seconds=1)  # whole seconds only


def epochs(server: WandbServer) -> list[int]:
    """Return the epochs of the only run's history."""
    server.fault = None
    (run,) = wandb.Api().runs("lab/segsweep")
    return [row["epoch"] for row in run.scan_history()]


def await_rows(server: WandbServer, count: int) -> None:
    """Wait until the server has `count` lines of history."""
    deadline = time.monotonic() + 10
    while len(server.store.rows("SELECT 1 FROM lines")) < count:
        assert time.monotonic() < deadline, "the rows did not arrive"
        time.sleep(0.02)


def test_a_slow_server_delays_every_answer(wandb_server: WandbServer) -> None:
    """Everything arrives, later."""
    wandb_server.fault = Slow(0.1)
    begin = time.monotonic()
    with wandb.init(project="segsweep", id="t1") as run:
        run.log({"epoch": 1})
    assert time.monotonic() - begin > 3 * 0.1
    assert epochs(wandb_server) == [1]


@pytest.mark.parametrize("fault", [Refuse(500), Silent(), Down()], ids=str)
def test_a_run_cannot_begin_without_a_server(wandb_server: WandbServer, fault: Fault) -> None:
    """`init` fails after its timeout; after `teardown` the same run starts when the server is back."""
    wandb_server.fault = fault
    begin = time.monotonic()
    with pytest.raises(wandb.errors.CommError, match="Timed out"):
        wandb.init(project="segsweep", id="t1", settings=wandb.Settings(init_timeout=0.2))
    assert 0.2 <= time.monotonic() - begin < 5
    wandb.teardown()
    wandb_server.fault = None
    with wandb.init(project="segsweep", id="t1") as run:
        run.log({"epoch": 1})
    assert epochs(wandb_server) == [1]


@pytest.mark.parametrize("fault", [Refuse(503), Down()], ids=str)
def test_unsent_data_is_reported_and_resumed(wandb_server: WandbServer, fault: Fault) -> None:
    """`finish` raises after its timeout; the resumed run's `starting_step` is the server's, so nothing is sent twice."""
    run = wandb.init(project="segsweep", id="t1", settings=BOUNDED)
    for epoch in range(3):
        run.log({"epoch": epoch})
    await_rows(wandb_server, 3)
    wandb_server.fault = fault
    for epoch in range(3, 6):
        run.log({"epoch": epoch})
    with pytest.raises(TimeoutError):
        run.finish()
    assert epochs(wandb_server) == [0, 1, 2]
    with wandb.init(project="segsweep", id="t1", resume="allow") as run:
        for epoch in range(run.starting_step, 6):
            run.log({"epoch": epoch})
    assert epochs(wandb_server) == [*range(6)]


@pytest.mark.parametrize("fault", [Down(), LoseAnswer(), RateLimit(1)], ids=str)
def test_a_running_client_sends_again_without_duplicates(wandb_server: WandbServer, fault: Fault) -> None:
    """A server that was down for a moment, or whose response got lost, finally has every row once."""
    wandb_server.fault = When(fault, kind="POST file_stream", after=1, times=1)  # the first request precedes all rows
    run = wandb.init(project="segsweep", id="t1", settings=PROMPT)
    for epoch in range(4):
        run.log({"epoch": epoch})
    deadline = time.monotonic() + 10
    while not wandb_server.notes.faulty["POST file_stream"]:
        assert time.monotonic() < deadline, "the client did not meet the fault"
        time.sleep(0.02)
    wandb_server.fault = None
    run.finish()
    assert epochs(wandb_server) == [0, 1, 2, 3]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_final_refusal_is_not_reported(wandb_server: WandbServer, status: int) -> None:
    """The client gives up after such a status and `finish` returns without error: only reading shows what arrived."""
    run = wandb.init(project="segsweep", id="t1", settings=BOUNDED)
    wandb_server.fault = Refuse(status)
    run.log({"epoch": 1})
    run.finish()
    assert epochs(wandb_server) == []


def test_a_fault_can_come_later_and_hit_uploads_only(wandb_server: WandbServer) -> None:
    """Numbers arrive while every file after the first upload is refused."""
    wandb_server.fault = When(Refuse(404), kind=FILE_UPLOADS, after=1)
    with wandb.init(project="segsweep", id="t1") as run:
        run.log({"epoch": 1})
    assert len(wandb_server.uploads) == 1
    assert wandb_server.notes.faulty["PUT storage/run"] >= 1
    assert epochs(wandb_server) == [1]


def test_a_port_that_is_down_stays_reserved(wandb_server: WandbServer) -> None:
    """While the server is down connections are refused, and no other process can bind its port."""
    wandb_server.fault = Down()
    address = urlsplit(wandb_server.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), 1)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((address.hostname, address.port))
    wandb_server.fault = None
    socket.create_connection((address.hostname, address.port), 1).close()
