"""Chains of stages in whole studies: each stage is trained once, for all trials that need it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

import segsweep
from segsweep.config import Study, Target
from segsweep.config.normalisation import IMAGENET
from segsweep.config.stage_kinds import STAGE_KINDS, StageKind
from segsweep.config.work import StageSpec
from segsweep.data.manifest import hash_file
from segsweep.errors import UserError
from segsweep.models import pretrained
from segsweep.models.architectures import build_encoder, build_model
from segsweep.records import Records, load
from segsweep.report.text import table_text
from segsweep.stage import STAGE_BUILDERS, Built, StageSteps
from segsweep.training.checkpoint import save_weights


def run(study: Study, folder: Path) -> Records:
    return segsweep.run(study, out=folder / "runs", runner="inline", device="cpu", threads=1)


@pytest.fixture(scope="module")
def chains(tiny_study: Study, boxes: Path) -> Study:
    """Three sources with a common beginning and one without, one confirmed run each."""
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


@pytest.fixture(scope="module")
def chained(chains: Study, run_once: Callable[[str, Study], Path]) -> Records:
    """The records of this study."""
    return load(run_once("chains", chains) / "runs" / "chains")


def test_a_shared_prefix_is_trained_once(chained: Records, boxes: Path) -> None:
    """Three chains of one, two and three stages with a common beginning train three stages, each once; other chains train their
    own."""
    records, far = chained, f"folder:{boxes}"
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


def test_stages_record_their_quality(chained: Records) -> None:
    """Self-supervised stages record matches and losses of every epoch, supervised stages their validation IoU."""
    records = chained
    stages = records.stages.set_index("stage")
    alone = stages.index.str.rpartition("+").get_level_values(2).str.startswith("simclr")
    assert stages.loc[alone, "contrastive_accuracy"].between(0, 1).all()
    assert stages.loc[~alone, "val_mean_iou"].between(0, 1).all()
    assert stages.loc[alone, "val_mean_iou"].isna().all()
    of_stages = records.epochs[records.epochs["phase"] == "stage"]
    losses = of_stages.set_index("trial_id").loc[
        stages.loc[alone, "stage_id"], ["train_loss", "val_loss", "contrastive_accuracy"]
    ]
    assert losses.notna().all().all()


def test_images_without_masks_are_a_self_supervised_source(tiny_study: Study, boxes: Path, tmp_path: Path) -> None:
    """A folder of images without masks serves as a self-supervised stage; as a supervised source or the target it is rejected."""
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


def test_the_table_lists_the_sources_with_their_quality(chained: Records) -> None:
    """Below the table, every trained stage is listed with its quality, so that a bad model is not mistaken for a bad domain."""
    text = table_text(chained)
    below = text.partition("Sources as trained:")[2]
    assert below.count("simclr:") >= 3
    assert "contrastive" in below


def test_a_file_whose_encoder_fits_begins_a_self_supervised_chain(tiny_study: Study, boxes: Path, tmp_path: Path) -> None:
    """Before `simclr`, only the encoder of a file is used, so the file may be of another architecture."""
    model = build_model("unetplusplus-mobilenet_v2", 3, seed=0)
    save_weights(model.network.state_dict(), tmp_path / "w.safetensors")
    fixed = {**tiny_study.fixed, "architecture": "unet-mobilenet_v2", "learning_rate": 1e-3, "epochs": 1, "ssl_epochs": 1}
    source = f"file:{tmp_path / 'w.safetensors'}+simclr:folder:{boxes}@8"
    study = replace(tiny_study, compare={"source": [source]}, tune={}, fixed=fixed, seeds=1)
    records = run(study, tmp_path)
    assert (records.trials["status"] == "finished").all()


def test_a_source_of_one_image_is_rejected(tiny_study: Study, boxes: Path, tmp_path: Path) -> None:
    """Nothing is trained if a stage would have a single image."""
    study = replace(tiny_study, compare={"source": [f"simclr:folder:{boxes}@1"]})
    with pytest.raises(UserError, match=r"@1: too few training images: 1; needs at least 2"):
        run(study, tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_a_published_file_maps_its_classes(ellipses, tmp_path, monkeypatch, known):
    """A file with the bytes of one of torchvision's has known classes, which `transfer=all` maps; those of any other file are
    unknown."""
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr(pretrained, "_coco_hashes", lambda: (hash_file(tmp_path / "w.pth")[:8],) if known else ("none",))
    study = Study(
        name="classes",
        target=Target(f"folder:{ellipses}", class_map={"figure": ["cat", "dog"]} if known else {}),
        compare={"source": [f"file:{tmp_path / 'w.pth'}"]},
        fixed={"architecture": "lraspp-mobilenet_v3_large", "image_px": 32, "epochs": 1, "transfer": "all"},
        seeds=1,
    )
    if not known:
        with pytest.raises(
            UserError, match=r"shapes of source and model differ: classifier\.low_classifier\.weight \(21, 40, 1, 1\)"
        ):
            run(study, tmp_path)
        return
    records = run(study, tmp_path)
    assert records.trials["transfer_report"].str.contains("figure     <- cat, dog", regex=False).all()


def test_torchvisions_files_are_recognised_by_their_digests():
    """The digests by which published files are recognised are those in torchvision's file names."""
    assert pretrained.classes_of_weights("cd0a2569" + 56 * "0") == pretrained.COCO_WEIGHTS_CLASSES  # deeplabv3_resnet50_coco
    assert pretrained.classes_of_weights("1167a1af" + 56 * "0") == pretrained.COCO_WEIGHTS_CLASSES  # fcn_resnet50_coco
    assert pretrained.classes_of_weights(64 * "0") is None


def test_a_kind_of_stage_is_one_row_and_one_builder(
    tiny_study: Study, boxes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new kind, declared only by its row and its builder, begins a chain, is built and recorded, and trials start from it."""

    def halved(spec: StageSpec, *_: object) -> StageSteps:
        weights = build_encoder(spec.model, spec.seed).state_dict()
        yield Built(
            {name: tensor / 2 if tensor.is_floating_point() else tensor for name, tensor in weights.items()}, {}, IMAGENET
        )

    monkeypatch.setitem(STAGE_KINDS, "halved", StageKind("halved", "none", encoder_only=True))
    monkeypatch.setitem(STAGE_BUILDERS, "halved", halved)
    compare = {"source": ["halved", f"halved+supervised:folder:{boxes}"]}
    study = replace(tiny_study, name="toy", compare=compare, tune={}, fixed={**tiny_study.fixed, "learning_rate": 1e-3}, seeds=1)
    records = run(study, tmp_path)
    stages = records.stages.set_index("stage")
    assert list(stages["kind_of_stage"]) == ["halved", "supervised"]
    assert (stages["status"] == "finished").all()
    assert stages.loc[f"halved+supervised:folder:{boxes}", "parent_stage_id"] == stages.loc["halved", "stage_id"]
    assert sorted(records.trials["stage_id"]) == sorted(stages["stage_id"])
    assert (records.trials["status"] == "finished").all()
    with pytest.raises(UserError, match=r"a stage is one of .*, halved, and \+ joins stages"):
        replace(study, compare={"source": ["unknown"]})
