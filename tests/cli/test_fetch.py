"""`segsweep fetch`: the files that a study needs are downloaded on one machine, and named on a machine that lacks them."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from file_server import FileServer, file_server
from safetensors.torch import save
from segmentation_models_pytorch.encoders import encoders, get_encoder

from segsweep.cli.commands import command_line
from segsweep.config import Choice, Study, Target
from segsweep.config.work import StageSpec
from segsweep.errors import UserError
from segsweep.fetching import FetchError
from segsweep.models import published_file
from segsweep.models.published_file import HubFile, UrlFile
from segsweep.store.contents import WEIGHTS, WEIGHTS_FILE
from segsweep.store.opening import open_store
from segsweep.sweep.published_weights import check_published, published_weights

ENTRY = encoders["resnet18"]["pretrained_settings"]["imagenet"]
HUB_FILE = f"/{ENTRY['repo_id']}/resolve/{ENTRY['revision']}/model.safetensors"
SCRIPT = """
from dataclasses import replace
from segsweep import Choice, Study, Target, main
from segsweep.data import download

archives = [replace(a, url="{address}/" + a.name, md5=m) for a, m in zip(download.DOWNLOADS["pets"], {md5})]
download.DOWNLOADS = {{**download.DOWNLOADS, "pets": tuple(archives)}}
study = Study(
    name="s",
    target=Target("pets"),
    compare={{"source": ["random", "imagenet"{more}]}},
    tune={{"learning_rate": Choice([1e-3])}},
    fixed={{"architecture": "unet-resnet18", "image_px": 64}},
)
if __name__ == "__main__":
    main(study)
"""
LOAD = """
import sys
from segsweep.models.pretrained import imagenet_encoder
print(float(imagenet_encoder("resnet18")[0]["conv1.weight"][0, 0, 0, 0]))
"""


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server with two archives of pets, and a weight file as the Hugging Face hub serves it."""
    state = {name: tensor.contiguous() for name, tensor in get_encoder("resnet18", weights=None).state_dict().items()}
    state["conv1.weight"] = torch.full_like(state["conv1.weight"], 0.25)
    archives = {}
    for name in ("images", "annotations"):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            entry = tarfile.TarInfo(f"{name}/a.txt")
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b"a"))
        archives[f"/{name}.tar.gz"] = content.getvalue()
    with file_server({HUB_FILE: save(state), **archives}) as served:
        yield served


@pytest.fixture
def environment(tmp_path: Path, server: FileServer) -> dict[str, str]:
    """An environment with private caches, whose hub is the server."""
    left = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TORCH_HOME"))}
    caches = {"HF_HOME": str(tmp_path / "hf"), "TORCH_HOME": str(tmp_path / "torch")}
    return {**left, **caches, "HF_ENDPOINT": server.address, "HF_HUB_DISABLE_XET": "1"}


