import pytest
import torch
from fresh_models import fresh_model

from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.models.class_map import map_classes
from segsweep.models.transfer import transfer_weights

NAMES = ("unet16", "unet-mobilenet_v2")


def pair(name: str, source_classes: int = 2):
    """A model, its start, and the weights of another one of which nothing equals the model's."""
    model = fresh_model(name)
    start = {key: tensor.clone() for key, tensor in model.network.state_dict().items()}
    source = {
        key: torch.full_like(tensor, 7) if tensor.dtype == torch.int64 else torch.rand_like(tensor) + 5
        for key, tensor in build_model(name, source_classes, seed=1).network.state_dict().items()
    }
    return model, start, source


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scope", ["encoder", "all-but-classifier", "all"])
def test_only_weights_in_the_scope_are_loaded(name, scope):
    """Exactly the weights and buffers in the scope get the source's values; all others keep their initial values."""
    model, start, source = pair(name)
    report = transfer_weights(model, source, scope)
    in_scope = {
        "encoder": lambda key: key.startswith("encoder."),
        "all-but-classifier": lambda key: not key.startswith(("classifier.", "segmentation_head.")),
        "all": bool,
    }[scope]
    announced = {key for key in start if in_scope(key)}
    after = model.network.state_dict()
    assert {key for key in start if torch.equal(after[key], source[key])} == announced
    assert {key for key in start if torch.equal(after[key], start[key])} == set(start) - announced
    assert set(report.loaded) == announced


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scope", ["encoder", "all-but-classifier", "all"])
def test_report_is_complete_and_disjoint(name, scope):
    """Loaded and kept weights together are all of the model's, loaded and unused all of the source's, without repetition."""
    model, start, source = pair(name)
    report = transfer_weights(model, source, scope)
    assert sorted(report.loaded + report.kept) == sorted(start)
    assert sorted(report.loaded + report.unused) == sorted(source)
    counts = (len(report.loaded), len(report.kept), len(report.unused))
    assert str(report).startswith("{} weights loaded, {} kept, {} of the source unused".format(*counts))


def test_integer_buffers_are_transferred():
    """Counters of normalisation layers (int64) are transferred with the weights and stay int64."""
    model, _, source = pair("unet-mobilenet_v2")
    transfer_weights(model, source, "encoder")
    counters = {key: t for key, t in model.network.state_dict().items() if key.endswith("num_batches_tracked")}
    assert any(key.startswith("encoder.") for key in counters)
    for key, tensor in counters.items():
        assert tensor.dtype == torch.int64
        assert int(tensor) == (7 if key.startswith("encoder.") else 0)


@pytest.mark.parametrize("name", NAMES)
def test_source_with_other_classes_gives_all_but_the_classifier(name):
    """A source with another number of classes works with `all-but-classifier` and is refused for `all`."""
    model, start, source = pair(name, source_classes=21)
    report = transfer_weights(model, source, "all-but-classifier")
    classifier = [key for key in start if key.startswith(model.parts.classifier)]
    assert set(report.kept) == set(report.unused) == set(classifier)
    with pytest.raises(UserError, match="the shapes of source and model differ"):
        transfer_weights(model, source, "all")


@pytest.mark.parametrize("scope", ["encoder", "all-but-classifier", "all"])
def test_unexplained_weights_are_refused_and_nothing_is_loaded(scope):
    """A source that lacks, adds or reshapes a weight in the scope is refused by that name, and the model does not change."""
    model, start, source = pair("unet16")
    name = "encoder.blocks.1.0.weight"
    lacking = {key: tensor for key, tensor in source.items() if key != name}
    for weights, words in (
        (lacking, ("lacks", name)),
        ({**source, "encoder.blocks.9.weight": torch.zeros(1)}, ("which the model lacks", "encoder.blocks.9.weight")),
        ({**source, name: torch.zeros(2, 2)}, ("shapes of source and model differ", name, "(2, 2)", "(32, 16, 3, 3)")),
    ):
        with pytest.raises(UserError) as caught:
            transfer_weights(model, weights, scope)
        assert all(word in str(caught.value) for word in (*words, f"transfer={scope}"))
        assert all(torch.equal(start[key], tensor) for key, tensor in model.network.state_dict().items())


