from pathlib import Path

import pytest
from pydantic import ValidationError

from segsweep.config.setting_rules import DEFAULT_EPOCHS
from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.stage_settings import batch_sizes, stage_settings
from segsweep.errors import UserError

WRONG = [  # field, value, allowed values in the message
    ("source", "imagnet", "a stage is one of random, imagenet"),
    ("source", 3, "string"),
    ("architecture", "unet mobilenet", "DECODER or DECODER-ENCODER"),
    ("architecture", "", "DECODER or DECODER-ENCODER"),
    ("transfer", "everything", "'encoder', 'all-but-classifier'"),
    ("freeze", "decoder", "'none'"),
    ("freeze", "encoder:0", "'encoder:K'"),
    ("freeze", "encoder:", "'encoder:K'"),
    ("frozen_norm", "fixed", "'eval' or 'train'"),
    ("output", "logits", "'softmax' or 'sigmoid'"),
    ("dev_share", 1.0, "less than 1"),
    ("encoder_lr_factor", 1.5, "less than or equal to 1"),
    ("layer_decay", 0, "greater than 0"),
    ("warmup", 1.0, "less than 1"),
    ("schedule", "step", "'one_cycle'"),
    ("momentum", 1.0, "less than 1"),
    ("gradient_clip_norm", 0.0, "greater than 0"),
    ("ssl_gradient_clip_norm", -1.0, "greater than 0"),
    ("ssl_stem", "small", "'auto'"),
    ("ema", 1.0, "less than 1"),
    ("augmented_copies", -1, "greater than or equal to 0"),
    ("augmentation", "mixup", "'rotate_flip_jitter_blur'"),
    ("normalisation", "zero", "'imagenet'"),
    ("fit", "stretch", "'raw-crop'"),
    ("source_loss", "mse", "'cross_entropy'"),
    ("fraction", 0, "greater than 0"),
    ("fraction", 1.5, "less than or equal to 1"),
    ("fraction", "half", "number"),
    ("fraction", True, "number"),
    ("learning_rate", 0.0, "greater than 0"),
    ("learning_rate", float("nan"), "finite"),
    ("learning_rate", float("inf"), "finite"),
    ("learning_rate", 1000, "less than or equal to 100"),
    ("weight_decay", -0.1, "greater than or equal to 0"),
    ("optimizer", "sgdd", "'adam'"),
    ("loss", "mse", "'cross_entropy'"),
    ("epochs", 0, "greater than or equal to 1"),
    ("epochs", 2.5, "integer"),
    ("epochs", True, "number"),
    ("steps", -3, "greater than or equal to 1"),
    ("batch_size", 0, "greater than or equal to 1"),
    ("batch_size", None, "integer"),
    ("image_px", 8, "greater than or equal to 16"),
    ("image_px", 5000, "less than or equal to 4096"),
    ("precision", "float16", "'auto'"),
    ("source_learning_rate", -1, "greater than 0"),
]


@pytest.mark.parametrize(("field", "value", "allowed"), WRONG)
def test_a_wrong_value_is_one_line_with_field_value_and_allowed_values(field, value, allowed):
    """A wrong value raises one line that names the field, the value, and the allowed values."""
    other = {"source": "supervised:coco"} if field == "transfer" else {}
    with pytest.raises(UserError) as raised:
        Settings.build(**{field: value, **other})
    message = str(raised.value)
    assert "\n" not in message
    assert "pydantic" not in message
    assert field in message
    assert str(value) in message
    assert allowed in message


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("lr", "learning_rate"),
        ("wd", "weight_decay"),
        ("learning rate", "learning_rate"),
        ("Epochs", "epochs"),
        ("fractoin", "fraction"),
        ("clip", "gradient_clip_norm"),
    ],
)
def test_an_unknown_key_names_the_nearest_fields(key, near):
    """An unknown key raises one line with at most three similar settings, and the command that lists all settings."""
    message = rf"^setting: unknown name '{key}'; nearest: ([a-z_]+, ){{0,2}}[a-z_]+; all \d+: segsweep settings$"
    with pytest.raises(UserError, match=message) as raised:
        Settings.build(**{key: 1})
    assert near in str(raised.value).partition("nearest: ")[2]


@pytest.mark.parametrize("key", ["", "xyzzy"])
def test_an_unknown_key_without_similar_ones_names_the_list(key):
    """If no setting is similar to a key, the line says so, and how to list all settings."""
    with pytest.raises(UserError, match=rf"^setting: unknown name '{key}'; no similar name; all \d+: segsweep settings$"):
        Settings.build(**{key: 1})


