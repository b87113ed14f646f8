"""Every code block, command and link of the repository's Markdown pages works; blocks that need no data are executed."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from markdown_pages import ROOT, Page, docstring_commands, mistakes, pages, read, shell_mistakes

import segsweep.records
from segsweep.cli.init import study_text
from segsweep.records import load

EXECUTED_ELSEWHERE = {"sweeps/EXTENDING.md"}  # by tests/sweeps/test_extending.py, which trains


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def dataset(name: str) -> Any:
    """Return an object that stands for the reader's dataset."""
    parts = ("schemes", "fit", "pool", "protocols", "examples", "files", "revision", "read")
    return SimpleNamespace(name=name, **dict.fromkeys(parts))


READERS_NAMES = {  # that blocks of studies use for the reader's own things
    **{name: lambda name=name: dataset(name) for name in ("MyData", "OtherData", "Photos")},
    "MyNet": lambda classes: classes,
    "tversky": lambda logits, mask: logits.sum() + mask.sum(),
}


@pytest.mark.parametrize("path", pages(), ids=page_name)
def test_blocks_commands_and_links_are_right(path: Path) -> None:
    """Python compiles and names what exists, commands are parsed by their own parsers, data is well-formed, links lead on."""
    assert not (found := mistakes(read(path))), "\n".join(found)


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.py")), ids=page_name)
def test_commands_of_scripts_are_right(path: Path) -> None:
    """The commands in the docstring of a study's script are parsed by its own parser, and there is at least one."""
    commands = docstring_commands(path)
    assert commands
    assert [mistake for command in commands for mistake in shell_mistakes(command)] == []


def blocks_with(path: Path, mark: str) -> list[str]:
    return [block.text for block in read(path).blocks if block.language == "python" and mark in block.text]


@pytest.mark.parametrize("path", [path for path in pages() if page_name(path) not in EXECUTED_ELSEWHERE], ids=page_name)
def test_studies_of_pages_can_be_built(path: Path) -> None:
    """A block that declares a study builds it: its axes, settings and values are right. Nothing is trained."""
    for text in blocks_with(path, "Study("):
        exec(compile(text, path, "exec"), {"__name__": "page", **READERS_NAMES})


def test_pages_show_the_template_as_it_is() -> None:
    """Where a page writes a study with `segsweep init` and shows it, the block declares the study of that file."""
    shown = 0
    for path in pages():
        for name, folder in re.findall(r"^segsweep init (\S+) --target (\S+)", read(path).text, re.MULTILINE):
            for text in blocks_with(path, f'name="{name}"'):
                names: list[dict[str, Any]] = [{"__name__": "page"}, {"__name__": "page"}]
                for code, into in zip((text, study_text(name, Path(folder))), names, strict=True):
                    exec(compile(code, path, "exec"), into)
                assert names[0]["study"] == names[1]["study"], page_name(path)
                shown += 1
    assert shown


