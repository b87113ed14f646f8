from dataclasses import replace

import pytest

from segsweep.config import Settings, Stage, StageSpec, Target, Trial
from segsweep.config.work import STAGE_VERSION, TRIAL_VERSION

STAGE = StageSpec(Stage.parse("supervised:coco@50"), "unet16", 0, "datakey", {"epochs": 2, "precision": "float32"})
CHAINED = replace(STAGE, stage=Stage.parse("simclr:cats_dogs"), data="other", parent=STAGE)
TRIAL = Trial(
    study="grid",
    cell="source=supervised:coco",
    phase="tune",
    settings=Settings(source="supervised:coco", epochs=2, image_px=64),
    seed=0,
    target=Target("pets", protocol="60-20-20"),
    target_data="petskey",
    stage=STAGE,
    point=3,
)
PINNED_VERSIONS = (5, 5)  # versions of trials and stages
PINNED = ("7dbd8dfde56eaf11c9f9", "7dbd8dfde56eaf11c9f9", "e219bc65c4897fd4b530", "813e0abfffdcfafa0dac")
DEFAULTS = {
    "source": "random",
    "architecture": "unet16",
    "transfer": "none",
    "freeze": "none",
    "unfreeze_every_epochs": None,
    "fraction": 1.0,
    "dev_share": None,
    "fold": None,
    "learning_rate": 0.001,
    "encoder_lr_factor": 1.0,
    "layer_decay": 1.0,
    "schedule": "constant",
    "warmup": 0.0,
    "weight_decay": 0.0,
    "optimizer": "adam",
    "momentum": 0.9,
    "ema": None,
    "loss": "cross_entropy",
    "augmentation": "flip",
    "augmented_copies": 0,
    "normalisation": "source",
    "epochs": 10,
    "steps": None,
    "validations": 10,
    "patience_epochs": None,
    "keep": "val_iou",
    "batch_size": 16,
    "image_px": 256,
    "fit": "own",
    "test_size": "image_px",
    "precision": "auto",
    "source_epochs": 10,
    "source_steps": None,
    "source_learning_rate": 0.001,
    "source_batch_size": None,
    "source_loss": "cross_entropy",
    "source_augmentation": None,
    "source_fit": "own",
    "source_split": "official",
    "source_image_px": None,
    "ssl_epochs": 10,
    "ssl_steps": None,
    "ssl_learning_rate": 0.001,
    "ssl_batch_size": None,
    "ssl_optimizer": "adam",
    "ssl_weight_decay": 1e-06,
    "ssl_warmup": 0.1,
    "ssl_temperature": 0.1,
    "domain_shift": "off",
    "clip_images": 0,
}


def with_settings(**changes) -> Trial:
    return replace(TRIAL, settings=TRIAL.settings.model_copy(update=changes))


@pytest.mark.parametrize(
    "same",
    [
        replace(TRIAL, study="another"),
        replace(TRIAL, cell="renamed"),
        replace(TRIAL, point=7),
        replace(TRIAL, target=Target("folder:/pets", protocol="60-20-20")),
        with_settings(source="simclr:other"),
        with_settings(source_epochs=9, source_learning_rate=0.1),
        replace(TRIAL, stage=replace(STAGE, settings={"precision": "float32", "epochs": 2})),
        replace(TRIAL, stage=replace(STAGE, stage=Stage.parse("supervised:folder:/coco@50"))),
    ],
    ids=["study", "cell", "point", "target-name", "source-text", "source-settings", "order-of-keys", "stage-name"],
)
def test_equal_work_is_one_trial(same):
    """Names of a study, cell or dataset, and values that the stage's key covers already, make no other trial."""
    assert same.trial_id == TRIAL.trial_id


@pytest.mark.parametrize(
    "other",
    [
        replace(TRIAL, seed=1),
        replace(TRIAL, phase="confirm"),
        replace(TRIAL, target_data="changed"),
        replace(TRIAL, target=Target("pets", protocol="50-25-25")),
        replace(TRIAL, stage=None),
        replace(TRIAL, stage=CHAINED),
        replace(TRIAL, stage=replace(STAGE, seed=1)),
        replace(TRIAL, stage=replace(STAGE, data="changed")),
        replace(TRIAL, stage=replace(STAGE, settings={"epochs": 3, "precision": "float32"})),
        with_settings(precision="bfloat16"),
        with_settings(learning_rate=2e-3),
        with_settings(epochs=3),
        with_settings(image_px=96),
        with_settings(fraction=0.5),
        with_settings(freeze="encoder"),
        with_settings(transfer="all-but-classifier"),
        with_settings(architecture="unet"),
    ],
)
def test_other_work_is_another_trial(other):
    """Every value that changes the result of a trial changes its identity."""
    assert other.trial_id != TRIAL.trial_id


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # the values have wrong types on purpose
def test_every_setting_of_the_target_run_counts():
    """Each field of the settings, except the source's, is part of a trial's identity, so no new one is forgotten."""
    sure = replace(TRIAL, phase="confirm")
    others = {name: replace(with_settings(**{name: "something else"}), phase="confirm") for name in Settings.model_fields}
    changed = {name: other.trial_id != sure.trial_id for name, other in others.items()}
    idle = {name for name, counts in changed.items() if not counts}
    assert idle == {name for name in Settings.model_fields if name == "source" or name.startswith(("source_", "ssl_"))}


