"""`cluster/README.md`: the real tools accept every command, every file is named, and every link has a target."""

import re
import subprocess

import pytest
from cluster_files.commands import OF_THIS_PROJECT, commands_of, refusal, shown_in
from cluster_files.repository import CLUSTER, ROOT, files

PAGE = (CLUSTER / "README.md").read_text(encoding="utf-8")


def comments() -> list[str]:
    """Return the commands in the opening comments of files: the indented lines."""
    found = []
    for path in files():
        if path.suffix != ".md":
            opening = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
            lines = re.findall(r"^#   +(\S.*)$", opening[0].replace("\\\n#", " ") if opening else "", re.MULTILINE)
            found += lines
    return found


LINES = list(dict.fromkeys([*shown_in(PAGE), *comments()]))
COMMANDS = list(dict.fromkeys(tuple(words) for line in LINES for words in commands_of(line)))
OWN = [words for words in COMMANDS if words[0] in OF_THIS_PROJECT]
OTHERS = [words for words in COMMANDS if words[0] not in OF_THIS_PROJECT]


def test_the_commands_are_found():
    """The page's blocks and table and the files' comments all contribute commands."""
    assert {"ray", "python", "sbatch", "kubectl", "sky", "docker"} <= {words[0] for words in COMMANDS}
    assert len(OWN) > 15


@pytest.mark.parametrize("line", LINES)
def test_the_shell_accepts_every_line(line):
    """Quotes, parentheses and operators are correct."""
    checked = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("words", OWN, ids=" ".join)
def test_ray_and_segsweep_accept_their_commands(words):
    """The command line of Ray or of the study has every option and file."""
    assert refusal(words) is None


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_other_tools_accept_their_commands(words):
    """kubectl, docker, SkyPilot or Slurm have every option."""
    assert refusal(words) is None


@pytest.mark.parametrize(
    "line",
    [
        "ray up --yess cluster/cloud/aws.yaml",
        "ray upp -y cluster/cloud/aws.yaml",
        "ray up -y cluster/cloud/azure.yaml",
        "ray job submit --working-dir . -- python sweeps/transfer_grid.py --date ROOT",
        "RAY_AUTH_MODE=token ray job submit --adress http://127.0.0.1:8265 -- python sweeps/transfer_grid.py",
        "python sweeps/transfer_grid.py --data ROOT --runner spark",
        "segsweep datasetz",
        "heml install kuberay",
    ],
)
def test_mistakes_in_commands_are_noticed(line):
    """A misspelt command, option, file or tool is found, also after `--`."""
    assert [words for words in commands_of(line) if refusal(words) is not None]


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "line",
    [
        "kubectl apply -kk cluster/kubernetes/base",
        "kubectl port-foward svc/segsweep-head-svc 8265",
        "docker build -f cluster/image/Dockerfile --tagg segsweep:0.1 .",
        "sky jobs lunch cluster/skypilot.yaml",
        "sky jobs launch cluster/skypilot.yaml --secrets",
        "sbatch --nodes=two cluster/slurm/study.sbatch",
        "squeue --mee",
    ],
)
def test_mistakes_in_commands_of_other_tools_are_noticed(line):
    """Each tool's parser can reject arguments."""
    assert [words for words in commands_of(line) if refusal(words) is not None]


def test_the_table_names_every_way():
    """The page's table links every file from which a study starts, and has a section for each way."""
    table = "\n".join(line for line in PAGE.splitlines() if line.startswith("| "))
    ways = {path for path in files() if path.suffix in (".yaml", ".sbatch") and "kubernetes" not in path.parts}
    for path in ways | {CLUSTER / "kubernetes" / "base" / "study.yaml", CLUSTER / "image" / "Dockerfile"}:
        assert f"]({path.relative_to(CLUSTER)})" in table, path
    assert len(ways_of(PAGE)) == len(re.findall(r"\| `[^`]+` \|", table))


def test_the_main_page_links_this_page():
    """A reader of the front page finds this page."""
    assert "(cluster/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_links_have_targets(link):
    """A link names an existing file, and an existing heading of its page."""
    name, _, anchor = link.partition("#")
    page = (CLUSTER / name).resolve() if name else CLUSTER / "README.md"
    assert page.exists()
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
    assert not anchor or anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def ways_of(page: str) -> list[str]:
    """Return the sections of the page that describe one way to run a study: those that the line "The ways" links."""
    links = page.partition("The ways: ")[2].partition("\n\n")[0]
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    titles = [" ".join(title.split()).casefold() for title in re.findall(r"\[([^\]]+)\]", links)]
    return [section for section in sections if section.splitlines()[0].removeprefix("A ").casefold() in titles]


def test_each_way_takes_few_words():
    """A way is at most 270 words long, its commands included."""
    for section in ways_of(PAGE):
        assert len(section.split()) <= 270, section.splitlines()[0]
