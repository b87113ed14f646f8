"""Start and end of commands: their imports, exit codes, versions, completion, and text that is printed verbatim."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from segsweep.cli.commands import command_line
from segsweep.cli.study_script import _parser, main
from segsweep.config import Study, Target
from segsweep.console import error_console
from segsweep.errors import nearest
from segsweep.sweep.options import Options
from segsweep.sweep.progress import LiveView

HEAVY = ("torch", "ray", "timm", "pandas", "torchvision", "wandb", "numpy", "scipy", "PIL")
SCRIPT = """
from segsweep import Study, Target, main

study = Study(name="s", target=Target("generated_pets", protocol="70-10-20"), compare={{"source": ["random"]}}{more})
{line}
if __name__ == "__main__":
    main(study)
"""
ALL_HELP = f"""
import sys
from segsweep.cli.commands import command_line

for arguments in sys.argv[1:]:
    try:
        command_line(arguments.split())
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
loaded = [name for name in {HEAVY} if name in sys.modules]
assert not loaded, loaded
"""
IMPORTED = f"""
import atexit, sys

atexit.register(lambda: sys.stderr.write(str([name for name in {HEAVY} if name in sys.modules]) + chr(10)))
"""


def script(folder: Path, line: str = "", more: str = "") -> Path:
    """Write a study's file with an extra line before its command line."""
    path = folder / "study.py"
    path.write_text(SCRIPT.format(line=line, more=more))
    return path