def test_direct_construction_refuses_unknown_keys_too():
    """Settings made without `build` refuse unknown keys too."""
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(lr=1e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 3, "steps": 40}, "epochs=3 and steps=40: give one of the two"),
        ({"source_epochs": 3, "source_steps": 40}, "source_epochs=3 and source_steps=40: give one of the two"),
        ({"steps": 5, "validations": 6}, "validations=6: must be at most steps=5"),
        ({"source": "supervised:coco", "transfer": "none"}, "transfer='none' with source='supervised:coco': allowed are encoder"),
        ({"unfreeze_every_epochs": 2}, "unfreeze_every_epochs=2 with freeze='none': needs freeze=encoder or encoder:K"),
        ({"unfreeze_every_epochs": 2, "freeze": "norm", "source": "imagenet"}, "unfreeze_every_epochs=2 with freeze='norm'"),
        ({"augmented_copies": 1, "augmentation": "none"}, "augmented_copies=1 with augmentation='none'"),
        ({"source": "imagenet", "transfer": "none"}, "transfer='none' with source='imagenet': allowed are encoder"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, message):
    """Two contradictory settings raise one line with both."""
    with pytest.raises(UserError) as raised:
        Settings.build(**values)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_length_is_always_given():
    """Without a length the default epochs apply; with steps there are no epochs and `validations` results."""
    assert (Settings().epochs, Settings().steps, Settings().results) == (DEFAULT_EPOCHS, None, DEFAULT_EPOCHS)
    stepped = Settings(steps=100, validations=4)
    assert (stepped.epochs, stepped.steps, stepped.results) == (None, 100, 4)
    assert Settings(epochs=3).source_epochs == 3
    assert Settings(steps=100).source_epochs == DEFAULT_EPOCHS
    assert Settings(source_steps=7).source_epochs is None


@pytest.mark.parametrize("transfer", ["encoder", "all-but-classifier", "none"])
def test_random_moves_nothing(transfer):
    """With a random source all allowed values of `transfer` are equivalent, so the settings are equal."""
    assert Settings(source="random", transfer=transfer) == Settings(source="random")
    assert Settings(source="random", transfer=transfer).transfer == "none"


def test_a_wrong_transfer_is_wrong_with_any_source():
    """A misspelt `transfer` is refused even with a source for which it has no effect."""
    for source in ("random", "imagenet", "supervised:coco"):
        with pytest.raises(UserError, match="transfer='encodr'"):
            Settings.build(source=source, transfer="encodr")


@pytest.mark.parametrize("source", ["imagenet", "simclr:x", "supervised:coco+simclr:x"])
def test_an_encoder_moves_as_an_encoder(source):
    """A source that produces only an encoder transfers the encoder with any `transfer`."""
    assert Settings(source=source, transfer="all-but-classifier") == Settings(source=source, transfer="encoder")


def test_sources_are_kept_canonical():
    """Equivalent sources are stored as the same text."""
    assert Settings(source="random+supervised:voc2012").source == "supervised:voc2012"


def test_settings_are_frozen():
    """A setting cannot be changed after it was validated."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().epochs = 5


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "3", 3),
        ("epochs", "None", None),
        ("fraction", "0.5", 0.5),
        ("learning_rate", "1e-3", 1e-3),
        ("source", "random+simclr:x@5", "simclr:x@5"),
        ("architecture", "unet-mobilenet_v2", "unet-mobilenet_v2"),
        ("precision", "bfloat16", "bfloat16"),
    ],
)
def test_command_line_texts_become_values(name, text, value):
    """A text from a command line becomes the value that a study file would contain."""
    assert Settings.parse_value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"), [("epochs", "three"), ("epochs", "0"), ("fraction", "nan"), ("source", "None"), ("loss", "x")]
)
def test_command_line_texts_are_checked(name, text):
    """A text that is not a value of the field raises one line that names both."""
    with pytest.raises(UserError) as raised:
        Settings.parse_value(name, text)
    assert name in str(raised.value)
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)


def test_source_settings_fall_back_on_the_trials_own():
    """A supervised stage without a batch size uses the trial's; it never uses the trial's learning rate."""
    own = stage_settings(Settings(batch_size=4, learning_rate=0.5, loss="dice"), Stage("supervised"))
    assert (own["batch_size"], own["learning_rate"], own["loss"]) == (4, 1e-3, "cross_entropy")
    assert stage_settings(Settings(batch_size=4, source_batch_size=8), Stage("supervised"))["batch_size"] == 8
    assert stage_settings(Settings(validations=7), Stage("supervised")) == stage_settings(
        Settings(validations=8), Stage("supervised")
    )


def test_settings_without_effect_are_one_value():
    """Settings without effect create no other cell.

    These are rates of an encoder that never trains, the momentum of optimisers without one, and the mode of layers that are not
    frozen.
    """
    frozen = Settings(freeze="encoder")
    assert Settings(freeze="encoder", encoder_lr_factor=0.1, layer_decay=0.5) == frozen
    assert Settings(freeze="encoder", encoder_lr_factor=0.1, unfreeze_every_epochs=1) != frozen
    assert Settings(optimizer="adamw", momentum=0.5) == Settings(optimizer="adamw")
    assert Settings(optimizer="sgd", momentum=0.5) != Settings(optimizer="sgd")
    assert Settings(freeze="none", frozen_norm="train") == Settings()
    for policy in ("encoder", "encoder:1"):
        assert Settings(freeze=policy, frozen_norm="train") != Settings(freeze=policy)
    assert Settings.build(freeze="norm", frozen_norm="train") == Settings()  # random weights bring no layer to freeze


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"source": "supervised:coco", "transfer": "all"},
            "^output='sigmoid' with transfer='all': .* use transfer=.encoder. or .all-but-classifier.",
        ),
        ({"domain_shift": "on"}, "^output='sigmoid' with domain_shift='on': "),
    ],
)
def test_one_logit_excludes_a_map_of_classes(values, message):
    """A single logit is refused with a classifier that is mapped by class, and with a test of the source's model."""
    with pytest.raises(UserError, match=message):
        Settings.build(output="sigmoid", **values)
    assert Settings.build(output="sigmoid", source="imagenet", transfer="all").transfer == "encoder"


