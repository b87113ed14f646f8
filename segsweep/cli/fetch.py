"""`segsweep fetch`: download every published weight file and dataset of a study, for machines without a network."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from segsweep.cli.exits import INCOMPLETE
from segsweep.config.study import Study
from segsweep.config.user_text import PREFIX
from segsweep.data.dataset import Progress
from segsweep.data.download import MB, download
from segsweep.data.table import DataRoots, split_scheme
from segsweep.errors import UserError
from segsweep.fetching import FetchError
from segsweep.models.published_file import Published, caches
from segsweep.sweep.progress import choose_view
from segsweep.sweep.published_weights import published_weights
from segsweep.sweep.study_checks import check_names


def fetch(study: Study, roots: DataRoots, console: Console) -> int:
    """Download the files that a study needs and this machine lacks; print where each is. Return 1 if any is missing."""
    check_names(study)
    view, missing = choose_view(console), 0
    try:
        for name, get in wanted(study, roots, view.data):
            try:
                place = get()
            except (UserError, FetchError) as error:
                view.notify(f"{name}: {error}")
                missing += 1
            else:
                print(f"{name}: {place}" if place else f"{name}: needs no download", flush=True)
    finally:
        view.close()
    if missing:
        console.print(f"{missing} downloads failed; the same command tries them again", soft_wrap=True)
        return INCOMPLETE
    print(f"All files that {study.name} needs are on this machine. Weights: {caches()}")
    return 0


def wanted(study: Study, roots: DataRoots, progress: Progress) -> Iterator[tuple[str, Callable[[], Path | None]]]:
    """Yield each dataset and weight file of a study, with a function that downloads it and returns its path."""
    stages = [stage for _, settings in study.cells() for stage in settings.chain.stages]
    named = (study.target_name, *(stage.dataset for stage in stages if stage.dataset is not None))
    for name in dict.fromkeys(split_scheme(name)[0] for name in named if not name.startswith((PREFIX, "folder:"))):
        yield f"dataset {name}", partial(download, name, roots, progress, f"fetch {name}")
    for published in published_weights(study):
        yield published.what, partial(_fetched, published, progress)


def _fetched(published: Published, progress: Progress) -> Path:
    """Return the path of a weight file; download it first if it is missing or incomplete."""
    file = published.file
    if not file.is_whole:
        file.fetch(lambda done, total: progress(f"{file.place.name}, MB", done // MB, total // MB))
    return file.place
