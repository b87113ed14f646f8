import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from copying_store import CopyingStore
from PIL import Image

from segsweep import stage as stages
from segsweep.config.normalisation import HALF, IMAGENET, Normalisation
from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.stage_kinds import STAGE_KINDS, StageKind
from segsweep.config.stage_settings import stage_settings
from segsweep.config.work import StageSpec
from segsweep.context import ExecutionContext
from segsweep.data.folder import Folder
from segsweep.data.prepare import DataSpec, prepare, prepared_key
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source
from segsweep.errors import LostArtifactError, UserError
from segsweep.models.architectures import build_encoder, build_model
from segsweep.stage import (
    build_stage,
    check_stage,
    load_source,
)
from segsweep.store.contents import WEIGHTS, WEIGHTS_FILE
from segsweep.store.folder import FolderStore
from segsweep.tasks.messages import BuiltElsewhere, Finished, Started
from segsweep.training import batches, probe, self_supervised
from segsweep.training.checkpoint import load_weights, save_weights
from segsweep.training.device import Device
from segsweep.training.loop import EpochResult
from segsweep.training.self_supervised import PretrainingResult
from segsweep.training.weight_file import read_weight_file

CLASSES = 3
IMAGE_PX = 32


@pytest.fixture
def context(tmp_path) -> ExecutionContext:
    return ExecutionContext(FolderStore(tmp_path / "store"), Device("cpu", 1))


@pytest.fixture
def data(tmp_path, context) -> str:
    """The key of a prepared dataset of 20 drawn images with three classes."""
    return write_data(tmp_path, context)


