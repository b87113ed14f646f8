from dataclasses import FrozenInstanceError, replace

import pytest

from segsweep.config import Choice, LogUniform, PerCellASHA, PerCellMedian, Study, Target, Uniform
from segsweep.errors import UserError

GRID = {"source": ["random", "imagenet"], "fraction": [0.5, 1.0]}


def study(**changes) -> Study:
    values = {
        "name": "grid",
        "target": Target("pets", classes="foreground", protocol="60-20-20"),
        "compare": GRID,
        "tune": {"learning_rate": LogUniform(1e-5, 1e-2)},
        "fixed": {"epochs": 2, "image_px": 64},
    }
    return Study(**{**values, **changes})


def cell_names(made: Study) -> list[str]:
    return [name for name, _ in made.cells()]


WRONG = [
    ({"name": ""}, "study name=''"),
    ({"name": "a b"}, "study name='a b'"),
    ({"name": "../x"}, r"study name='\.\./x'"),
    ({"name": ".hidden"}, "letters, digits"),
    ({"name": "grid\n"}, "letters, digits"),
    ({"name": 3}, "study name=3"),
    ({"target": "pets"}, "target='pets': must be a Target"),
    ({"compare": {**GRID, "lr": [1]}}, "compare: unknown name 'lr'; nearest: learning_rate;"),
    ({"tune": {"wd": Uniform(0, 1)}}, "tune: unknown name 'wd'; nearest: weight_decay;"),
    ({"fixed": {"epoch": 1}}, "fixed: unknown name 'epoch'; nearest: epochs,"),
    ({"fixed": {"fraction": 0.5}}, "fraction has two roles; an axis is compared, tuned or fixed"),
    ({"fixed": {"learning_rate": 1e-3}}, "learning_rate has two roles"),
    ({"tune": {"fraction": Uniform(0.1, 1)}}, "fraction has two roles"),
    ({"compare": {"source": []}}, r"compare source=\[\]: must be a list of at least one value"),
    ({"compare": {"source": "random"}}, "compare source='random': must be a list"),
    ({"compare": {"source": {"random"}}}, "must be a list"),
    ({"compare": [{"fraction": 0.5}]}, "compare fraction=0.5: must be a list"),
    ({"compare": []}, "contains no cell"),
    ({"compare": "source"}, "must map setting names to lists"),
    ({"compare": [["source", "random"]]}, "must map setting names to lists"),
    ({"compare": {"fraction": [0.5, 2.0]}}, "fraction=2.0: input should be less than or equal to 1"),
    ({"compare": {"source": ["random", "imagnet"]}}, "source: 'imagnet' is not a stage"),
    ({"fixed": {"epochs": 0}}, "epochs=0: input should be greater than or equal to 1"),
    ({"fixed": {"epochs": 1, "steps": 20}}, "epochs=1 and steps=20: give one of the two"),
    ({"tune": {"learning_rate": [1e-3]}}, "tune learning_rate=.*must be LogUniform, Uniform or Choice"),
    ({"tune": {"learning_rate": Uniform(-1, 1)}}, "learning_rate=-1: input should be greater than 0"),
    ({"tune": {"loss": Choice("dice", "mse")}}, "loss='mse'"),
    ({"tune": {"batch_size": LogUniform(4, 64)}}, "batch_size=41.08.*integer"),
    ({"tune": {"source": Choice("random", "imagenet")}}, "source has two roles"),
    (
        {"tune": {"loss": Choice("dice", "cross_entropy")}, "fixed": {"keep": "val_loss"}},
        "values of different losses are not comparable",
    ),
    ({"compare": {"fraction": [1.0]}, "tune": {"source": Choice("random")}}, "cannot be tuned, only compared or fixed"),
    (
        {"compare": {"fraction": [1.0]}, "fixed": {}, "tune": {"image_px": Choice(64, 96)}},
        "cannot be tuned, only compared or fixed",
    ),
    ({"compare": {"fraction": [1.0]}, "tune": {"fit": Choice("crop", "resize")}}, "cannot be tuned, only compared or fixed"),
    ({"seeds": 0}, "seeds=0: must be a whole number >= 1"),
    ({"seeds": True}, "seeds=True: must be a whole number >= 1"),
    ({"trials_per_cell": 2.5}, "trials_per_cell=2.5: must be a whole number >= 1"),
    ({"tune": {"ssl_temperature": Choice(0.1, 0.5)}}, "tune ssl_temperature: a source is trained once for all trials of a cell"),
    ({"source_seeds": "2"}, "source_seeds='2': must be a whole number >= 1"),
    ({"early_stopping": "asha"}, "early_stopping='asha': must be one of PerCellASHA, PerCellMedian, PerCellRacing, or None"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_wrong_study_is_refused_when_built(changes, message):
    """A mistake in a study raises when it is built, in one line with the field, the value and the allowed values."""
    with pytest.raises(UserError, match=message) as raised:
        study(**changes)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("study ")


@pytest.mark.parametrize(
    "changes", [{"name": ""}, {"name": None}, {"name": 3}, {"name": "pets", "classes": 2}, {"name": "pets", "protocol": ""}]
)
def test_a_wrong_target_is_refused(changes):
    """A target's names are texts; the error names the field and its value."""
    with pytest.raises(UserError, match=r"^Target (name|classes|protocol)=.*: must be a text( or a dataset)?$"):
        Target(**changes)


@pytest.mark.parametrize(
    ("rule", "values"),
    [(PerCellASHA, {"grace_epochs": 0}), (PerCellASHA, {"reduction_factor": 1}), (PerCellMedian, {"min_trials": 0})],
)
def test_a_wrong_stopping_rule_is_refused(rule, values):
    """An early-stopping rule that could never work raises with the allowed values."""
    with pytest.raises(UserError, match=rf"{rule.__name__}\(.*needs grace_epochs >= 1 and"):
        rule(**values)


def test_cells_are_all_combinations_in_order():
    """Every combination is one cell, the last axis changing fastest; its settings include the fixed values."""
    cells = dict(study().cells())
    assert list(cells) == [
        "source=random fraction=0.5",
        "source=random fraction=1.0",
        "source=imagenet fraction=0.5",
        "source=imagenet fraction=1.0",
    ]
    assert {(made.epochs, made.image_px) for made in cells.values()} == {(2, 64)}
    assert cells["source=imagenet fraction=0.5"].fraction == 0.5


def test_a_list_of_grids_is_their_union():
    """A cell in two grids is one cell; an axis that a grid omits has its default there."""
    grids = [{"source": ["random", "imagenet"]}, {"source": ["imagenet"], "freeze": ["none", "encoder"]}]
    assert cell_names(study(compare=grids)) == [
        "source=random freeze=none",
        "source=imagenet freeze=none",
        "source=imagenet freeze=encoder",
    ]


def test_equivalent_cells_merge():
    """`random` with either transfer is one cell, and so are an encoder's weights; transfers of a whole model stay two."""
    axes = {"source": ["random", "imagenet", "supervised:coco"], "transfer": ["encoder", "all-but-classifier"]}
    assert cell_names(study(compare=axes)) == [
        "source=random transfer=none",
        "source=imagenet transfer=encoder",
        "source=supervised:coco transfer=encoder",
        "source=supervised:coco transfer=all-but-classifier",
    ]


def test_one_value_written_twice_is_one_cell():
    """Values that are equal after validation make one cell."""
    assert cell_names(study(compare={"fraction": [1, 1.0, "1.0"]})) == ["fraction=1.0"]
    assert cell_names(study(compare={"source": ["simclr:x", "random+simclr:x"]})) == ["source=simclr:x"]


def test_a_study_cannot_be_changed():
    """No field, mapping or list of a built study can be changed, nor through the values that it was made from."""
    grid, fixed = {"fraction": [0.5]}, {"epochs": 2}
    made = study(compare=grid, fixed=fixed)
    grid["fraction"].append(1.0)
    fixed["epochs"] = 50
    assert cell_names(made) == ["fraction=0.5"]
    assert made.fixed == {"epochs": 2}
    with pytest.raises(FrozenInstanceError):
        made.seeds = 9
    for mapping in (made.fixed, made.tune, made.grids[0]):
        with pytest.raises(TypeError):
            mapping["epochs"] = 3
    with pytest.raises(FrozenInstanceError):
        made.target.name = "coco"


def test_a_study_survives_replace():
    """`dataclasses.replace` gives a study with the same cells, whichever form its grid had."""
    for compare in (GRID, [GRID], [GRID, {"freeze": ["encoder"]}]):
        made = study(compare=compare)
        assert cell_names(replace(made, seeds=5)) == cell_names(made)
