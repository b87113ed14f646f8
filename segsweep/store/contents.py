"""What artifacts hold: their kinds, and the names of their files. A name that is changed here is another layout."""

from pathlib import Path

DATA = "data"  # images and masks, decoded to squares of one size
MASKS = "masks"  # masks at their own sizes
WEIGHTS = "weights"  # what a stage leaves
MODEL = "model"  # what a confirmed run leaves
KINDS = (DATA, MASKS, WEIGHTS, MODEL)

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
IMAGE, TRUTH, PREDICTED, BEFORE = "picture", "truth", "predicted", "before"  # of each example: the image and its masks

# checkpoints of trials and stages
CHECKPOINT_FILE = "last.safetensors"

# texts that all users of a store share
SPEEDS = "speed.json"  # how fast models train and predict here
MANIFESTS = "manifests"  # the group of those with the contents of datasets


def example_file(position: int, what: str) -> str:
    """Return the name of the file that shows `what` of an example."""
    return f"example-{position}-{what}.png"


def example_files(model: Path, what: str) -> list[Path]:
    """Return the files in a model's folder that show `what` of its examples, in order."""
    return sorted(model.glob(f"example-*-{what}.png"))
