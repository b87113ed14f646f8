"""Contents of artifacts: their kinds, and the names of their files. A changed name breaks existing stores."""

from pathlib import Path

DATA = "data"  # images and masks, decoded to squares of one size
MASKS = "masks"  # masks at their original sizes
WEIGHTS = "weights"  # weights of a stage
MODEL = "model"  # model, examples and predictions of a confirmed run
SCORE = "score"  # scores of a source model
KINDS = (DATA, MASKS, WEIGHTS, MODEL, SCORE)

INDEX_FILE = "artifact.json"  # in every artifact: sizes and checksums of its files, content hash and metadata

# data
IMAGES_FILE, MASKS_FILE, IDENTITY_FILE, SHOWN_FILE = "images.npy", "masks.npy", "identity.npy", "shown.npy"
MOMENTS_FILE, PIXELS_FILE = "moments.npy", "pixels.npy"
DATA_INDEX_FILE = "index.json"

# masks
MASKS_ARCHIVE = "masks.zip"

# weights and model
WEIGHTS_FILE = "weights.safetensors"

# model
CLIP_FILE = "clip.npz"
PREDICTIONS_FILE = "predictions.zip"
IMAGE, TRUTH, PREDICTED, BEFORE = "picture", "truth", "predicted", "before"  # kinds of example files: the image and its masks

# score
SCORES_FILE = "scores.json"

# checkpoints of trials and stages
CHECKPOINT_FILE = "last.safetensors"

# texts that all users of a store share
SPEEDS = "speed.json"  # measured speeds of training and prediction
MANIFESTS = "manifests"  # group of texts with the contents of datasets


def example_file(position: int, what: str) -> str:
    """Return the file name of one image or mask (`what`) of an example."""
    return f"example-{position}-{what}.png"


def example_files(model: Path, what: str) -> list[Path]:
    """Return the files of one kind (`what`) of all examples in a model's folder, in order."""
    return sorted(model.glob(f"example-*-{what}.png"))
