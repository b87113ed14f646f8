"""Clips, drawn from the predictions that a confirmed run kept."""

import shutil
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from drawn_study import Drawn
from PIL import Image
from recorded_study import recorded

import segsweep
from segsweep.config import Study, Target
from segsweep.models.architectures import build_model
from segsweep.records import Records
from segsweep.report import clips
from segsweep.report.answer.answer import answer_of
from segsweep.report.clips import ACROSS, GAP_PX, LINE_PX, TILE_PX, Clip, draw_frames, write_clips
from segsweep.report.overlay import overlay
from segsweep.report.page.sections import clips as clips_of_page
from segsweep.report.page.sections.clips import clips_section
from segsweep.report.page.study_view import StudyView
from segsweep.store.folder import FolderStore
from segsweep.training.batches import normalise

FRAMES, SHOWN = 3, 2


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, ellipses: Path) -> tuple[Records, Path]:
    """The records of a study of one cell that keeps two images over two steps, and its store."""
    folder = tmp_path_factory.mktemp("clips")
    study = Study(
        "clips",
        Target(f"folder:{ellipses}"),
        compare={"source": ["random"]},
        fixed={"architecture": "unet4", "image_px": 32, "steps": 2, "validations": 2, "batch_size": 8, "clip_images": SHOWN},
        seeds=1,
    )
    return segsweep.run(study, out=folder / "runs", runner="inline", device="cpu", threads=1), folder / "store"


@pytest.fixture
def records(ran: tuple[Records, Path], tmp_path: Path) -> Records:
    """The same records, with an empty folder to write into."""
    return replace(ran[0], folder=tmp_path / "study")


def tile(picture, mask) -> np.ndarray:
    """Return an image overlaid with its mask, as large as a tile."""
    picture = np.asarray(Image.fromarray(picture).resize((TILE_PX, TILE_PX), Image.Resampling.BILINEAR))
    return overlay(picture, np.asarray(Image.fromarray(mask).resize((TILE_PX, TILE_PX), Image.Resampling.NEAREST)))


def cut(frame: Image.Image, column: int, row: int) -> np.ndarray:
    """Return one tile of a frame: rows 0 and 1 are prediction and truth of the first images."""
    left = GAP_PX + column * (TILE_PX + GAP_PX)
    top = 2 * LINE_PX + row * (TILE_PX + LINE_PX + GAP_PX) + LINE_PX
    return np.asarray(frame.crop((left, top, left + TILE_PX, top + TILE_PX)))


def test_the_first_frame_shows_the_start_model(ran, records):
    """There is one frame more than results, in the GIF, too; the first shows the predictions of the untrained model."""
    lines = write_clips(records, ran[1])
    (folder,) = (records.folder / "clips").iterdir()
    assert folder.name == "source=random"
    assert lines == ["clips/ shows the predictions of 1 cell over time"]
    assert sorted(path.name for path in folder.glob("*.png")) == [f"frame-{number:04d}.png" for number in range(FRAMES)]
    with Image.open(folder / "clip.gif") as gif:
        assert gif.n_frames == FRAMES
    trial = records.trials.iloc[0]
    with np.load(FolderStore(ran[1]).folder("model", trial["model_key"]) / "clip.npz") as kept:
        images, truths = kept["pictures_KHWC"], kept["truths_KHW"]
    model = build_model("unet4", 2, seed=int(trial["seed"])).eval()
    with torch.no_grad():
        start = model(normalise(torch.from_numpy(images).permute(0, 3, 1, 2))).argmax(dim=1).numpy().astype(np.uint8)
    with Image.open(folder / "frame-0000.png") as frame:
        for number in range(SHOWN):
            assert np.array_equal(cut(frame, number, 0), tile(images[number], start[number]))
            assert np.array_equal(cut(frame, number, 1), tile(images[number], truths[number]))


def test_existing_frames_are_not_redrawn(ran, records, monkeypatch):
    """A second report keeps the frames; those of another run of the cell replace them."""
    write_clips(records, ran[1])
    monkeypatch.setattr(clips, "draw_frames", lambda _: pytest.fail("it was drawn again"))
    write_clips(records, ran[1])
    monkeypatch.undo()
    (folder,) = (records.folder / "clips").iterdir()
    (folder / "frame-0007.png").touch()
    (folder / "drawn.json").write_text("of another run")
    write_clips(records, ran[1])
    assert not (folder / "frame-0007.png").exists()