def write_data(root: Path, context: ExecutionContext) -> str:
    """Write and prepare this dataset, and return its key."""
    folder = root / "drawn"
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("sky\nsea\nsand\n")
    for number in range(20):
        mask = rng.integers(CLASSES, size=(2, 2)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
        noise = rng.integers(0, 60, size=(*mask.shape, 3))
        Image.fromarray((80 * mask[..., None] + noise).astype(np.uint8)).save(folder / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")
    request = DataSpec(Folder(folder, "drawn"), None, IMAGE_PX)
    prepare(request, context.store, lambda *_: None)
    return prepared_key(request, context.store, lambda *_: None)


def supervised(data: str, parent: StageSpec | None = None, model: str = "unet4", **values) -> StageSpec:
    settings = stage_settings(
        Settings.build(epochs=2, batch_size=4, image_px=IMAGE_PX, precision="float32", **values), Stage("supervised")
    )
    return StageSpec(Stage("supervised", "drawn"), model, seed=0, data=data, settings=settings, parent=parent)


def file_stage(path: Path, model: str = "unet4") -> StageSpec:
    return StageSpec(Stage("file", str(path)), model, seed=0, data="hash of the file")


def build(spec: StageSpec, context: ExecutionContext, parent: str | None = None):
    """Build a stage to its end; return the steps that it yielded, and its outcome."""
    *before, outcome = build_stage(spec, parent, context)
    assert isinstance(outcome, Finished)
    return before, outcome


def weights_of(outcome: Finished) -> dict[str, torch.Tensor]:
    return load_weights(outcome.artifact.folder / WEIGHTS_FILE)[0]


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def starts_of(monkeypatch, loop: str) -> list[dict[str, torch.Tensor]]:
    """Record the weights with which a loop is called: a list that grows with every call."""
    starts, real = [], getattr(stages, loop)

    def spy(state, *args, **values):
        starts.append({name: tensor.clone() for name, tensor in state.model.network.state_dict().items()})
        return real(state, *args, **values)

    monkeypatch.setattr(stages, loop, spy)
    return starts


def test_supervised_stage_is_built_once(data, context, monkeypatch):
    """A stage yields its start, a result per epoch and its artifact; a second build yields the same outcome at once."""
    (started, *epochs), outcome = build(supervised(data), context)
    assert isinstance(started, Started)
    assert (started.facts["train_images"], started.facts["val_images"], started.facts["classes"]) == (18, 2, CLASSES)
    assert [result.epoch for result in epochs] == [1, 2]
    best = min(epochs, key=lambda result: result.val_loss)
    assert outcome.facts["best_epoch"] == best.epoch
    assert outcome.facts["val_loss"] == best.val_loss
    assert weights_of(outcome).keys() == build_model("unet4", CLASSES, 0).network.state_dict().keys()
    monkeypatch.setattr(stages, "train", lambda *_, **__: pytest.fail("it trained again"))
    assert build(supervised(data), context) == ([], outcome)
    assert not list((context.store.root / "work").iterdir())
    assert not list((context.store.root / "temporary").iterdir())


def test_artifact_holds_the_best_epoch(data, context, monkeypatch):
    """The weights in the artifact are those of the epoch with the lowest validation loss, not of the last."""
    kept = {}
    real = stages.train

    def spy(state, *args, **values):
        for result in real(state, *args, **values):
            kept[result.val_loss] = {name: tensor.clone() for name, tensor in state.model.network.state_dict().items()}
            yield result

    monkeypatch.setattr(stages, "train", spy)
    _, outcome = build(supervised(data, source_learning_rate=0.1, source_epochs=4), context)
    assert len(kept) == 4
    assert same(weights_of(outcome), kept[min(kept)])


def test_chain_starts_from_its_parents_weights(data, context, monkeypatch):
    """The second stage starts with all weights of the first except the classifier, and their content is part of its key."""
    first = supervised(data)
    _, parent = build(first, context)
    starts = starts_of(monkeypatch, "train")
    second = replace(supervised(data, parent=first, source_learning_rate=1e-4), seed=1)
    _, outcome = build(second, context, parent.artifact.key)
    given, fresh = weights_of(parent), build_model("unet4", CLASSES, 1).network.state_dict()
    for name, tensor in starts[0].items():
        expected = fresh if name.startswith("classifier.") else given
        assert torch.equal(tensor, expected[name]), name
    assert outcome.artifact.key == second.key(parent.artifact.content_hash)
    assert outcome.artifact.key != second.key("other bytes")
    assert outcome.artifact.metadata["stage"] == "supervised:drawn+supervised:drawn"


def test_an_interrupted_stage_resumes(data, context, tmp_path):
    """A stage that was interrupted after an epoch yields it again and ends with the same bytes as an uninterrupted one."""
    spec = supervised(data)
    steps = build_stage(spec, None, context)
    _, first = (next(steps) for _ in range(2))
    steps.close()
    assert context.store.find(WEIGHTS, spec.key(None)) is None
    (_, *epochs), outcome = build(spec, context)
    assert epochs[0] == first
    assert len(epochs) == 2
    elsewhere = ExecutionContext(FolderStore(tmp_path / "other"), context.device)
    (elsewhere.store.root / "data").symlink_to(context.store.root / "data")
    assert build(spec, elsewhere)[1].artifact.content_hash == outcome.artifact.content_hash


def test_limit_and_rehearsal_limit_the_images(data, context):
    """`@N` limits the training images, a rehearsal those of every split."""
    limited = replace(supervised(data), stage=Stage("supervised", "drawn", 7))
    (started, *_), _ = build(limited, context)
    assert (started.facts["train_images"], started.facts["val_images"]) == (7, 2)
    (started, *_), _ = build(replace(supervised(data), seed=5), replace(context, max_images=3))
    assert (started.facts["train_images"], started.facts["val_images"]) == (3, 2)


@pytest.mark.parametrize("how", ["safetensors", "pth", "state_dict in pth", "legacy pth"])
def test_file_stage_takes_a_whole_models_weights(context, tmp_path, how):
    """A file of tensors, safetensors or `.pth`, plain or under `state_dict`, becomes an artifact with the same weights."""
    weights = dict(build_model("unet4", 5, seed=9).network.state_dict())
    path = tmp_path / ("w.safetensors" if how == "safetensors" else "w.pth")
    if how == "safetensors":
        save_weights(weights, path)
    else:
        content = {"state_dict": weights, "epoch": 3} if how.startswith("state_dict") else weights
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy pth")
    before, outcome = build(file_stage(path), context)
    assert before == []
    assert same(weights_of(outcome), weights)
    model = build_model("unet4", 2, seed=0)
    report = load_source(model, outcome.artifact, "all-but-classifier")
    assert set(report.kept) == {"classifier.weight", "classifier.bias"}
    assert torch.equal(model.network.state_dict()["encoder.blocks.0.0.weight"], weights["encoder.blocks.0.0.weight"])


def test_weights_that_share_memory_are_accepted(context, tmp_path):
    """A `.pth` whose tensors share memory, as tied weights do, becomes an artifact like any other."""
    tensor = torch.rand(10)
    torch.save({"a": tensor, "tied": tensor, "part": tensor[2:5]}, tmp_path / "w.pth")
    _, outcome = build(file_stage(tmp_path / "w.pth"), context)
    assert same(weights_of(outcome), {"a": tensor, "tied": tensor, "part": tensor[2:5]})


class Code:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_pickle_with_code_is_refused(tmp_path, context, how):
    """A `.pth` with code is refused in one line that names it, and the code does not run."""
    path, trap = tmp_path / "evil.pth", tmp_path / "trap"
    content = {"weight": torch.zeros(1), "code": Code(trap)}
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"^source file:.*evil\.pth: .*holds more than tensors") as caught:
        build(file_stage(path), context)
    assert "\n" not in str(caught.value)
    assert not trap.exists()
    assert not list((context.store.root / "temporary").iterdir())
    pickle.loads(pickle.dumps(Code(trap)))  # noqa: S301
    assert trap.exists()  # the trap works when unpickled freely


BROKEN = {
    "missing.pth": None,
    "missing.safetensors": None,
    "empty.pth": b"",
    "empty.safetensors": b"",
    "text.pth": b"hello world\n" * 9,
    "text.safetensors": b"hello world\n" * 9,
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_weight_file_is_one_line(tmp_path, name):
    """A missing, empty or foreign file is refused in one line that names it and the reason."""
    path = tmp_path / name
    if BROKEN[name] is not None:
        path.write_bytes(BROKEN[name])
    with pytest.raises(UserError) as caught:
        read_weight_file(path)
    text = str(caught.value)
    reason = "file is missing" if BROKEN[name] is None else r"(cannot be read: |is cut short, ).+"
    assert re.fullmatch(re.escape(f"source file:{path}: ") + reason, text)


@pytest.mark.parametrize("content", [torch.zeros(3), {}, {"epoch": 3}, [torch.zeros(1)], {"a": {"b": 1}}])
def test_file_without_a_table_of_tensors_is_refused(tmp_path, content):
    """A `.pth` that contains anything but a table of tensors is refused."""
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds no dictionary of tensors"):
        read_weight_file(tmp_path / "w.pth")


def test_truncated_pth_is_one_line(tmp_path):
    """A `.pth` that is truncated anywhere is refused in one line."""
    path = tmp_path / "w.pth"
    torch.save({"a": torch.rand(1000)}, path)
    whole = path.read_bytes()
    for size in (1, 100, len(whole) // 2, len(whole) - 500, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"^source file:.*w\.pth: .*(cannot be read|cut short)") as caught:
            read_weight_file(path)
        assert "\n" not in str(caught.value)


def test_imagenet_stage_provides_the_encoder(context, monkeypatch):
    """The published encoder becomes an artifact with its parameter names, and transfers only into a decoder's encoder."""
    encoder = smp.encoders.get_encoder("resnet18", weights=None)
    monkeypatch.setattr(smp.encoders, "get_encoder", lambda name, weights: encoder)  # noqa: ARG005
    before, outcome = build(StageSpec(Stage("imagenet"), "resnet18", seed=0), context)
    assert before == []
    assert outcome.facts["dataset"] == "imagenet"
    assert outcome.artifact.metadata["encoder_only"] is True
    assert same(weights_of(outcome), dict(encoder.state_dict()))
    for name in ("unet-resnet18", "deeplabv3plus-resnet18"):
        model, fresh = build_model(name, 2, 0), build_model(name, 2, 0).network.state_dict()
        report = load_source(model, outcome.artifact, "all-but-classifier")
        assert same(dict(model.encoder.state_dict()), dict(encoder.state_dict()))
        assert {key for key in fresh if key.startswith("encoder.")} == set(report.loaded)
        after = model.network.state_dict()
        assert all(torch.equal(after[key], fresh[key]) for key in report.kept)


def test_imagenet_without_a_network_is_one_line(context, monkeypatch):
    """If published weights cannot be downloaded, the stage fails in one line and leaves nothing in the store."""

    def offline(name, weights):
        raise ConnectionError(f"no route to the hub for {name} {weights}\nmore")

    monkeypatch.setattr(smp.encoders, "get_encoder", offline)
    spec = StageSpec(Stage("imagenet"), "resnet18", seed=0)
    with pytest.raises(
        UserError,
        match=r"the weights 'imagenet' of resnet18 cannot be loaded: no route to the hub .*; run segsweep fetch STUDY.py ",
    ):
        build(spec, context)
    assert context.store.find(WEIGHTS, spec.key(None)) is None


def test_chain_after_imagenet_starts_from_its_encoder(data, context, monkeypatch):
    """A supervised stage after `imagenet` starts with the published encoder and a random decoder."""
    encoder = smp.encoders.get_encoder("resnet18", weights=None)
    monkeypatch.setattr(smp.encoders, "get_encoder", lambda name, weights: encoder)  # noqa: ARG005
    first = StageSpec(Stage("imagenet"), "resnet18", seed=0)
    _, parent = build(first, context)
    starts = []
    real = stages.train

    def spy(state, *args, **values):
        starts.append({name: tensor.clone() for name, tensor in state.model.encoder.state_dict().items()})
        return real(state, *args, **values)

    monkeypatch.setattr(stages, "train", spy)
    second = supervised(data, parent=first, model="linknet-resnet18", source_epochs=1)
    build(second, replace(context, max_images=4), parent.artifact.key)
    assert same(starts[0], dict(encoder.state_dict()))


@pytest.mark.parametrize("kind", ["data", "weights"])
def test_damage_in_the_inputs_of_a_stage_is_found(data, context, kind):
    """One flipped bit in the images or in the preceding weights: nothing is trained, and an artifact counts as lost."""
    first = supervised(data)
    _, outcome = build(first, context)
    second = replace(supervised(data, parent=first), seed=1)
    key, file = {"data": (data, "images.npy"), "weights": (outcome.artifact.key, WEIGHTS_FILE)}[kind]
    path = context.store.folder(kind, key) / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(LostArtifactError, match=f"{file} has other bytes than were written") as caught:
        build(second, context, outcome.artifact.key)
    assert (caught.value.kind, caught.value.key) == (kind, key)


def test_a_damaged_stage_is_rebuilt(data, context):
    """A stage with one flipped bit in its weights is set aside and trained again to the same bytes."""
    _, outcome = build(supervised(data), context)
    path = outcome.artifact.folder / WEIGHTS_FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    before, again = build(supervised(data), context)
    assert len(before) == 3
    assert again.artifact == outcome.artifact
    assert path.read_bytes() == content
    assert len(list((context.store.root / "damaged").iterdir())) == 1


def simclr(data: str, model: str = "unet4", parent: StageSpec | None = None, **values) -> StageSpec:
    settings = Settings.build(ssl_epochs=2, batch_size=4, image_px=IMAGE_PX, precision="float32", **values)
    return StageSpec(Stage("simclr", "drawn"), model, 0, data, stage_settings(settings, Stage("simclr")), parent)


def test_self_supervised_stage_provides_an_encoder_and_its_quality(data, context):
    """It yields a result per epoch, then only the encoder, with its contrastive and k-NN accuracy."""
    (started, *epochs), outcome = build(simclr(data), context)
    assert (started.facts["train_images"], started.facts["val_images"]) == (18, 2)
    assert [result.epoch for result in epochs] == [1, 2]
    assert outcome.facts["contrastive_accuracy"] == epochs[-1].contrastive_accuracy
    assert {"knn_accuracy", "knn_accuracy_start", "knn_chance"} <= set(outcome.facts)
    encoder = build_encoder("unet4", 0)
    assert weights_of(outcome).keys() == encoder.state_dict().keys()
    assert not same(weights_of(outcome), encoder.state_dict())
    assert outcome.artifact.metadata["encoder_only"]
    model = build_model("unet4", CLASSES, seed=5)
    load_source(model, outcome.artifact, "encoder")
    assert same(dict(model.encoder.state_dict()), weights_of(outcome))
    assert build(simclr(data), context) == ([], outcome)


def test_a_second_self_supervised_method_is_one_file_and_one_row(data, context, monkeypatch):
    """A method in one file, with one row that names it, trains the encoder of a stage.

    Its text is parsed; it yields a start, a result per epoch and the encoder; the next start finds the stage in the store.
    """
    row = StageKind("toy", "dataset", encoder_only=True, method="contracts.toy_method")
    monkeypatch.setitem(STAGE_KINDS, row.name, row)
    stage = Stage.parse("toy:drawn")
    settings = Settings.build(ssl_epochs=2, batch_size=4, image_px=IMAGE_PX, precision="float32")
    spec = StageSpec(stage, "unet4", 0, data, stage_settings(settings, stage))
    (started, *epochs), outcome = build(spec, context)
    assert started.facts["train_images"] == 18
    assert [result.epoch for result in epochs] == [1, 2]
    assert 0 <= outcome.facts["contrastive_accuracy"] <= 1
    assert weights_of(outcome).keys() == build_encoder("unet4", 0).state_dict().keys()
    assert build(spec, context) == ([], outcome)
    assert spec.key(None) != simclr(data).key(None)


@pytest.mark.parametrize("whole", [True, False], ids=["after supervised", "after simclr"])
def test_self_supervised_stage_starts_from_the_encoder_before_it(data, context, monkeypatch, whole):
    """After a whole model it starts from that model's encoder, after an encoder from that one; the weights are in its key."""
    first = supervised(data) if whole else simclr(data, ssl_temperature=0.5)
    _, parent = build(first, context)
    starts = starts_of(monkeypatch, "pretrain")
    second = simclr(data, parent=first)
    _, outcome = build(second, context, parent.artifact.key)
    given = {name.removeprefix("encoder."): value for name, value in weights_of(parent).items()}
    begun = {name.removeprefix("encoder."): value for name, value in starts[0].items() if name.startswith("encoder.")}
    assert begun
    assert all(torch.equal(value, given[name]) for name, value in begun.items())
    assert outcome.artifact.key == second.key(parent.artifact.content_hash)


def test_supervised_stage_starts_from_a_self_supervised_encoder(data, context, monkeypatch):
    """In `simclr:A+supervised:B` the second stage starts with the first one's encoder and a random decoder."""
    first = simclr(data)
    _, parent = build(first, context)
    starts = starts_of(monkeypatch, "train")
    build(supervised(data, parent=first), context, parent.artifact.key)
    given = weights_of(parent)
    assert all(torch.equal(starts[0][f"encoder.{name}"], value) for name, value in given.items())


def small_stem(data: str) -> StageSpec:
    spec = replace(simclr(data, "resnet18"), stage=Stage("simclr", "drawn", limit=8))
    return replace(spec, settings={**spec.settings, "stem": "small", "epochs": 1})


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[ExecutionContext, str, StageSpec, Finished, dict[str, torch.Tensor]]:
    """A stage with the small stem: its context, data, specification and outcome, and the weights at the start of its training."""
    folder = tmp_path_factory.mktemp("small")
    context = ExecutionContext(FolderStore(folder / "store"), Device("cpu", 1))
    first = small_stem(write_data(folder, context))
    with pytest.MonkeyPatch.context() as patch:
        starts = starts_of(patch, "pretrain")
        _, outcome = build(first, context)
    return context, first.data, first, outcome, starts[0]


def test_a_stage_with_the_small_stem_provides_no_stem(small):
    """It trains a 3x3 convolution and provides no stem, so the next model starts with a random stem."""
    *_, outcome, begun = small
    assert begun["encoder.conv1.weight"].shape == (64, 3, 3, 3)
    assert outcome.facts["stem"] == "small"
    encoder, given = build_encoder("resnet18", 0).state_dict(), weights_of(outcome)
    assert encoder.keys() - given.keys() == {name for name in encoder if name.startswith(("conv1.", "bn1."))}
    model, fresh = (build_model("unet-resnet18", CLASSES, seed=5) for _ in range(2))
    report = load_source(model, outcome.artifact, "encoder")
    assert report.absent == tuple(f"encoder.{name}" for name in encoder if name.startswith(("conv1.", "bn1.")))
    assert torch.equal(model.encoder.conv1.weight, fresh.encoder.conv1.weight)
    assert torch.equal(model.encoder.layer1[0].conv1.weight, given["layer1.0.conv1.weight"])


@pytest.mark.parametrize("kind", ["simclr", "supervised"])
def test_a_stage_after_the_small_stem_trains_a_usual_one(small, monkeypatch, kind):
    """The second stage starts with a random 7x7 convolution before the first one's levels, and provides a whole encoder."""
    context, data, first, parent, _ = small
    starts = starts_of(monkeypatch, "pretrain" if kind == "simclr" else "train")
    second = simclr(data, "resnet18", first) if kind == "simclr" else supervised(data, first, "unet-resnet18")
    second = replace(second, stage=replace(second.stage, limit=8), settings={**second.settings, "epochs": 1})
    _, outcome = build(second, context, parent.artifact.key)
    given, begun = weights_of(parent), starts[0]
    assert torch.equal(begun["encoder.conv1.weight"], build_encoder("resnet18", second.seed).conv1.weight) or kind == "supervised"
    assert begun["encoder.conv1.weight"].shape == (64, 3, 7, 7)
    assert all(torch.equal(begun[f"encoder.{name}"], value) for name, value in given.items())
    assert not outcome.artifact.metadata["absent"]
    assert {name.removeprefix("encoder.") for name in weights_of(outcome)} >= set(build_encoder("resnet18", 0).state_dict())


@pytest.mark.parametrize("kind", ["supervised", "simclr"])
def test_a_stage_resumes_from_checkpoints_in_the_store(data, context, kind):
    """On a machine with nothing but the store, a stage continues after its last epoch, and leaves no checkpoint."""
    spec = supervised(data) if kind == "supervised" else simclr(data)
    there = replace(context, store=CopyingStore(context.store.root))
    steps = build_stage(spec, None, there)
    _, first = (next(steps) for _ in range(2))
    steps.close()
    assert build(spec, there)[0][1] == first  # including the measured seconds
    assert there.store.unfinished() == []


@pytest.mark.parametrize("kind", ["supervised", "simclr"])
def test_a_stage_with_a_damaged_checkpoint_restarts_and_reports_it(data, context, kind):
    """A stage whose checkpoint has one flipped bit is trained from its start, and its record has the reason."""
    spec = supervised(data) if kind == "supervised" else simclr(data)
    steps = build_stage(spec, None, context)
    next(steps)
    first = next(steps)
    steps.close()
    (path,) = (context.store.root / "work").glob("*/last.safetensors")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (started, *epochs), _ = build(spec, context)
    assert started.facts["note"] == "started from scratch: checkpoint last.safetensors has other bytes than were written"
    assert len(epochs) == 2
    assert epochs[0].seconds != first.seconds


def test_an_interrupted_self_supervised_stage_resumes(data, context):
    """Interrupted after its first epoch and started again, it has the weights of an uninterrupted one."""
    aside = ExecutionContext(FolderStore(context.store.root.parent / "aside"), context.device)
    (aside.store.root / "data").symlink_to(context.store.root / "data")
    running = build_stage(simclr(data), None, aside)
    assert [type(next(running)) for _ in range(2)] == [Started, PretrainingResult]
    running.close()
    _, found = build(simclr(data), aside)
    _, expected = build(simclr(data), context)
    assert same(weights_of(found), weights_of(expected))


def test_truncated_artifact_is_rebuilt(data, context):
    """An artifact with a truncated file counts as missing and is rebuilt with the same content."""
    _, outcome = build(supervised(data), context)
    path = outcome.artifact.folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-1])
    before, again = build(supervised(data), context)
    assert [type(step) for step in before] == [Started, EpochResult, EpochResult]
    assert again.artifact.content_hash == outcome.artifact.content_hash


def test_stages_that_cannot_be_built_are_refused_with_alternatives():
    """A kind of stage, or published weights, that an architecture cannot use are refused, with the available ones."""
    for text in ("imagenet", "imagenet:IMAGENET1K_V2", "file:x.pth", "supervised:coco@3", "simclr:coco"):
        check_stage(Stage.parse(text), "unet-resnet50")
    check_stage(Stage("coco-weights"), "fcn-resnet50")
    for text, architecture, known in (
        ("imagenet:V9", "unet-resnet50", "published: .*IMAGENET1K_V2"),
        ("imagenet", "unet4", "unet4 has no published weights"),
        ("coco-weights", "unet-resnet50", "fcn-resnet50"),
    ):
        with pytest.raises(UserError, match=known):
            check_stage(Stage.parse(text), architecture)


def test_of_twenty_builders_one_builds(data, context):
    """Of twenty threads that build one stage, one trains it; the others get it or `BuiltElsewhere`."""
    ready = threading.Barrier(20)

    def ask(_: int) -> list[object]:
        ready.wait()
        return list(build_stage(supervised(data), None, context))

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(ask, range(20)))
    assert sum(any(isinstance(message, EpochResult) for message in messages) for messages in answers) == 1
    assert {type(messages[-1]) for messages in answers} <= {Finished, BuiltElsewhere}
    assert len({messages[-1].artifact.content_hash for messages in answers if isinstance(messages[-1], Finished)}) == 1


