"""The line on a study that was declared differently before."""

from dataclasses import replace

from segsweep.config import Choice, Study
from segsweep.sweep.changed import differences
from segsweep.sweep.declaration import declaration
from segsweep.sweep.plan import make_plan


def declared(study: Study):
    return declaration(make_plan(study, lambda *names: f"data {names}"))


def test_a_difference_has_the_name_of_the_study_file(tiny_study: Study) -> None:
    """Settings, compared axes, ranges and the target have the names of the study file; equal values are not listed."""
    before = declared(tiny_study)
    assert list(differences(before, before)) == []
    other = replace(
        tiny_study,
        target=replace(tiny_study.target, protocol="70-10-20"),
        compare={"freeze": ["none"], "transfer": ["encoder", "all"]},
        tune={"learning_rate": Choice([0.1, 0.2])},
        fixed={**tiny_study.fixed, "epochs": 3},
        seeds=5,
    )
    assert set(differences(before, declared(other))) >= {
        "target protocol: 60-20-20, now 70-10-20",
        "freeze: none,encoder, now none",
        "transfer: not set, now encoder,all",
        "epochs: 2, now 3",
        "seeds: 2, now 5",
    }
    assert len([line for line in differences(before, declared(other)) if line.startswith("learning_rate: LogUniform")]) == 1


def test_a_long_value_is_cut(tiny_study: Study) -> None:
    """A difference stays readable however many values an axis has."""
    many = replace(tiny_study, compare={"fraction": [number / 100 for number in range(1, 100)]})
    assert all(len(line) < 180 for line in differences(declared(tiny_study), declared(many)))