def fetch(folder: Path, environment: dict[str, str], server: FileServer, more: str = "") -> "subprocess.CompletedProcess[str]":
    """Run `segsweep fetch` for a study's script in a folder, with datasets in `data`."""
    md5 = [hashlib.md5(server.files[f"/{name}.tar.gz"]).hexdigest() for name in ("images", "annotations")]
    (folder / "study.py").write_text(SCRIPT.format(address=server.address, md5=md5, more=more))
    (folder / "data").mkdir(exist_ok=True)
    code = "import sys; from segsweep.cli.commands import command_line; command_line(sys.argv[1:])"
    command = [sys.executable, "-c", code, "fetch", "study.py", "--data", "data"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_downloaded_files_are_found_without_a_network(tmp_path: Path, environment: dict[str, str], server: FileServer) -> None:
    """Weights and datasets are stored where they are read; a failed download is one line, and the next call repeats only that."""
    server.cuts["/images.tar.gz"] = [5, 10, 15]
    first = fetch(tmp_path, environment, server, ', "supervised:cityscapes"')
    assert first.returncode == 1, first.stderr
    lines = first.stderr.splitlines()
    assert "images.tar.gz: the connection ended after 15 of" in next(line for line in lines if line.startswith("dataset pets: "))
    by_hand = next(line for line in lines if line.startswith("dataset cityscapes: "))
    assert "get it from cityscapes-dataset.com (with a login) and put it into" in by_hand
    assert lines[-1] == "2 downloads failed; the same command tries them again"
    assert "Traceback" not in first.stderr
    second = fetch(tmp_path, environment, server)
    assert second.returncode == 0, second.stderr
    assert f"dataset pets: {tmp_path / 'data' / 'oxford-iiit-pet'}" in second.stdout
    assert second.stdout.splitlines()[-1].endswith(f"Weights: HF_HOME={tmp_path / 'hf'} TORCH_HOME={tmp_path / 'torch'}")
    assert [path for path, _ in server.asked].count(HUB_FILE) == 1
    assert ("/images.tar.gz", "bytes=15-") in server.asked
    offline = {**environment, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    loaded = subprocess.run([sys.executable, "-c", LOAD], env=offline, capture_output=True, text=True, check=False)
    assert loaded.stdout == "0.25\n", loaded.stderr


def test_a_file_that_is_no_study_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file, and a file that does not call `main`, are one line and exit code 2."""
    (tmp_path / "other.py").write_text("x = 1\n")
    for name, words in (("none.py", "no such file"), ("other.py", "does not call main(study)")):
        with pytest.raises(SystemExit, match="2"):
            command_line(["fetch", str(tmp_path / name)])
        error = capsys.readouterr().err
        assert error.startswith(f"error: fetch {tmp_path / name}: ")
        assert words in error
        assert error.count("\n") == 1


STUDY = Study(
    name="s",
    target=Target("pets"),
    compare={"source": ["random", "imagenet", "imagenet:IMAGENET1K_V2", "coco-weights"], "architecture": ["deeplabv3-resnet50"]},
    tune={"learning_rate": Choice([1e-3])},
)


@pytest.fixture
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches, on a machine without a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(published_file.hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(published_file, "reachable", lambda _: False)


@pytest.mark.usefixtures("no_caches")
def test_every_missing_weight_file_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is rejected with each file, its place and the remedy, and a plan prints the same; with a network both list the
    downloads; files in the store or the cache are not named."""
    store, lines = open_store(tmp_path / "store"), list[str]()
    with pytest.raises(UserError) as caught:
        check_published(STUDY, store, lines.append, planning=False)
    check_published(STUDY, store, lines.append, planning=True)
    assert lines == [str(caught.value)]
    names = ("model.safetensors of smp-hub/resnet50.imagenet", "resnet50-11ad3fa6.pth of https", "deeplabv3_resnet50_coco-")
    places = (f"{tmp_path}/hub/models--smp-hub--resnet50.imagenet/snapshots/", f"{tmp_path}/torch/hub/checkpoints")
    assert all(text in lines[0] for text in (*names, *places, "segsweep fetch STUDY.py --data ROOT")), lines[0]
    coco = published_weights(STUDY)[-1].file
    coco.place.parent.mkdir(parents=True)
    coco.place.touch()
    check_published(STUDY, store, lines.append, planning=True)
    assert "deeplabv3_resnet50_coco-" not in lines[-1]
    assert "resnet50-11ad3fa6.pth" in lines[-1]
    monkeypatch.setattr(published_file, "reachable", lambda _: True)
    check_published(STUDY, store, lines.append, planning=False)
    assert lines[-1].startswith("published weights that are not on this machine and will be downloaded when needed: ")


@pytest.mark.usefixtures("no_caches")
def test_weights_that_the_store_holds_need_no_file(tmp_path: Path) -> None:
    """If a stage of published weights is built, its file is not required."""
    store = open_store(tmp_path / "store")
    stage = next(settings.chain.stages[0] for _, settings in STUDY.cells() if settings.source == "imagenet")
    key = StageSpec(stage, "resnet50", seed=0).key(None)
    with store.building(WEIGHTS, key) as build:
        (build.folder / WEIGHTS_FILE).write_bytes(b"weights")
        build.commit({})
    assert [each.what for each in published_weights(STUDY, store)] == [each.what for each in published_weights(STUDY)][1:]


@pytest.mark.usefixtures("no_caches")
def test_only_complete_files_in_caches_count() -> None:
    """A partial download in either cache does not count."""
    hub_file, url_file = HubFile("a/b", "r", ("model.safetensors",)), UrlFile("https://host/net-0123abcd.pth")
    for file in (hub_file, url_file):
        file.place.parent.mkdir(parents=True)
        file.place.with_name(f"{file.place.name}.partial").touch()
        assert not file.is_whole
        file.place.touch()
        assert file.is_whole


@pytest.mark.usefixtures("no_caches")
def test_an_unreachable_hub_is_not_reported_as_a_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the host and why it does not answer; only the hub's own answer leads to a missing file."""
    file = HubFile("a/b", "0" * 40, ("model.safetensors",))
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
    )
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # it tries five times
    with pytest.raises(FetchError, match=r"/a/b: .*[Cc]onnection refused"):
        file.fetch(print)