def test_a_stage_under_construction_elsewhere_is_left_alone(data, context):
    """While another process builds a stage, nothing is done; afterwards it can be built."""
    spec = supervised(data)
    with context.store.building(WEIGHTS, spec.key(None)):
        assert list(build_stage(spec, None, context)) == [BuiltElsewhere()]
        assert context.store.is_being_built(WEIGHTS, spec.key(None))
    assert not context.store.is_being_built(WEIGHTS, spec.key(None))
    assert isinstance(list(build_stage(spec, None, context))[-1], Finished)


STATED = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def stated_file(context, folder, model: str = "unet4") -> tuple[StageSpec, Finished]:
    """Build the stage of a file with a stated normalisation."""
    save_weights(build_model(model, 5, seed=9).network.state_dict(), folder / "w.safetensors")
    spec = StageSpec(Stage("file", str(folder / "w.safetensors"), normalisation=STATED), model, seed=0, data="hash")
    return spec, build(spec, context)[1]


def normalisation_of_artifact(outcome: Finished) -> Normalisation:
    return Normalisation.of(outcome.artifact.metadata["normalisation"])


@pytest.mark.parametrize("setting", ["source", "imagenet", "own"])
@pytest.mark.parametrize("begins", ["random", "file"])
def test_normalisation_travels_through_a_chain(data, context, tmp_path, monkeypatch, begins, setting):
    """Every stage is trained, validated and probed with the first one's normalisation, or as the setting states."""
    first, parent = stated_file(context, tmp_path) if begins == "file" else (None, None)
    prepared = Prepared.open(context.store.folder("data", data))
    used = []
    for module in (batches, self_supervised, probe):
        real = module.normalise
        monkeypatch.setattr(module, "normalise", lambda images, given, real=real: used.append(given) or real(images, given))
    second = simclr(data, parent=first, normalisation=setting)
    _, encoder = build(second, context, parent.artifact.key if parent else None)
    third = replace(supervised(data, parent=second, normalisation=setting), seed=1)
    _, whole = build(third, context, encoder.artifact.key)
    splits = (split_source(prepared, None, 0, labelled=False), split_source(prepared, None, 1))
    own = [Normalisation(*prepared.mean_std(split.train)) for split in splits]
    expected = {
        "source": [STATED if begins == "file" else IMAGENET] * 2,
        "imagenet": [IMAGENET] * 2,
        "own": own,
    }[setting]
    assert [normalisation_of_artifact(outcome) for outcome in (encoder, whole)] == expected
    assert set(used) == set(expected)
    assert encoder.facts["input_normalisation"] == str(expected[0])


