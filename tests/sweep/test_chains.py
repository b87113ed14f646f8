"""Chains of stages in whole studies: each stage once, whoever needs it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import segsweep
from segsweep.config import Study
from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.records import Records
from segsweep.report.text import table_text
from segsweep.training.checkpoint import save_weights


def run(study: Study, folder: Path) -> Records:
    return segsweep.run(study, out=folder / "runs", runner="inline", device="cpu", threads=1)


@pytest.fixture
def chains(tiny_study: Study, boxes: Path) -> Study:
    """Three sources that begin alike, and one that does not; one confirmed run each."""
    far = f"folder:{boxes}"
    return replace(
        tiny_study,
        name="chains",
        compare={
            "source": [
                f"random+simclr:{far}",
                f"random+simclr:{far}+supervised:{far}@20",
                f"simclr:{far}+supervised:{far}@20+simclr:{far}@12",
                f"supervised:{far}@20",
            ]
        },
        tune={},
        fixed={**tiny_study.fixed, "learning_rate": 1e-3, "ssl_epochs": 2, "epochs": 1},
        seeds=1,
    )


def test_a_shared_prefix_is_trained_once(chains: Study, boxes: Path, tmp_path: Path) -> None:
    """Three chains of one, two and three stages that begin alike train three stages, each once; every other chain its own."""
    records = run(chains, tmp_path)
    far = f"folder:{boxes}"
    assert sorted(records.stages["stage"]) == sorted(
        [
            f"simclr:{far}",
            f"simclr:{far}+supervised:{far}@20",
            f"simclr:{far}+supervised:{far}@20+simclr:{far}@12",
            f"supervised:{far}@20",
        ]
    )
    assert (records.stages["starts"] == 1).all()
    assert (records.trials["status"] == "finished").all()
    epochs = records.epochs[records.epochs["phase"] == "stage"].groupby("trial_id")["epoch"].agg(list)
    assert sorted(map(tuple, epochs)) == [(1,), (1,), (1, 2), (1, 2)]


def test_stages_tell_their_quality(chains: Study, tmp_path: Path) -> None:
    """Self-supervised stages record matches and losses of every epoch, supervised ones their validation IoU."""
    records = run(chains, tmp_path)
    stages = records.stages.set_index("stage")
    alone = stages.index.str.rpartition("+").get_level_values(2).str.startswith("simclr")
    assert stages.loc[alone, "contrastive_accuracy"].between(0, 1).all()
    assert stages.loc[~alone, "val_mean_iou"].between(0, 1).all()
    assert stages.loc[alone, "val_mean_iou"].isna().all()
    of_stages = records.epochs[records.epochs["phase"] == "stage"]
    told = of_stages.set_index("trial_id").loc[stages.loc[alone, "stage_id"], ["train_loss", "val_loss", "contrastive_accuracy"]]
    assert told.notna().all().all()


def test_pictures_alone_are_a_self_supervised_source(tiny_study: Study, boxes: Path, tmp_path: Path) -> None:
    """A folder of pictures without masks serves a self-supervised stage; as a supervised source or target it is refused."""
    photos = tmp_path / "photos"
    shutil.copytree(boxes / "images", photos / "images")
    fixed = {**tiny_study.fixed, "learning_rate": 1e-3, "epochs": 1}
    study = replace(tiny_study, compare={"source": [f"simclr:folder:{photos}"]}, tune={}, fixed=fixed, seeds=1)
    records = run(study, tmp_path)
    assert (records.trials["status"] == "finished").all()
    assert records.stages["knn_accuracy"].isna().all()
    wrong = replace(study, compare={"source": [f"supervised:folder:{photos}"]})
    with pytest.raises(UserError, match="has no masks, so it is neither a target nor a supervised source; choose another, or"):
        run(wrong, tmp_path)


def test_the_table_lists_the_sources_with_their_quality(chains: Study, tmp_path: Path) -> None:
    """Below the table every trained stage stands with what it reached, so that a bad model is not taken for a bad domain."""
    text = table_text(run(chains, tmp_path))
    below = text.partition("Sources as trained:")[2]
    assert below.count("simclr:") >= 3
    assert "contrastive" in below


def test_a_file_whose_encoder_fits_begins_a_self_supervised_chain(tiny_study: Study, boxes: Path, tmp_path: Path) -> None:
    """Before `simclr` a file gives its encoder alone, so that it may be another architecture's."""
    model = build_model("unetplusplus-resnet18", 3, seed=0)
    save_weights(model.network.state_dict(), tmp_path / "w.safetensors")
    fixed = {**tiny_study.fixed, "architecture": "unet-resnet18", "learning_rate": 1e-3, "epochs": 1, "ssl_epochs": 1}
    source = f"file:{tmp_path / 'w.safetensors'}+simclr:folder:{boxes}@8"
    study = replace(tiny_study, compare={"source": [source]}, tune={}, fixed=fixed, seeds=1)
    records = run(study, tmp_path)
    assert (records.trials["status"] == "finished").all()


def test_a_source_of_one_picture_is_refused(tiny_study: Study, boxes: Path, tmp_path: Path) -> None:
    """Nothing is trained where a stage would have one picture."""
    study = replace(tiny_study, compare={"source": [f"simclr:folder:{boxes}@1"]})
    with pytest.raises(UserError, match=r"@1: 1 picture to train on; needs at least 2"):
        run(study, tmp_path)