def python(*arguments: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
    """Run Python and return the completed process."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_help_of_every_command_imports_nothing_heavy() -> None:
    """`--help`, `--version` and completion of `segsweep` and its commands load neither torch nor pandas nor numpy."""
    names = ("datasets", "models", "settings", "prepare", "status", "studies", "report", "sql", "export", "wandb sync", "predict")
    ended = python("-c", ALL_HELP, "--help", "--version", "completion bash", "settings", *(f"{name} --help" for name in names))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["--version"], 0), (["--set", "frction=1"], 2), (["--threads", "0"], 2)]
)
def test_a_study_reads_its_arguments_before_it_imports_anything_heavy(tmp_path: Path, arguments: list[str], code: int) -> None:
    """`--help`, `--version`, a wrong setting and a wrong option of a study's script end before torch is loaded."""
    ended = python(script(tmp_path, IMPORTED), *arguments)
    assert ended.returncode == code
    assert ended.stderr.splitlines()[-1] == "[]"


def test_version_names_what_results_depend_on(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` of both kinds of commands is one line with the versions of segsweep, torch, ray and Python."""
    from importlib.metadata import version

    outputs = []
    study = Study(name="s", target=Target("pets"), compare={"source": ["random"]})
    for command in (partial(command_line, ["--version"]), partial(main, study, arguments=["--version"])):
        with pytest.raises(SystemExit, match="0"):
            command()
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 1
    assert f"torch {version('torch')}, ray {version('ray')}, Python 3." in outputs[0]


def test_a_mistake_in_the_study_file_itself_exits_with_2(tmp_path: Path) -> None:
    """A mistake that is found while the study file is executed is one line and exit code 2, like one on its command line."""
    ended = python(script(tmp_path, more=', fixed={"frction": 1}'), "--plan")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: study s: fixed: unknown name 'frction'; nearest: fraction")
    assert ended.stderr.count("\n") == 1
    broken = python(script(tmp_path, "raise ZeroDivisionError"))
    assert (broken.returncode, broken.stderr.splitlines()[-1]) == (1, "ZeroDivisionError")  # not a mistake of the user


def test_an_interactive_session_continues_after_a_mistake() -> None:
    """At a prompt, a mistake is one line, and the session continues."""
    session = "import segsweep\nraise segsweep.UserError('wrong')\nprint('goes on')\n"
    ended = python("-i", input=session)
    assert "goes on" in ended.stdout
    assert "error: wrong" in ended.stderr


def test_ctrl_c_while_a_module_is_imported_is_one_line(tmp_path: Path) -> None:
    """Ctrl-C while the study file imports a module ends with 130 and one line; elsewhere in a script its traceback stays."""
    (tmp_path / "slow.py").write_text("raise KeyboardInterrupt\n")
    ended = python(script(tmp_path, "import slow"))
    assert (ended.returncode, ended.stderr) == (130, "interrupted while starting\n")
    assert "Traceback" in python(script(tmp_path, "raise KeyboardInterrupt")).stderr


def test_a_run_announces_its_start_and_handles_ctrl_c_meanwhile(tmp_path: Path) -> None:
    """The first line is printed before torch is imported; Ctrl-C during that import gives exit code 130 and one more line."""
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which shells have their background jobs ignore
    process = subprocess.Popen(
        [sys.executable, script(tmp_path), "--plan"], stderr=subprocess.PIPE, text=True, cwd=tmp_path, preexec_fn=heard
    )
    assert process.stderr is not None
    assert ": starting (importing torch) ..." in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    assert rest == "interrupted; everything so far is kept. To continue: python study.py --plan\n"


def test_a_closed_pipe_ends_a_command_quietly(finished: Path) -> None:
    """With stdout closed, as after `| head`, a command prints no traceback and exits as a shell expects."""
    query = "select i.* from images i, images j"
    code = "import sys; from segsweep.cli.commands import command_line; command_line(sys.argv[1:])"
    command = [sys.executable, "-c", code, "sql", query, str(finished / "runs" / "tiny"), "--csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_options_of_a_run_are_declared_once() -> None:
    """Every field of `Options` is a flag of a study's command line with the same default, and has a help text."""
    study = Study(name="s", target=Target("pets"), compare={"source": ["random"]})
    parser = _parser(study, {"demo": None, "as_published": None}, {})
    read = vars(parser.parse_args([]))
    assert Options(**{field.name: read[field.name] for field in fields(Options)}) == Options()
    given = parser.parse_args(["--runner", "inline", "--threads", "2", "--gpus-per-trial", "0.5", "--deterministic"])
    assert (given.runner, given.threads, given.gpus_per_trial, given.deterministic) == ("inline", 2, 0.5, True)
    assert all(action.help for action in parser._actions)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("pre", ["predict", "prepare"]),
        ("wandb s", ["sync"]),
        ("wandb sync --wandb of", ["offline"]),
        ("prepare pets --fit ra", ["raw-crop"]),
        ("export runs/tiny --b", ["--best"]),
        ("status ru", []),  # for which bash completes file names
    ],
)
def test_bash_completes_commands_options_and_values(words: str, offered: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The printed script offers the commands, the options of the current command, and the values of an option."""
    command_line(["completion", "bash"])
    line = f"COMP_WORDS=(segsweep {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _segsweep; echo ${{COMPREPLY[@]}}"
    ended = subprocess.run(["bash", "-c", capsys.readouterr().out + line], capture_output=True, text=True, check=True)
    assert sorted(ended.stdout.split()) == offered


def test_text_of_the_user_is_printed_verbatim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither an emoji's name nor markup is interpreted: in a line, in a mistake, and in the display's bars."""
    odd = "folder:a:smile:[bold]x[/bold]"
    error_console().print(odd, soft_wrap=True)
    assert capsys.readouterr().err == f"{odd}\n"
    study = Study(name="s", target=Target("pets"), compare={"source": ["random"]})
    with pytest.raises(SystemExit, match="2"):
        main(study, arguments=["--plan", "--data", odd, "--store", str(tmp_path)])
    assert odd in capsys.readouterr().err
    console = Console(emoji=False, markup=False, highlight=False, force_terminal=True, width=150)
    view = LiveView(console)
    view.data(odd, 1, 2)
    view.close()
    assert odd in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "near"),
    [("lr", ["learning_rate"]), ("Epoch", ["epochs"]), ("rate", ["learning_rate"]), ("", []), ("xyzzy", [])],
)
def test_nearest_names_are_abbreviations_misspellings_and_parts(name: str, near: list[str]) -> None:
    """`lr` finds learning_rate; a misspelling and a part of a name find the name; a text like no name finds nothing."""
    assert nearest(name, ["seeds", "epochs", "learning_rate"]) == near