def test_blocks_that_read_records_run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page that read records run one after another, on the records of a small study."""
    for module in (segsweep, segsweep.records):
        monkeypatch.setattr(module, "load", lambda *_, **__: load(finished / "runs" / "tiny"))
    executed = 0
    for path in pages():
        names: dict[str, Any] = {"__name__": "page", "load": segsweep.records.load}
        for text in blocks_with(path, "records"):
            if "Study(" not in text and page_name(path) not in EXECUTED_ELSEWHERE:
                exec(compile(text, path, "exec"), names)
                executed += 1
    assert executed


SH = "```sh\n{}\n```\n"
BROKEN = {
    "an unknown option": (SH.format("python sweeps/transfer_grid.py --data ROOT --presets laptop"), "unrecognized arguments"),
    "an unknown preset": (SH.format("python sweeps/transfer_grid.py --preset laptops"), "invalid choice: 'laptops'"),
    "an unknown setting": (SH.format("python sweeps/transfer_grid.py --set epoch=2"), "unknown name 'epoch'"),
    "a wrong value": (SH.format("python sweeps/transfer_grid.py --set freeze=all"), "freeze"),
    "an option of another script": (SH.format("python sweeps/transfer_grid.py --as-published"), "unrecognized arguments"),
    "an unknown command": (SH.format("segsweep plan runs"), "invalid choice: 'plan'"),
    "a missing argument": (SH.format("segsweep sql"), "required: QUERY"),
    "a wrong command after another": (
        SH.format("export A=1 && segsweep status a b c --nope"),
        "unrecognized arguments: b c --nope",
    ),
    "a script that is not there": (
        SH.format("python sweeps/transfer_grids.py"),
        "sweeps/transfer_grids.py: there is no such file",
    ),
    "a file for Slurm": (SH.format("sbatch cluster/study.sbatch python sweeps/encoders.py"), "cluster/study.sbatch: there is no"),
    "a command within Ray's": (
        SH.format("ray job submit -- python sweeps/encoders.py --demos"),
        "unrecognized arguments: --demos",
    ),
    "a command within Docker's": (SH.format("docker run x python /opt/segsweep/sweeps/no.py"), "sweeps/no.py: there is no such"),
    "an option of fetch's script": (SH.format("segsweep fetch sweeps/encoders.py --sets a=1"), "unrecognized arguments"),
    "a continued line": (SH.format("segsweep studies \\\n    runs --nope"), "unrecognized arguments: --nope"),
    "a quote that does not close": (SH.format("segsweep sql 'select"), "shell: No closing quotation"),
    "an unknown marker": (SH.format('pytest -m "not slows"'), "no marker 'slows'"),
    "a command in the prose": ("Then `segsweep status runs/a --follows` shows it.", "unrecognized arguments: --follows"),
    "a command that is only named": ("Then `segsweep statuses` shows it.", "invalid choice: 'statuses'"),
    "Python syntax": ("```python\nx = (\n```\n", "Python: "),
    "a name that segsweep lacks": ("```python\nfrom segsweep import Studies\n```\n", "segsweep has no Studies"),
    "a name that a module lacks": ("```python\nfrom segsweep.records import loads\n```\n", "segsweep.records has no loads"),
    "a module that is not there": ("```python\nimport segsweep.recordings\n```\n", "there is no module segsweep.recordings"),
    "an attribute": ("```python\nimport segsweep\nsegsweep.runs(1)\n```\n", "segsweep has no runs"),
    "JSON": ("```json\n{'a': 1}\n```\n", "JSON: "),
    "TOML": ("```toml\na = \n```\n", "TOML: "),
    "YAML": ("```yaml\na: [1\n```\n", "YAML: "),
    "an unknown language": ("```pyton\nx\n```\n", "block of 'pyton'"),
    "a link": ("See [this](sweeps/nothing.md).", "link to sweeps/nothing.md: there is no such file"),
    "a figure": ("![a](analysis/nothing.png)", "link to analysis/nothing.png: there is no such file"),
    "an anchor": ("# A title\n\n[there](#another-title)", "link to #another-title: there is no such heading"),
    "an anchor elsewhere": ("[there](CHANGELOG.md#nothing)", "link to CHANGELOG.md#nothing: there is no such heading"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_kind_of_mistake_is_found(name: str) -> None:
    """A page with one mistake has one line, with its place and what is wrong."""
    text, part = BROKEN[name]
    (line,) = mistakes(Page(ROOT / "PAGE.md", text))
    assert line.startswith("PAGE.md:")
    assert part in line


def test_what_is_right_is_no_mistake() -> None:
    """Variables, redirections, pipes, comments, names in capitals, output and links within code are no mistakes."""
    text = (
        "# `segsweep` & co\n\n[here](#segsweep--co) and [there](README.md), `a[b](c)`, `segsweep status`, https://example.org/x\n\n"
        + SH.format("A=1 python sweeps/encoders.py --demo > log.txt 2>&1 | tail -1 # --nope\n(umask 077; segsweep studies runs)")
        + SH.format("segsweep init street --target ~/street && python street.py --plan --data ROOT")
        + "```\n--nope\n```\n"
        + "- a list\n\n  ```json\n  {}\n  ```\n"
    )
    assert mistakes(Page(ROOT / "PAGE.md", text)) == []
