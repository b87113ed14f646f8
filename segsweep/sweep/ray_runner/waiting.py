"""Fit workers to the machines of a cluster; wait for machines that its autoscaler launches if none fits."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from segsweep.durations import readable_seconds
from segsweep.errors import OutageError, UserError
from segsweep.sweep.options import Options
from segsweep.sweep.progress import View
from segsweep.sweep.ray_runner.autoscaler import AutoscalerReport, asking_for, read_report
from segsweep.sweep.ray_runner.machines import Machines
from segsweep.sweep.worker_pool import NotLaunchedYetError, TooSmallError, WorkerPool, fit_pool, free_places, machine_for

POLL_SECONDS = 0.5
REMIND_SECONDS = 60.0  # interval after which an unchanged line is printed again
UNANSWERED_SECONDS = 60.0  # without a sign from the autoscaler, a machine with a GPU is not expected after this time
UNEXPLAINED_SECONDS = 20.0  # the same for an autoscaler that never reports what it cannot launch


@dataclass
class Waiting:
    """Finds the workers for a study on a cluster whose machines may be launched only on request.

    `at_most` is the maximum number of tasks that can run at once. `report` returns the autoscaler's report.
    """

    machines: Machines
    options: Options
    at_most: int
    view: View
    report: Callable[[], AutoscalerReport] = read_report
    _said: tuple[float, str] = field(default=(0.0, ""), init=False)
    _has_tried: bool = field(default=False, init=False)  # whether the autoscaler has launched a machine, or failed to

    def pool(self, *, may_ask: bool = True) -> WorkerPool:
        """Return the worker pool that fits. If none fits, request machines from the autoscaler and wait for them.

        With `--device auto`, a machine with a GPU is requested before CPU cores are used.

        Raises:
            TooSmallError: No worker fits, and there is no autoscaler.
            NotLaunchedYetError: Machines are needed, and `may_ask` is False.
            UserError: After `--wait-for-nodes`: no machine of the autoscaler can run a worker.
            OutageError: After `--wait-for-nodes`: no machine has joined.
        """
        if self._gpus_may_join():
            if not may_ask:
                raise NotLaunchedYetError("the machines of the cluster's autoscaler are unknown until it launches them")
            if (found := self._wait(replace(self.options, device="cuda"), insist=False)) is not None:
                return found
            self.view.notify("no machine with a GPU can join: workers compute on CPU cores; to wait for GPUs, use --device cuda")
        try:
            return self._fit(self.options)
        except TooSmallError as error:
            if not self.report().present:
                raise
            if not may_ask:
                raise NotLaunchedYetError(str(error)) from None
        found = self._wait(self.options)
        assert found is not None
        return found

    def _gpus_may_join(self) -> bool:
        """Return whether an autoscaler may launch the GPUs that `--device auto` prefers and no machine has yet."""
        without = self.options.device == "auto" and not any(node.gpus for node in self.machines.nodes())
        return without and self.options.gpus_per_trial is None and self.report().present

    def _fit(self, options: Options) -> WorkerPool:
        """Return the worker pool that fits on the running machines, and report resources that other jobs occupy."""
        nodes = self.machines.nodes()
        pool = fit_pool(nodes, options, self.at_most)
        free = free_places(nodes, pool.size)
        if free < pool.workers:
            held = ", ".join(str(node) for node in nodes if pool.size.places(node) and free_places([node], pool.size) == 0)
            occupied = f"other jobs occupy the resources of {pool.workers - free} of {pool.workers} workers"
            self.view.notify(f"{occupied}, which start when these are freed: {held}")
        return pool

    def _wait(self, options: Options, *, insist: bool = True) -> WorkerPool | None:
        """Request machines, wait until workers fit, and return their pool.

        Without `insist`, return None as soon as no machine is expected. With it, raise an error after `--wait-for-nodes`.
        """
        bundle = self._bundle(options)
        started, limit = time.monotonic(), 60 * options.wait_for_nodes
        with asking_for(bundle, options.group):
            while (found := self._fitting(options)) is None:
                report, waited = self.report(), time.monotonic() - started
                self._has_tried |= bool(report.launching or report.failed)
                patience = UNANSWERED_SECONDS if report.explains else UNEXPLAINED_SECONDS
                silent = waited > patience and not (report.launching or report.failed)
                if not insist and (report.refuses(bundle) or silent or waited > limit):
                    break
                if waited > limit:
                    raise self._over(bundle, report)
                self._say(f"{machine_for(bundle)}: {report.on(bundle)}", waited)
                time.sleep(POLL_SECONDS)
        self.view.waiting(None)
        return found

    def _fitting(self, options: Options) -> WorkerPool | None:
        """Return the worker pool that fits on the running machines that can run segsweep, None if none fits."""
        self.machines.check_all()
        try:
            return fit_pool(self.machines.nodes(), options, self.at_most)
        except TooSmallError:
            return None

    def _bundle(self, options: Options) -> dict[str, float]:
        """Return the minimum resources of one worker, under Ray's names."""
        gpus = (options.gpus_per_trial or 1.0) if options.device == "cuda" or options.gpus_per_trial is not None else 0.0
        gpus = gpus or float(any(node.gpus for node in self.machines.nodes()) and options.device == "auto")
        return {"CPU": float(options.threads or 1), **({"GPU": gpus} if gpus else {})}

    def _say(self, line: str, waited: float) -> None:
        self.view.waiting(line)
        said_at, said = self._said
        if line != said or waited - said_at >= REMIND_SECONDS:
            limit = readable_seconds(60 * self.options.wait_for_nodes)
            self.view.notify(f"waiting for {line} ({readable_seconds(waited)} of at most {limit}, --wait-for-nodes)")
            self._said = (waited, line)

    def _over(self, bundle: dict[str, float], report: AutoscalerReport) -> Exception:
        limit = readable_seconds(60 * self.options.wait_for_nodes)
        text = f"{machine_for(bundle)} did not join within {limit} (--wait-for-nodes): {report.on(bundle)}"
        if report.refuses(bundle) or not self._has_tried:
            return UserError(f"{text}; reduce --threads or --gpus-per-trial, or add such a machine type to the cluster")
        return OutageError(f"{text}; nothing is lost: the same command continues")
