"""Clips: the predictions of every cell's best confirmed run during its training, as frames, a GIF and a movie."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from segsweep.data.dataset import Pixels
from segsweep.records.confirmed_models import models_of
from segsweep.records.study_records import Records
from segsweep.report.cells import median_runs
from segsweep.report.overlay import background_of, legend, overlay
from segsweep.store.contents import CLIP_FILE
from segsweep.store.protocol import Artifact

GIF, MOVIE, DRAWN_FILE = "clip.gif", "clip.mp4", "drawn.json"
DRAWING = 1  # version of the drawing; raise it by hand when frames look different, so that existing ones are redrawn
TILE_PX, GAP_PX, TEXT_PX, LINE_PX, ACROSS = 192, 6, 12, 18, 4
FRAME_MS, LAST_MS = 250, 1500
MOVIE_SECONDS = 300  # time limit of encoding one movie
NAME_LENGTH = 100


@dataclass(frozen=True)
class Clip:
    """The clip of a confirmed run: K images (uint8), their masks, predictions at T moments, and the texts to draw.

    `title` names the run; `captions` has one line per frame.
    """

    images_KHWC: Pixels
    truths_KHW: Pixels
    frames_TKHW: Pixels
    classes: Sequence[str]
    title: str
    captions: Sequence[str]


def write_clips(records: Records, store: str | Path) -> list[str]:
    """Draw `clips/CELL/frame-0000.png` ..., `clip.gif` and, if `ffmpeg` is installed, `clip.mp4` into a study's folder.

    Each cell shows its confirmed run of median test IoU, if that run kept a clip. Existing drawings are kept, except those of
    cells that no longer exist, which are removed. Returns lines on the result for the user.
    """
    runs = median_runs(records)
    run_of = {str(trial["cell"]): trial for _, trial in runs.iterrows()}
    models, _ = models_of(runs, store)
    current, drawn, problems = set(), 0, []
    for cell, name in zip(records.study["cells"], _folder_names(records.study["cells"]), strict=True):
        found = models.get(str(run_of[cell]["trial_id"])) if cell in run_of else None
        if found is None or not (found.folder / CLIP_FILE).is_file():
            continue
        folder = records.folder / "clips" / name
        current.add(folder)
        try:
            _draw_unless_drawn(folder, run_of[cell], found)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            problems.append(f"{found.folder / CLIP_FILE}: cannot be drawn: {error!r}")
            continue
        drawn += 1
        if (problem := _movie(folder)) is not None:
            problems.append(f"{folder / MOVIE}: {problem}")
    for stale in (records.folder / "clips").glob(f"*/{DRAWN_FILE}"):
        if stale.parent not in current:
            shutil.rmtree(stale.parent, ignore_errors=True)
    return ([f"clips/ shows the predictions of {drawn} cell{'s' if drawn > 1 else ''} over time"] if drawn else []) + problems


def drawn_clips(records: Records) -> dict[str, Path]:
    """Return the files of a study's clips as GIF, by the cell's name. Only cells whose clip `write_clips` has drawn have one."""
    cells = records.study["cells"]
    files = {cell: records.folder / "clips" / name / GIF for cell, name in zip(cells, _folder_names(cells), strict=True)}
    return {cell: file for cell, file in files.items() if file.with_name(DRAWN_FILE).is_file()}


def _folder_names(cells: Sequence[str]) -> list[str]:
    """Return a unique folder name for every cell, short and with only characters that all file systems accept."""
    names: list[str] = []
    for cell in cells:
        name = re.sub(r"[^A-Za-z0-9._=-]+", "_", cell)[-NAME_LENGTH:].lstrip(".")
        names.append(name if name not in names else f"{name}-{len(names)}")
    return names


def _draw_unless_drawn(folder: Path, trial: "pd.Series[Any]", model: Artifact) -> None:
    """Draw a run's frames and its GIF, unless the folder already has them."""
    drawn_from = json.dumps({"trial": str(trial["trial_id"]), "drawing": DRAWING})
    if (folder / DRAWN_FILE).is_file() and (folder / DRAWN_FILE).read_text(encoding="utf-8") == drawn_from:
        return
    clip = _load(trial, model)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = [folder / f"frame-{number:04d}.png" for number in range(len(clip.captions))]
    for path, frame in zip(paths, draw_frames(clip), strict=True):
        frame.save(path, compress_level=1)
    _animate(paths, folder / GIF)
    (folder / DRAWN_FILE).write_text(drawn_from, encoding="utf-8")


