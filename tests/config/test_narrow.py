from dataclasses import replace

import pytest

from segsweep.config import Choice, LogUniform, PerCellASHA, PerCellRacing, Study, Target, Uniform
from segsweep.config.narrow import narrow
from segsweep.errors import UserError

STUDY = Study(
    name="grid",
    target=Target("pets"),
    compare=[
        {"source": ["random", "imagenet"], "fraction": [0.2, 0.5, 1.0]},
        {"source": ["imagenet"], "freeze": ["encoder"]},
    ],
    tune={"learning_rate": LogUniform(1e-5, 1e-2), "loss": Choice("dice", "cross_entropy")},
    fixed={"epochs": 10, "batch_size": 16},
)


def cell_names(study: Study) -> set[str]:
    return {name for name, _ in study.cells()}


def test_nothing_assigned_changes_nothing():
    """Without assignments the study is unchanged."""
    assert narrow(STUDY, []) == STUDY


def test_one_value_of_a_compare_axis_leaves_its_cells():
    """A compared axis with one value has it in every grid."""
    narrowed = narrow(STUDY, ["fraction=0.5"])
    assert [dict(grid) for grid in narrowed.grids] == [
        {"source": ("random", "imagenet"), "fraction": (0.5,)},
        {"source": ("imagenet",), "freeze": ("encoder",), "fraction": (0.5,)},
    ]


def test_several_values_of_a_compare_axis_replace_its_values():
    """A compared axis gets the listed values in their order; spaces around them are ignored."""
    assert narrow(STUDY, ["fraction=1.0, 0.1"]).grids[0]["fraction"] == (1.0, 0.1)


def test_several_values_of_a_fixed_setting_compare_it():
    """A fixed setting with two values becomes a compared axis of every grid."""
    narrowed = narrow(STUDY, ["batch_size=8,16"])
    assert "batch_size" not in narrowed.fixed
    assert all(grid["batch_size"] == (8, 16) for grid in narrowed.grids)
    assert len(cell_names(narrowed)) == 2 * len(cell_names(STUDY))


def test_one_value_fixes_a_setting():
    """A fixed setting is replaced, a default one is added, and a tuned one is no longer tuned."""
    narrowed = narrow(STUDY, ["batch_size=4", "image_px=64", "learning_rate=1e-3"])
    assert narrowed.fixed == {"epochs": 10, "batch_size": 4, "image_px": 64, "learning_rate": 1e-3}
    assert set(narrowed.tune) == {"loss"}


def test_a_range_replaces_a_tuned_range():
    """`LOW..HIGH` keeps the distribution and changes its ends; several values make a choice."""
    assert narrow(STUDY, ["learning_rate=1e-6..1e-1"]).tune["learning_rate"] == LogUniform(1e-6, 1e-1)
    linear = replace(STUDY, tune={"weight_decay": Uniform(0.0, 0.1)})
    assert narrow(linear, ["weight_decay=0.2..0.3"]).tune["weight_decay"] == Uniform(0.2, 0.3)
    assert narrow(STUDY, ["learning_rate=1e-4,1e-3"]).tune["learning_rate"] == Choice(1e-4, 1e-3)


def test_steps_replace_epochs():
    """A length in steps replaces fixed epochs, and vice versa; the same holds for the source's lengths."""
    stepped = narrow(STUDY, ["steps=100"])
    assert stepped.fixed == {"batch_size": 16, "steps": 100}
    assert narrow(stepped, ["epochs=3"]).fixed == {"batch_size": 16, "epochs": 3}
    both = narrow(narrow(STUDY, ["source_epochs=4"]), ["source_steps=40"])
    assert {name: both.fixed.get(name) for name in ("source_epochs", "source_steps")} == {
        "source_epochs": None,
        "source_steps": 40,
    }


def test_counts_are_fields_of_the_study():
    """Numbers of seeds and trials are set on the study; a later assignment overrides an earlier one."""
    narrowed = narrow(STUDY, ["seeds=1", "trials_per_cell=2", "source_seeds=3", "seeds=4"])
    assert (narrowed.seeds, narrowed.trials_per_cell, narrowed.source_seeds) == (4, 2, 3)


def test_early_stopping_is_set_and_disabled():
    """A rule with its parameters, whose commas do not separate values, replaces the study's; `none` disables it."""
    raced = narrow(STUDY, ["early_stopping=asha(grace_epochs=2,reduction_factor=4)"])
    assert raced.early_stopping == PerCellASHA(2, 4)
    assert narrow(raced, ["early_stopping=none"]).early_stopping is None
    assert narrow(raced, ["early_stopping=racing"]).early_stopping == PerCellRacing()


ONE_RATE = replace(STUDY, tune={"learning_rate": LogUniform(1e-5, 1e-2)}, trials_per_cell=8)
LISTED = "learning_rate=1e-4,1e-3,1e-2"


@pytest.mark.parametrize(
    ("assignments", "count"),
    [
        ([LISTED], None),
        ([LISTED, "trials_per_cell=3"], 3),
        (["trials_per_cell=3", LISTED], 3),
        ([LISTED, "seeds=1"], None),
        (["seeds=1"], 8),
        (["learning_rate=1e-4..1e-3"], 8),
        (["learning_rate=1e-3"], 8),
    ],
)
def test_listed_values_are_tried_in_every_combination(assignments, count):
    """Values listed for the tuned axes override the study's number of trials, unless the same command sets one."""
    assert narrow(ONE_RATE, assignments).trials_per_cell == count