@pytest.mark.parametrize(
    ("stage", "model", "expected"),
    [("imagenet", "efficientnet-b0", IMAGENET), ("imagenet:advprop", "efficientnet-b0", HALF), ("imagenet", "xception", HALF)],
)
def test_published_weights_keep_their_normalisation_in_the_artifact(context, monkeypatch, stage, model, expected):
    """The normalisation of the published weights is in the artifact and in the record of the stage."""
    encoder = smp.encoders.get_encoder(model, weights=None)
    monkeypatch.setattr(smp.encoders, "get_encoder", lambda name, weights: encoder)  # noqa: ARG005
    _, outcome = build(StageSpec(Stage.parse(stage), model, seed=0), context)
    assert normalisation_of_artifact(outcome) == expected
    assert outcome.facts["input_normalisation"] == str(expected)


def test_a_file_without_stated_normalisation_has_imagenets(context, tmp_path):
    """Without a stated normalisation a file's weights expect ImageNet's."""
    _, stated = stated_file(context, tmp_path)
    _, silent = build(file_stage(tmp_path / "w.safetensors"), context)
    assert normalisation_of_artifact(stated) == STATED
    assert normalisation_of_artifact(silent) == IMAGENET


def test_a_prefix_selects_a_network_of_a_file(context, tmp_path):
    """The artifact of a file that is read with a prefix contains only that network, with names without the prefix."""
    one, other = ({name: torch.rand(2) for name in ("a.weight", "b.weight")} for _ in range(2))
    torch.save({"student": one, "teacher": {f"backbone.{name}": t for name, t in other.items()}}, tmp_path / "w.pth")
    spec = StageSpec(Stage.parse(f"file:{tmp_path / 'w.pth'}@prefix=teacher.backbone"), "unet4", seed=0, data="hash")
    assert same(weights_of(build(spec, context)[1]), other)