def test_a_movie_is_made_if_ffmpeg_is_installed(ran, records, monkeypatch, tmp_path):
    """Without ffmpeg there is no clip.mp4 and no message; with it, the next report makes one; a failure of it is reported."""
    with monkeypatch.context() as without:
        without.setattr(shutil, "which", lambda _: None)
        assert len(write_clips(records, ran[1])) == 1
    (folder,) = (records.folder / "clips").iterdir()
    assert not (folder / "clip.mp4").exists()
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho no such encoder >&2\nexit 1\n")
    broken.chmod(0o755)
    with monkeypatch.context() as failing:
        failing.setattr(shutil, "which", lambda _: str(broken))
        assert write_clips(records, ran[1])[1:] == [f"{folder / 'clip.mp4'}: no such encoder"]
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg here")
    assert len(write_clips(records, ran[1])) == 1
    assert (folder / "clip.mp4").stat().st_size > 1000
    assert not (folder / "clip.mp4.tmp").exists()


def test_an_unreadable_clip_is_reported_and_its_frames_stay(ran, records, tmp_path):
    """A clip that cannot be drawn affects neither the report nor existing frames; frames of removed cells are deleted."""
    store = Path(shutil.copytree(ran[1], tmp_path / "store"))
    write_clips(records, store)
    (folder,) = (records.folder / "clips").iterdir()
    stale = Path(shutil.copytree(folder, folder.parent / "source=gone"))
    model = FolderStore(store).open("model", records.trials["model_key"].iloc[0])
    files = model.folder.rename(tmp_path / "files")
    with FolderStore(store).building("model", model.key) as build:
        shutil.copytree(files, build.folder, dirs_exist_ok=True)
        (build.folder / "artifact.json").unlink()
        (build.folder / "clip.npz").write_bytes((files / "clip.npz").read_bytes()[:100])
        altered = build.commit(model.metadata)
    records = replace(records, trials=records.trials.assign(model_hash=altered.content_hash))
    (folder / "drawn.json").write_text("of another run")
    (problem,) = write_clips(records, store)
    assert "clip.npz: cannot be drawn: BadZipFile" in problem
    assert (folder / "frame-0000.png").is_file()
    assert not stale.exists()


def test_many_images_take_several_rows():
    """Images that do not fit side by side are below, each prediction above its truth; the captions distinguish the frames."""
    rng = np.random.default_rng(0)
    count = ACROSS + 1
    images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    truths, predicted = (rng.integers(0, 2, (count, 16, 16), dtype=np.uint8) for _ in range(2))
    clip = Clip(images, truths, np.stack([predicted, predicted]), ["background", "b"], "cell", ["one", "two"])
    frames = list(draw_frames(clip))
    assert len({frame.tobytes() for frame in frames}) == 2
    assert np.array_equal(cut(frames[0], 0, 2), tile(images[-1], predicted[-1]))
    assert np.array_equal(cut(frames[0], 0, 3), tile(images[-1], truths[-1]))


def test_cells_have_separate_folders():
    """Names that file systems reject are changed, and no two cells share a folder."""
    names = clips._folder_names(["source=supervised:folder:/a b/c freeze=none", "a/b", "a b", "../x", "y" * 300])
    assert names[0] == "source=supervised_folder_a_b_c_freeze=none"
    assert len(set(names)) == 5
    assert all(len(name) <= 110 and "/" not in name and not name.startswith(".") for name in names)


def test_the_page_shows_the_drawn_clips(ran, records):
    """A clip is in the page once it is drawn, in a closed fold with an alternative text."""
    assert clips_section(StudyView(records, answer_of(records))) is None
    write_clips(records, ran[1])
    section = clips_section(StudyView(records, answer_of(records)))
    assert section is not None
    (fold,) = ElementTree.fromstring(f"<div>{section.content}</div>").iter("details")
    assert "open" not in fold.attrib
    image = fold.find("img")
    gif = (records.folder / "clips" / "source=random" / "clip.gif").read_bytes()
    assert image.attrib["src"] == f"data:image/gif;base64,{b64encode(gif).decode()}"
    assert image.attrib["alt"].startswith("random weights: predictions and truth")


def test_the_page_leaves_out_clips_that_are_too_large(ran, records, monkeypatch):
    """One clip is always shown; further ones only while all together fit the limit, and the rest are counted."""
    monkeypatch.setattr(clips_of_page, "MOST_BYTES", 1)
    write_clips(records, ran[1])
    drawn = clips.drawn_clips(records)["source=random"]
    both = replace(recorded(Drawn({"source": ["random", "near"]})), folder=records.folder)
    monkeypatch.setattr(clips_of_page, "drawn_clips", lambda _: dict.fromkeys(both.study["cells"], drawn))
    section = clips_section(StudyView(both, answer_of(both)))
    assert section is not None
    assert section.content.count("<details>") == 1
    assert "has those of 1 more cell." in section.content
