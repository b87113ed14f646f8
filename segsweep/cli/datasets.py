"""`segsweep datasets` and `segsweep prepare`: list the available datasets, and decode datasets into the store."""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console

from segsweep.cli.command_options import SHEET_IMAGES
from segsweep.config.setting_types import LARGEST_PX
from segsweep.data.bit_depth import range_remarks
from segsweep.data.dataset import Dataset, folder_remarks
from segsweep.data.download import DOWNLOADS, download
from segsweep.data.duplicates import official_remarks
from segsweep.data.groups import group_numbers, has_groups
from segsweep.data.mask_checks import check_masks, mask_remarks
from segsweep.data.prepare import DataSpec, prepare
from segsweep.data.prepared import Prepared
from segsweep.data.scenes import GENERATED
from segsweep.data.table import DATASETS, FOLDER_LAYOUT, DataRoots, open_dataset, split_scheme
from segsweep.errors import UserError
from segsweep.report.overlay import coloured
from segsweep.store.opening import open_store

SLOW_TO_COUNT = ("coco",)  # counting its images requires parsing half a gigabyte of JSON
SHARE_SHOWN = 0.0005
TILE_PX = 160
GAP_PX = 6
LINE_PX = 16


def list_datasets(options: argparse.Namespace, console: Console) -> None:  # noqa: ARG001
    """Print every dataset with its layout, its classes, and the folder in which it was found."""
    rows = dataset_rows(DataRoots.parse(options.data))
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        schemes = ", ".join(f"{scheme} ({count})" for scheme, count in row["schemes"].items())
        print(f"{row['name']:18} {row['layout']}\n{'':18} classes: {schemes}\n{'':18} {_found(row)}")
    print(f"{'folder:PATH':18} {FOLDER_LAYOUT}")


def _found(row: Mapping[str, Any]) -> str:
    if row["name"] in GENERATED:
        return f"{row['images']} images"
    if row["folder"] is None:
        return "not found; pass --data" + (", or prepare it with --download" if row["downloadable"] else "")
    count = "" if row["images"] is None else f": {row['images']} images"
    return f"found in {row['folder']}{count}" + (f"; {row['problem']}" if row["problem"] else "")


def dataset_rows(roots: DataRoots) -> list[dict[str, Any]]:
    """Return one row per dataset.

    Fields: `name`, `schemes` (number of classes of each class scheme, 0 without masks), `layout`, `folder` (null if not found),
    `images` (number of images, null if counting is slow), `downloadable`, and `problem` (what is wrong with the files, or
    null).
    """
    rows = [_row(name, entry.layout, roots.folder(name), roots) for name, entry in DATASETS.items()]
    rows += [_row(name, "generated on the spot", None, roots) for name in GENERATED]
    found = {
        name: folder
        for name, folder in {**roots.found_folders(), **roots.listed(), **roots.named}.items()
        if name not in DATASETS
    }
    return rows + [_row(name, f"read as folder:{folder}", folder, roots) for name, folder in found.items()]


def _row(name: str, layout: str, folder: Path | None, roots: DataRoots) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "schemes": {}, "layout": layout, "folder": str(folder) if folder else None}
    row |= {"images": None, "downloadable": name in DOWNLOADS, "problem": None}
    try:
        if folder is None and name in DATASETS:
            row["schemes"] = dict(DATASETS[name].classes or _counts(DATASETS[name].reader(Path())))
            return row
        dataset = open_dataset(name, roots)
        row["schemes"] = _counts(dataset)
        row["images"] = None if name in SLOW_TO_COUNT else len(dataset.examples())
    except UserError as error:
        row["problem"] = str(error)
    return row


def _counts(dataset: Dataset) -> dict[str, int]:
    return {scheme: len(classes) for scheme, classes in dataset.schemes.items()}


def prepare_datasets(options: argparse.Namespace, console: Console) -> None:
    """Decode datasets into the store, check their masks, and print their statistics."""
    from segsweep.sweep.progress import choose_view

    if not 1 <= options.image_px <= LARGEST_PX:
        raise UserError(f"--image-px {options.image_px}: allowed are 1..{LARGEST_PX}")
    roots, store = DataRoots.parse(options.data), open_store(Path(options.store).absolute())
    store.check_writable()
    view, facts = choose_view(console), []
    try:
        for name in options.names:
            known, scheme = split_scheme(name)
            if scheme is not None and options.classes is not None:
                raise UserError(f"--classes {options.classes}: {name} already names a class scheme; omit one of the two")
            if options.download:
                download(known, roots, view.data, f"--download {name}")
            spec = DataSpec(open_dataset(known, roots), scheme or options.classes, options.image_px, options.fit)
            notify = partial(console.print, soft_wrap=True)
            data = prepare(spec, store, view.data, notify=notify)
            check_masks(data)
            row = {"name": name, "scheme": spec.chosen_scheme, "fit": spec.chosen_fit, **data_facts(data)}
            facts.append({**row, "remarks": [*folder_remarks(spec.dataset), *row["remarks"]]})
            if not options.json:
                print(_readable(facts[-1]))
            if options.contact_sheet:
                _write_sheet(data, name, Path(options.contact_sheet))
    finally:
        view.close()
    if options.json:
        print(json.dumps(facts, indent=1))


