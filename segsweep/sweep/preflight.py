"""What a plan, a rehearsal and a run refuse alike, in one order and with the same words."""

from segsweep.config.study import Study
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.options import Options
from segsweep.sweep.preparation import check_prepared, prepare_all
from segsweep.sweep.setting_checks import check_settings
from segsweep.sweep.source_checks import check_sources
from segsweep.sweep.study_checks import check_names, check_processes, check_user_objects


def check_study(study: Study, options: Options) -> None:
    """Raise `UserError` for own objects that are missing, names that cannot be built, and too many processes. Reads no data."""
    check_user_objects(study)
    check_names(study)
    check_processes(study, options)


def check_data(study: Study, catalog: Catalog, *, decode: bool) -> frozenset[str]:
    """Raise `UserError` for settings, losses, sources, images and masks that do not fit; return the datasets left undecoded.

    What needs no decoded image is checked first. With `decode` all data is then prepared; without, as for a plan, only the
    datasets that the store holds are checked by their images.
    """
    check_settings(study, catalog)
    check_sources(study, catalog)
    if decode:
        prepare_all(study, catalog)
    undecoded = frozenset() if decode else check_prepared(study, catalog)
    check_settings(study, catalog)  # again: now copies and groups are known
    return undecoded
