"""Published weight files: those that a study needs, and those that this machine lacks."""

from segsweep.config.study import Study
from segsweep.config.work import StageSpec
from segsweep.data.dataset import Notify
from segsweep.errors import UserError
from segsweep.models.architectures import encoder_name
from segsweep.models.published_file import Published
from segsweep.stage import PUBLISHED
from segsweep.store.contents import WEIGHTS
from segsweep.store.protocol import Store

REMEDY = (
    "download them on a machine with a network, with segsweep fetch STUDY.py --data ROOT, "
    "into the folders of HF_HOME and TORCH_HOME, and make these folders available on every machine"
)


def published_weights(study: Study, store: Store | None = None) -> list[Published]:
    """Return the published weights of the study's sources, each once; with a store, only those that it lacks."""
    found: dict[str, Published] = {}
    for _, settings in study.cells():
        stage = settings.chain.stages[0] if settings.chain.stages else None
        if stage is None or stage.kind not in PUBLISHED:
            continue
        model = encoder_name(settings.architecture) if stage.encoder_only else settings.architecture
        key = StageSpec(stage, model, seed=0, fingerprints=study.fingerprints).key(parent_hash=None)
        if store is None or store.find(WEIGHTS, key) is None:
            found.setdefault(key, PUBLISHED[stage.kind](stage, settings.architecture))
    return list(found.values())


def check_published(study: Study, store: Store, notify: Notify, *, planning: bool) -> None:
    """Report every weight file that neither the store nor this machine has.

    Raises `UserError` for files that this machine cannot download, unless `planning`. The caches of other machines are not
    checked.
    """
    missing = [each for each in published_weights(study, store) if not each.file.is_whole]
    if not missing:
        return
    named = "; ".join(f"{each.what}: {each.wanted}" for each in missing)
    if all(each.can_be_fetched for each in missing):
        notify(f"published weights that are not on this machine and will be downloaded when needed: {named}")
        return
    line = f"published weights that are not on this machine: {named}; {REMEDY}"
    if not planning:
        raise UserError(line)
    notify(line)