def _animate(paths: Sequence[Path], into: Path) -> None:
    """Write frames as a GIF with one palette of 256 colours, computed from the first and the last frame together."""
    first, last = (Image.open(path) for path in (paths[0], paths[-1]))
    both = Image.new("RGB", (first.width, 2 * first.height))
    both.paste(first)
    both.paste(last, (0, first.height))
    palette = both.quantize(method=Image.Quantize.FASTOCTREE)
    frames = (Image.open(path).quantize(palette=palette, dither=Image.Dither.NONE) for path in paths)
    durations = [FRAME_MS] * (len(paths) - 1) + [LAST_MS]
    next(frames).save(into, save_all=True, append_images=frames, duration=durations, loop=0)


def _load(trial: "pd.Series[Any]", model: Artifact) -> Clip:
    with (model.folder / CLIP_FILE).open("rb") as file, np.load(file, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files}
    return Clip(
        arrays["pictures_KHWC"],
        arrays["truths_KHW"],
        arrays["frames_TKHW"],
        model.metadata["classes"],
        f"{trial['cell']} seed={trial['seed']}",
        _captions(arrays, in_steps=not pd.isna(trial["steps"])),
    )


def _captions(arrays: Mapping[str, npt.NDArray[np.generic]], in_steps: bool) -> list[str]:
    unit, counts = ("step", arrays["steps_T"]) if in_steps else ("epoch", arrays["epochs_T"])
    return [
        f"{unit} {count} of {counts[-1]}" + ("" if math.isnan(iou) else f", val mean IoU {iou:.3f}")
        for count, iou in zip(counts.tolist(), arrays["val_mean_iou_T"].tolist(), strict=True)
    ]


def draw_frames(clip: Clip) -> Iterator[Image.Image]:
    """Yield one image per frame: for each image of the clip, the overlaid prediction, and below it the overlaid truth."""
    clear = background_of(clip.classes)
    present = np.unique(np.concatenate([clip.truths_KHW.ravel(), clip.frames_TKHW.ravel()])).tolist()
    across = min(ACROSS, len(clip.images_KHWC))
    width = across * (TILE_PX + GAP_PX) + GAP_PX
    key = legend(clip.classes, [number for number in present if number != clear], width)
    rows, block = math.ceil(len(clip.images_KHWC) / across), 2 * (TILE_PX + LINE_PX + GAP_PX)
    sheet = Image.new("RGB", (width, 2 * LINE_PX + rows * block + key.height), "white")
    sheet.paste(key, (0, sheet.height - key.height))
    images = [_enlarged(image, Image.Resampling.BILINEAR) for image in clip.images_KHWC]

    def lay(onto: Image.Image, masks_KHW: Pixels, label: str, below: int) -> None:
        for number, (image, mask_HW) in enumerate(zip(images, masks_KHW, strict=True)):
            left, top = GAP_PX + number % across * (TILE_PX + GAP_PX), 2 * LINE_PX + number // across * block + below
            _write(onto, label, left, top)
            overlaid = overlay(image, _enlarged(mask_HW, Image.Resampling.NEAREST), clear=clear)
            onto.paste(Image.fromarray(overlaid), (left, top + LINE_PX))

    lay(sheet, clip.truths_KHW, "truth", TILE_PX + LINE_PX + GAP_PX)
    _write(sheet, clip.title, GAP_PX, LINE_PX)
    for masks_KHW, caption in zip(clip.frames_TKHW, clip.captions, strict=True):
        frame = sheet.copy()
        lay(frame, masks_KHW, "predicted", 0)
        _write(frame, caption, GAP_PX, 0)
        yield frame


def _enlarged(pixels: Pixels, how: Image.Resampling) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((TILE_PX, TILE_PX), how))


def _write(onto: Image.Image, text: str, left: int, top: int) -> None:
    ImageDraw.Draw(onto).text((left, top + 2), text, fill="black", font=ImageFont.load_default(size=TEXT_PX))


def _movie(folder: Path) -> str | None:
    """Encode a folder's frames as `clip.mp4`, if ffmpeg is installed and the file does not exist. Return the error, if any."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None or (folder / MOVIE).is_file():
        return None
    source = ["-framerate", str(1000 / FRAME_MS), "-i", "frame-%04d.png"]
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]  # common players require both
    temporary = folder / f"{MOVIE}.tmp"
    command = [ffmpeg, "-v", "error", "-y", *source, *even, "-f", "mp4", temporary.name]
    how: dict[str, Any] = {"cwd": folder, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    try:
        subprocess.run(command, **how, check=True, timeout=MOVIE_SECONDS)
    except subprocess.SubprocessError as error:
        temporary.unlink(missing_ok=True)
        return ((getattr(error, "stderr", None) or "").strip().splitlines() or [str(error)])[0]
    temporary.replace(folder / MOVIE)
    return None