def test_identities_are_pinned():
    """The identity of known work changes only with the version of the method; otherwise every store would be rebuilt."""
    assert (TRIAL_VERSION, STAGE_VERSION) == PINNED_VERSIONS
    assert (STAGE.spec_id, STAGE.key(None), CHAINED.spec_id, TRIAL.trial_id) == PINNED


def test_a_changed_default_changes_the_versions():
    """Identities omit defaults, so a changed default must raise the versions; new settings may join this table."""
    defaults = Settings().model_dump()
    assert {name: defaults[name] for name in DEFAULTS} == DEFAULTS, "raise TRIAL_VERSION and STAGE_VERSION, then pin again"
    assert (TRIAL_VERSION, STAGE_VERSION) == PINNED_VERSIONS


def test_settings_at_their_default_do_not_count():
    """A setting given with its default makes no other trial, so a later new setting changes no old identity."""
    assert (
        replace(TRIAL, settings=Settings(source="supervised:coco", epochs=2, image_px=64, weight_decay=0.0)).trial_id
        == TRIAL.trial_id
    )


def test_a_class_map_counts_where_it_is_used():
    """The class map is part of a trial's identity only with `transfer=all` or `domain_shift=on`."""
    mapped = replace(TRIAL.target, class_map={"pet": ["cat"]})
    assert replace(TRIAL, target=mapped).trial_id == TRIAL.trial_id
    for uses in (with_settings(transfer="all"), replace(with_settings(domain_shift="on"), phase="confirm")):
        assert replace(uses, target=mapped).trial_id != uses.trial_id


def test_settings_of_confirmed_runs_do_not_change_tuning_trials():
    """Clips and domain shift leave tuning trials unchanged, and domain shift without a whole source model has no effect."""
    for name, value in (("clip_images", 4), ("domain_shift", "on")):
        asked = with_settings(**{name: value})
        assert asked.trial_id == TRIAL.trial_id
        assert replace(asked, phase="confirm").trial_id != replace(TRIAL, phase="confirm").trial_id
        alone, plain = (replace(each, phase="confirm", stage=None) for each in (asked, TRIAL))
        assert (alone.trial_id == plain.trial_id) == (name == "domain_shift")


@pytest.mark.parametrize(
    "other",
    [
        replace(STAGE, seed=1),
        replace(STAGE, data="changed"),
        replace(STAGE, model="unet"),
        replace(STAGE, stage=Stage.parse("supervised:coco@51")),
        replace(STAGE, stage=Stage.parse("supervised:coco")),
        replace(STAGE, stage=Stage.parse("simclr:coco@50")),
        replace(STAGE, settings={"epochs": 2, "precision": "bfloat16"}),
        replace(STAGE, parent=CHAINED),
    ],
)
def test_other_work_is_another_stage(other):
    """Data, limit, kind, model, seed, settings with precision, and earlier stages are part of a stage's identity."""
    assert other.spec_id != STAGE.spec_id


def test_published_weights_of_another_name_are_another_stage():
    """The name of the published weights is part of a stage's identity."""
    stages = [StageSpec(Stage.parse(text), "resnet50", 0) for text in ("imagenet", "imagenet:IMAGENET1K_V2")]
    assert stages[0].spec_id != stages[1].spec_id


def test_a_stage_does_not_depend_on_the_path_of_its_data():
    """A dataset under another name, or settings in another order, give the same stage: the data's key identifies it."""
    moved = replace(STAGE, stage=Stage.parse("supervised:folder:/elsewhere@50"), settings={"precision": "float32", "epochs": 2})
    assert moved.spec_id == STAGE.spec_id
    assert moved.key("weights") == STAGE.key("weights")


def test_a_stage_is_keyed_by_the_weights_it_starts_from():
    """The key in the store depends on the content of the preceding weights, not on their specification."""
    assert CHAINED.key("aaa") == replace(CHAINED, parent=None).key("aaa")
    assert len({CHAINED.key("aaa"), CHAINED.key("bbb"), CHAINED.key(None)}) == 3


def test_a_chain_is_named_as_a_source():
    """The name of a stage is the source that ends with it."""
    assert CHAINED.name == "supervised:coco@50+simclr:cats_dogs"
    assert (STAGE.encoder_only, CHAINED.encoder_only) == (False, True)
    assert (TRIAL.source_seed, replace(TRIAL, stage=None).source_seed) == (0, None)
