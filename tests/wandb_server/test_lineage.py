"""Artifacts of the real client: files, versions, aliases, and the runs that made and used them."""

from pathlib import Path

import wandb

from wandb_server import WandbServer


def log_model(run: wandb.Run, folder: Path, content: str, aliases: list[str]) -> None:
    """Log weights as a study does: the file is sent from its path, without a local copy."""
    path = folder / "weights.pt"
    path.write_text(content)
    artifact = wandb.Artifact("encoder", type="model", metadata={"content": content})
    artifact.add_file(str(path), policy="immutable", skip_cache=True)
    run.log_artifact(artifact, aliases=aliases).wait()


def test_lineage_leads_from_a_trial_to_its_source(wandb_server: WandbServer, tmp_path: Path) -> None:
    """The stage logs a model and the trial uses it; both directions, the file and the metadata read back."""
    with wandb.init(project="segsweep", id="stage", job_type="stage") as run:
        log_model(run, tmp_path, "weights", ["best"])
    with wandb.init(project="segsweep", id="trial", job_type="finetune") as run:
        run.use_artifact("encoder:best", type="model")
    api = wandb.Api()
    artifact = api.artifact("lab/segsweep/encoder:best", type="model")
    maker = artifact.logged_by()
    assert maker is not None
    assert (maker.id, [each.id for each in artifact.used_by()]) == ("stage", ["trial"])
    assert (Path(artifact.download(str(tmp_path / "copy"))) / "weights.pt").read_text() == "weights"
    assert (artifact.metadata, artifact.size) == ({"content": "weights"}, 7)
    assert [each.name for each in api.run("lab/segsweep/stage").logged_artifacts()] == ["encoder:v0"]
    assert [each.name for each in api.run("lab/segsweep/trial").used_artifacts()] == ["encoder:v0"]
    assert "encoder/weights.pt" in wandb_server.uploads


def test_new_content_is_a_new_version_and_the_same_content_is_not(wandb_server: WandbServer, tmp_path: Path) -> None:
    """Version numbers count up, aliases move to the newest, and equal content is neither sent nor counted again."""
    with wandb.init(project="segsweep", id="stage") as run:
        for content in ("one", "two", "one"):
            log_model(run, tmp_path, content, ["best"])
    api = wandb.Api()
    assert api.artifact("lab/segsweep/encoder:best").metadata == {"content": "one"}
    assert api.artifact("lab/segsweep/encoder:v1").metadata == {"content": "two"}
    assert not api.artifact_exists("lab/segsweep/encoder:v2")
    assert wandb_server.uploads.count("encoder/weights.pt") == 2