def test_a_self_supervised_stage_uses_its_own_settings():
    """Its length, batch size and temperature come from `ssl_*`, otherwise from supervised stages, otherwise from the trial."""
    settings_of_stage = stage_settings(
        Settings(source_epochs=3, batch_size=4, ssl_temperature=0.5, source_image_px=32), Stage("simclr")
    )
    assert {name: settings_of_stage[name] for name in ("epochs", "batch_size", "temperature", "image_px")} == {
        "epochs": 3,
        "batch_size": 4,
        "temperature": 0.5,
        "image_px": 32,
    }
    assert stage_settings(Settings(ssl_steps=7), Stage("simclr"))["validations"] == 7
    assert Settings(ssl_steps=7).ssl_epochs is None
    assert stage_settings(Settings(source_image_px=32), Stage("supervised"))["image_px"] == 32
    assert stage_settings(Settings(), Stage("imagenet")) == {}
    assert stage_settings(Settings(normalisation="own"), Stage("simclr"))["normalisation"] == "own"
    with pytest.raises(UserError, match=r"ssl_batch_size=1: .*needs at least 2"):
        Settings.build(source="simclr:x", batch_size=1)
    with pytest.raises(UserError, match="ssl_epochs=2 and ssl_steps=3: give one of the two"):
        Settings.build(ssl_epochs=2, ssl_steps=3)


def test_batches_are_those_of_the_stages_that_the_source_has():
    """The batch sizes of a study are the trial's and those of the kinds of stages in its source."""
    assert batch_sizes(Settings()) == {"batch_size": 16}
    assert batch_sizes(Settings(source="supervised:x", source_batch_size=4)) == {"batch_size": 16, "source_batch_size": 4}
    chain = Settings(source="imagenet+simclr:x+supervised:y", ssl_batch_size=64)
    assert batch_sizes(chain) == {"batch_size": 16, "source_batch_size": 16, "ssl_batch_size": 64}


def test_new_stage_settings_appear_only_if_changed():
    """Settings of later versions appear in a stage's settings only if they differ from their defaults."""
    usual = stage_settings(Settings(), Stage("supervised"))
    assert "schedule" not in usual
    settings_of_stage = stage_settings(
        Settings(schedule="poly", warmup=0.1, source_loss="dice", source_augmentation="none"), Stage("supervised")
    )
    assert set(settings_of_stage) - set(usual) == {"schedule", "warmup"}
    assert (
        settings_of_stage["schedule"],
        settings_of_stage["warmup"],
        settings_of_stage["loss"],
        settings_of_stage["augmentation"],
    ) == ("poly", 0.1, "dice", "none")


def test_gradient_clipping_is_shared_only_with_supervised_stages():
    """`gradient_clip_norm` applies to trials and supervised stages, `ssl_gradient_clip_norm` to self-supervised ones."""
    assert not {"gradient_clip_norm"} & {
        *stage_settings(Settings(), Stage("supervised")),
        *stage_settings(Settings(), Stage("simclr")),
    }
    clipped = Settings(gradient_clip_norm=1.0, ssl_gradient_clip_norm=2.0)
    assert stage_settings(clipped, Stage("supervised"))["gradient_clip_norm"] == 1.0
    assert stage_settings(clipped, Stage("simclr"))["gradient_clip_norm"] == 2.0
    assert "gradient_clip_norm" not in stage_settings(Settings(gradient_clip_norm=1.0), Stage("simclr"))


def test_norm_without_a_source_is_none():
    """`freeze=norm` freezes transferred layers, so without a source it is the same cell as `none`."""
    assert Settings.build(freeze="norm").freeze == "none"
    assert Settings.build(freeze="norm", source="imagenet").freeze == "norm"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_the_page_of_studies_names_every_setting(name):
    """The table of settings in `sweeps/README.md` has every field of `Settings`."""
    page = (Path(__file__).parents[2] / "sweeps" / "README.md").read_text(encoding="utf-8")
    table = page.partition("\n## Settings\n")[2].partition("\n## ")[0]
    assert f"`{name}`" in table