def test_listing_values_beside_a_range_keeps_the_count():
    """While another axis has a range the study's number of trials stays; otherwise every combination is tried."""
    both = replace(STUDY, trials_per_cell=5)
    assert narrow(both, ["loss=dice,focal"]).trials_per_cell == 5
    assert narrow(both, ["loss=dice,focal", LISTED]).trials_per_cell is None
    assert narrow(both, [LISTED]).trials_per_cell is None


def test_listed_values_keep_their_axis_in_its_place():
    """A tuned axis with listed values keeps its position, so that combinations keep their order."""
    assert list(narrow(STUDY, [LISTED]).tune) == ["learning_rate", "loss"]


def test_a_path_with_two_dots_is_a_path():
    """A source may name a file in the parent folder: its two dots do not mean a range."""
    narrowed = narrow(STUDY, ["source=file:../weights.pth"])
    assert all(grid["source"] == ("file:../weights.pth",) for grid in narrowed.grids)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fraction", "must have the form NAME=VALUE"),
        ("fraction=", "must have the form NAME=VALUE"),
        ("=3", "unknown name ''"),
        ("lr=1", "unknown name 'lr'; nearest: learning_rate; all "),
        ("trials=3", "unknown name 'trials'; nearest: source_trials, trials_per_cell; all "),
        ("name=x", "unknown name 'name'"),
        ("fraction=2", "fraction='2': input should be less than or equal to 1"),
        ("fraction=0.5,,1", "fraction=''"),
        ("fraction=0.1..0.5", "this study does not tune fraction over a range"),
        ("loss=dice..mse", "loss"),
        ("learning_rate=1e-3..", "learning_rate=''"),
        ("learning_rate=1e-2..1e-5", "needs 1e-12 <= low < high"),
        ("learning_rate=1e-4,1e-4", "none of them twice"),
        ("seeds=0", "seeds=0: must be a whole number >= 1"),
        ("seeds=-1", "seeds=-1: must be a whole number >= 1"),
        ("seeds=²", "seeds=²: must be a whole number >= 1"),
        ("seeds=1,2", "seeds=1,2: must be a whole number >= 1"),
        (
            "early_stopping=hyperband",
            "--set early_stopping='hyperband': allowed are none, asha(grace_epochs=1,",
        ),
        ("early_stopping=asha(grace_epochs=0)", "--set early_stopping='asha(grace_epochs=0)': PerCellASHA"),
        ("early_stopping=none,asha", "--set early_stopping='none,asha': allowed are none, asha("),
        ("epochs=two", "epochs='two'"),
        ("source=imagnet", "is not a stage"),
    ],
)
def test_a_wrong_assignment_is_one_line(text, message):
    """An unknown name or a wrong value raises one line that names it."""
    with pytest.raises(UserError) as raised:
        narrow(STUDY, [text])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_another_target_keeps_the_protocol():
    """`target=NAME` is another dataset with its first class scheme and the same protocol; a path may contain commas and dots."""
    for name in ("street46", "folder:/data/a,b/../street", "cityscapes/raw"):
        target = narrow(STUDY, [f"target={name}"]).target
        assert (target.name, target.classes, target.protocol) == (name, None, STUDY.target.protocol)


def test_none_unsets_an_optional_setting():
    """`none` unsets an optional number, and remains a value of settings that allow it."""
    assert narrow(STUDY, ["gradient_clip_norm=1", "gradient_clip_norm=none"]).fixed["gradient_clip_norm"] is None
    assert narrow(STUDY, ["source_augmentation=none"]).fixed["source_augmentation"] == "none"


def test_of_a_number_given_twice_the_last_holds():
    """A number that overrides a preset's leaves no trace of the preset: the range of source rates is the study's."""
    study = Study(
        "s", Target("pets"), {"source": ["supervised:coco"]}, {"source_learning_rate": LogUniform(1e-4, 1e-2)}, source_trials=2
    )
    assert narrow(study, ["source_trials=1", "source_trials=3"]).range_of_source_rates == LogUniform(1e-4, 1e-2)


def test_a_protocol_is_replaced():
    """Another protocol splits the same target; a misspelt one is refused as in a study file."""
    assert narrow(STUDY, ["protocol=5-fold"]).target == Target("pets", protocol="5-fold")
    with pytest.raises(UserError, match="must be written '5-fold'"):
        narrow(STUDY, ["protocol=5-Fold"])


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("steps", "validations"), [(4, 2), (100, 50)])
def test_the_order_of_assignments_does_not_matter(order: int, steps: int, validations: int) -> None:
    """Values that are valid together are accepted in either order, though one alone would contradict the study."""
    study = replace(STUDY, fixed={"steps": 20, "validations": 10})
    narrowed = narrow(study, [f"steps={steps}", f"validations={validations}"][::order])
    assert {name: narrowed.fixed[name] for name in ("steps", "validations")} == {"steps": steps, "validations": validations}


def test_an_assignment_that_no_other_makes_valid_is_an_error() -> None:
    """The first assignment that stays invalid is reported."""
    with pytest.raises(UserError, match="validations=30: must be at most steps"):
        narrow(replace(STUDY, fixed={"steps": 20, "validations": 10}), ["validations=30", "steps=4"])