def test_weights_of_another_network_are_refused_with_few_names():
    """Weights of another architecture are refused in one line with the first names and the number of the others."""
    model = build_model("unet16", 2, seed=0)
    foreign = build_model("unet-resnet18", 2, seed=0).network.state_dict()
    with pytest.raises(UserError, match=r"lacks .* and \d+ more; it has .* and \d+ more$") as caught:
        transfer_weights(model, foreign, "encoder")
    assert len(str(caught.value)) < 400


def test_weights_outside_the_scope_may_differ():
    """With transfer=encoder, a source's decoder may lack, add or reshape weights; they are reported as unused."""
    model, start, source = pair("unet16")
    weights = {key: tensor for key, tensor in source.items() if key.startswith("encoder.")} | {"decoder.odd": torch.ones(1)}
    report = transfer_weights(model, weights, "encoder")
    assert report.unused == ("decoder.odd",)
    after = model.network.state_dict()
    assert all(torch.equal(after[key], start[key]) for key in report.kept)


def test_source_is_not_tied_to_the_model():
    """Training the model afterwards does not change the source's tensors."""
    model, _, source = pair("unet16")
    transfer_weights(model, source, "all")
    kept = source["classifier.weight"].clone()
    with torch.no_grad():
        model.network.classifier.weight.add_(1)
    assert torch.equal(source["classifier.weight"], kept)


def test_ignored_weights_are_left_unused():
    """Names of the source with an ignored prefix are unused; without that prefix they are refused."""
    model, _, source = pair("unet16")
    source["aux_classifier.4.weight"] = torch.zeros(21)
    with pytest.raises(UserError, match=r"the source has aux_classifier\.4\.weight.*, which the model lacks"):
        transfer_weights(model, source, "all")
    report = transfer_weights(model, source, "all", ignored=("aux_classifier.",))
    assert report.unused == ("aux_classifier.4.weight",)


@pytest.mark.parametrize(
    ("name", "classifier"),
    [
        ("unet16", ("classifier.",)),
        ("unet-mobilenet_v2", ("segmentation_head.",)),
        ("lraspp-mobilenet_v3_large", ("classifier.low_classifier.", "classifier.high_classifier.")),
    ],
)
def test_classes_are_mapped_row_by_row(name, classifier):
    """With transfer=all and a class map, the last classifier gets the mapped rows, fresh rows keep their values, all else is
    loaded.
    """
    model, start, source = pair(name, source_classes=4)
    mapping = map_classes(("background", "cat", "dog", "car"), ("boundary", "pet"), {"pet": ["cat", "dog"]})
    report = transfer_weights(model, source, "all", classes=mapping)
    after = model.network.state_dict()
    for key, tensor in after.items():
        if key.startswith(classifier):
            assert torch.equal(tensor[0], start[key][0])
            assert torch.allclose(tensor[1], (source[key][1] + source[key][2]) / 2)
        else:
            assert torch.equal(tensor, source[key])
    assert report.classes is mapping
    assert "pet      <- cat, dog" in str(report)


def test_equal_classes_are_loaded_as_without_a_map():
    """The identity map gives the same weights as a transfer without a map."""
    model, _, source = pair("unet16")
    transfer_weights(model, source, "all", classes=map_classes(("a", "b"), ("A", "B")))
    assert all(torch.equal(tensor, source[key]) for key, tensor in model.network.state_dict().items())


def test_a_classifier_of_another_length_than_the_map_is_refused():
    """A source whose classifier does not have one row per source class of the map is refused by the classifier's name."""
    model, start, source = pair("unet16", source_classes=4)
    with pytest.raises(UserError, match=r"classifier\.weight \(4, 16, 1, 1\) instead of \(3, 16, 1, 1\)"):
        transfer_weights(model, source, "all", classes=map_classes(("a", "b", "c"), ("a", "b")))
    assert all(torch.equal(start[key], tensor) for key, tensor in model.network.state_dict().items())


@pytest.mark.parametrize("scope", ["encoder", "all-but-classifier"])
def test_a_map_changes_nothing_in_another_scope(scope):
    """If the scope excludes the classifier, a class map changes nothing and is not reported."""
    model, start, source = pair("unet16")
    report = transfer_weights(model, source, scope, classes=map_classes(("a", "b"), ("a", "b")))
    assert report.classes is None
    assert torch.equal(model.network.classifier.weight, start["classifier.weight"])
