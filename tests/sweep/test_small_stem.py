import time
from dataclasses import replace
from pathlib import Path

import pytest
from studies import plan_of

from segsweep.config import LogUniform, Study, Target
from segsweep.config.work import StageSpec
from segsweep.errors import UserError
from segsweep.store.folder import FolderStore
from segsweep.sweep.cost import CostModel
from segsweep.sweep.plan import chain
from segsweep.sweep.small_stem import stem_left_out, stem_remarks
from segsweep.sweep.study_checks import check_names
from segsweep.training.device import Device
from segsweep.training.timings import Probe

SIMCLR = "simclr:cifar10"


def study_of(source: str = SIMCLR, architecture: str = "unet-resnet18", **fixed) -> Study:
    settings = {"epochs": 1, "precision": "float32", "image_px": 256, "source_image_px": 32, "architecture": architecture}
    return Study("s", Target("pets"), compare={"source": [source]}, fixed={**settings, **fixed}, seeds=1)


def stages(study: Study) -> list[StageSpec]:
    (cell,) = plan_of(study).cells
    return list(chain(cell.stages[0]))


@pytest.mark.parametrize(
    ("changes", "small", "left_out"),
    [
        ({}, [True], True),
        ({"source_image_px": 64}, [True], True),
        ({"source_image_px": 96}, [False], False),
        ({"source_image_px": None}, [False], False),  # the target's size, 256 px
        ({"architecture": "fcn-resnet50"}, [True], True),
        ({"architecture": "unet-tu-resnet18"}, [True], True),
        ({"architecture": "unet-mobilenet_v2"}, [False], False),
        ({"architecture": "unet16"}, [False], False),
        ({"ssl_stem": "usual"}, [False], False),
        ({"source": f"imagenet+{SIMCLR}"}, [False, False], False),
        ({"source": f"{SIMCLR}+supervised:coco"}, [True, False], False),  # this one trains a stem
        ({"source": f"{SIMCLR}+simclr:cats_dogs"}, [True, False], False),
        ({"source": f"supervised:coco+{SIMCLR}"}, [False, False], False),
        ({"source": "supervised:coco"}, [False], False),
        ({"source": "random"}, [], False),
    ],
)
def test_the_small_stem_is_for_resnets_from_random_weights_on_small_images(changes, small, left_out):
    """Only the first stage of a source has it; trials lack a stem if it is the only stage."""
    study = study_of(**changes)
    assert [spec.settings.get("stem") == "small" for spec in stages(study)] == small
    ((_, settings),) = study.cells()
    assert bool(stem_left_out(settings)) == bool(stem_remarks(study)) == left_out


@pytest.mark.parametrize("changes", [{"source": f"imagenet+{SIMCLR}"}, {"source_image_px": 96}, {"architecture": "unet16"}])
def test_the_setting_keeps_the_stage_if_it_has_no_effect(changes):
    """If the usual stem applies anyway, `usual` and `auto` give the same stage; otherwise different ones."""
    auto, usual = (stages(study_of(**changes, ssl_stem=stem))[-1].spec_id for stem in ("auto", "usual"))
    assert auto == usual
    auto, usual = (stages(study_of(ssl_stem=stem))[-1].spec_id for stem in ("auto", "usual"))
    assert auto != usual


def test_a_policy_that_would_freeze_nothing_is_rejected():
    """`encoder:1` with a source that lacks the stem is a one-line error before anything runs; other sources and policies pass."""
    with pytest.raises(UserError, match=r"freeze='encoder:1': the source has none of these levels"):
        check_names(study_of(freeze="encoder:1"))
    with pytest.raises(UserError, match="freeze='encoder:1'"):
        check_names(replace(study_of(), compare={"source": [SIMCLR], "freeze": ["none", "encoder:1"]}))
    check_names(study_of(freeze="encoder:2"))
    check_names(study_of(freeze="encoder"))
    check_names(study_of(freeze="encoder:1", ssl_stem="usual"))


def test_the_price_is_that_of_the_stem_that_is_trained(tmp_path: Path):
    """A stage is measured with its own stem, and a trial that trains a stem below a frozen encoder like one that trains all."""
    asked = []

    class Sizes:
        store = FolderStore(tmp_path)

        def classes(self, *_):
            return ("a", "b")

        def stage_sizes(self, _):
            return 100, 10

        def target_sizes(self, *_):
            return 60, 20, 20

    def measure(key, *_):
        asked.append((key.model, key.policy, key.small_stem))
        return Probe(0.1, 0.05, at=time.time())

    for stem in ("auto", "usual"):
        study = replace(
            study_of(freeze="encoder", ssl_stem=stem), tune={"learning_rate": LogUniform(1e-4, 1e-2)}, trials_per_cell=1
        )
        plan = plan_of(study)
        CostModel(plan, Sizes(), Device("cpu", 1), measure, print).total(plan.stages())
    assert list(dict.fromkeys(asked)) == [
        ("resnet18", "simclr", True),
        ("unet-resnet18", "none", False),
        ("resnet18", "simclr", False),
        ("unet-resnet18", "encoder", False),
    ]
