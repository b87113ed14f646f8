"""The checks that a plan, a rehearsal and a run share, in a fixed order and with the same messages."""

from segsweep.config.study import Study
from segsweep.errors import UserError
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.options import Options, flag
from segsweep.sweep.preparation import check_prepared, prepare_all
from segsweep.sweep.setting_checks import check_settings
from segsweep.sweep.source_checks import check_sources
from segsweep.sweep.study_checks import check_names, check_processes, check_source_seeds, check_user_objects


def check_study(study: Study, options: Options) -> None:
    """Raise `UserError` for missing user objects, impossible names or numbers of seeds, and too many processes. Reads no data."""
    check_user_objects(study)
    check_names(study)
    check_source_seeds(study)
    check_processes(study, options)
    if study.search is not None:
        check_limits(options)


def check_limits(options: Options) -> None:
    """Raise `UserError` for a limit of time on a search, which has no cells to share the time."""
    for name in ("budget_hours", "deadline"):
        if getattr(options, name) is not None:
            raise UserError(f"{flag(name)}: divides time between the cells of a grid; limit a search by its trials (--search N)")


def check_data(study: Study, catalog: Catalog, *, decode: bool) -> frozenset[str]:
    """Check settings, losses, sources, images and masks; return the names of datasets that remain undecoded.

    Checks that need no decoded image come first. With `decode`, all data is then prepared and checked; without, as for a plan,
    only the images of datasets in the store are checked. Raises `UserError` for a mistake.
    """
    check_settings(study, catalog)
    check_sources(study, catalog)
    if decode:
        prepare_all(study, catalog)
    undecoded = frozenset() if decode else check_prepared(study, catalog)
    check_settings(study, catalog)  # again, because copies and groups are known now
    return undecoded