def data_facts(data: Prepared) -> dict[str, Any]:
    """Return statistics of a prepared dataset.

    `class_shares` are shares of the pixels that are not ignored; `ignored` is the share of ignored pixels among all. `mean` and
    `std` are those of red, green and blue, in 0..1. `groups` is the number of groups, null if there are none. `bits` is the range
    of 16-bit images and `largest` their largest value, null without such images. `remarks` are lines on identical images, ranges
    and masks.
    """
    every = np.arange(len(data.names))
    mean, std = data.mean_std(every)
    counts = data.class_pixels(every)
    shares = (counts / max(1, counts.sum())).tolist()
    return {
        "image_px": data.images.shape[1],
        "images": len(data.names),
        "splits": dict(Counter(data.splits)),
        "labelled": data.labelled,
        "class_shares": dict(zip(data.classes, shares, strict=True)),
        "ignored": float(data.pixels[:, -1].sum() / max(1, data.pixels.sum())),
        "mean": mean,
        "std": std,
        "groups": len(set(group_numbers(data.groups).tolist())) if has_groups(data) else None,
        "bits": data.bits,
        "largest": data.largest if data.bits else None,
        "remarks": [*range_remarks(data), *official_remarks(data), *mask_remarks(data)],
    }


def _readable(facts: Mapping[str, Any]) -> str:
    splits = ", ".join(f"{split} {count}" for split, count in facts["splits"].items())
    lines = [f"{facts['name']}: {facts['images']} images at {facts['image_px']} px (fit {facts['fit']}): {splits}"]
    if facts["labelled"]:
        ranked = sorted(facts["class_shares"].items(), key=lambda item: -item[1])
        shown = [f"{name} {100 * share:.2f} %" for name, share in ranked if share > SHARE_SHOWN]
        more = [f"and {len(ranked) - len(shown)} more"] if len(shown) < len(ranked) else []
        lines.append(f"{len(ranked)} classes ({facts['scheme']}): {', '.join(shown + more)}")
        lines.append(f"ignored: {100 * facts['ignored']:.2f} % of all pixels")
    else:
        lines.append("no masks")
    mean, std = (" ".join(f"{value:.3f}" for value in facts[key]) for key in ("mean", "std"))
    lines.append(f"red, green, blue: mean {mean}, std {std}")
    lines += [f"{facts['groups']} groups; no study splits a group"] if facts["groups"] else []
    lines += facts["remarks"]
    return "\n  ".join(lines)


def _write_sheet(data: Prepared, name: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contact_sheet(data).save(folder / f"{name.rstrip('/').replace(':', '_').replace('/', '_')}.png")
    except OSError as error:
        raise UserError(f"--contact-sheet {folder}: cannot be written: {error.strerror}") from None


def contact_sheet(data: Prepared) -> Image.Image:
    """Return a sheet of evenly spaced images of a dataset, with their coloured masks below, and a legend of the classes."""
    chosen = np.unique(np.linspace(0, len(data.names) - 1, SHEET_IMAGES).astype(int))
    step, rows = TILE_PX + GAP_PX, 2 if data.labelled else 1
    counts = data.class_pixels(chosen)
    present = [int(number) for number in np.argsort(-counts, kind="stable") if counts[number]]
    legend = GAP_PX + LINE_PX * -(-len(present) // 4)
    sheet = Image.new("RGB", (len(chosen) * step + GAP_PX, GAP_PX + rows * step + legend), "white")
    for column, at in enumerate(chosen.tolist()):
        tiles = [Image.fromarray(data.images[at])] + ([Image.fromarray(coloured(data.masks[at]))] if data.labelled else [])
        for row, tile in enumerate(tiles):
            method = Image.Resampling.NEAREST if row else Image.Resampling.BILINEAR
            sheet.paste(tile.resize((TILE_PX, TILE_PX), method), (GAP_PX + column * step, GAP_PX + row * step))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for index, number in enumerate(present):
        left, top = GAP_PX + (index % 4) * (sheet.width // 4), GAP_PX + rows * step + LINE_PX * (index // 4)
        red, green, blue = coloured(np.array([[number]], np.uint8))[0, 0].tolist()
        draw.rectangle((left, top, left + 10, top + 10), fill=(red, green, blue), outline="black")
        draw.text((left + 16, top - 2), f"{number}: {data.classes[number]}", fill="black", font=font)
    return sheet
