"""The fields of the settings: every choice of a trial with its meaning, allowed values and default."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from segsweep.config.keep import Keep
from segsweep.config.setting_types import (
    ArchitectureName,
    Augmentation,
    FitChoice,
    FreezePolicy,
    LossText,
    Optimizer,
    Pixels,
    PositiveInt,
    Rate,
    Schedule,
    Share,
    SourceName,
    Transfer,
    parsed_source,
)
from segsweep.config.source import Source

DEFAULT_KEEP: Keep = "val_iou"


class SettingFields(BaseModel):
    """The fields of `Settings`, which adds the rules between them. `segsweep settings` prints the docstring of each field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,  # the first Settings builds the validator, not the import of this module
    )

    source: SourceName = "random"
    """Origin of the initial weights: a chain of stages joined by `+`, each one of `random`, `imagenet[:WEIGHTS]`, `coco-weights`,
    `file:PATH`, `supervised:DATASET[@N]`, `simclr:DATASET[@N]`."""
    architecture: ArchitectureName = "unet16"
    """Network: a plain U-Net (`unet`, `unet16`, `unet_no_norm`), or DECODER-ENCODER such as `unet-resnet50`. `segsweep models`
    lists the names and their cost."""
    transfer: Transfer = "encoder"
    """Weights that move from the source into the model: `encoder`, `all-but-classifier`, or `all`, where rows of the classifier
    move by class name. A random source makes it `none`."""
    freeze: FreezePolicy = "none"
    """Part that stays fixed: `none`, `encoder`, `encoder:K` (its first K levels), or `norm` (the normalisation layers that the
    transfer brought)."""
    frozen_norm: Literal["eval", "train"] = "eval"
    """Mode of frozen normalisation layers: `eval` keeps their statistics fixed, like Keras with `trainable=False`; `train`
    normalises by each batch and updates the statistics, with dropout active, like PyTorch with only `requires_grad=False`."""
    unfreeze_every_epochs: PositiveInt | None = None
    """Gradual unfreezing: a frozen encoder releases its deepest level after this many epochs, and one further level after every
    further such interval. None: it stays frozen. (Howard and Ruder 2018, arXiv:1801.06146.)"""
    fraction: Share = 1.0
    """Share of the target's training images to train on. Subsets are nested, stratified, and equal for equal seeds."""
    dev_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """With protocol `holdout-H`: share of all images used for training and validation; nine tenths of it train. None: all images
    outside the test split."""
    fold: PositiveInt | None = None
    """With a cross-validation protocol: number of the only fold to run, counted from 1. None: all folds."""
    learning_rate: Rate = 1e-3
    """Peak learning rate of the model. The encoder's learning rate is `learning_rate` times `encoder_lr_factor`."""
    encoder_lr_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Encoder's learning rate as a share of `learning_rate` (Howard and Ruder 2018, arXiv:1801.06146)."""
    layer_decay: Share = 1.0
    """Learning rate of an encoder level as a share of the learning rate of the next deeper level (BEiT: Bao et al. 2022,
    arXiv:2106.08254)."""
    schedule: Schedule = "constant"
    """Learning rate over the run: `constant`; `poly`, (1 - t)^0.9 (arXiv:1606.00915); `cosine`, half a cosine to 0
    (arXiv:1608.03983); `one_cycle`, up over 30 % of the steps, then down (arXiv:1708.07120)."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps in which the learning rate rises linearly, before the schedule."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay: an L2 penalty on all parameters; with `adamw` decoupled, and only on weights, not on biases and normalisation
    (Loshchilov and Hutter 2019, arXiv:1711.05101)."""
    optimizer: Optimizer = "adam"
    """Optimiser from torch.optim of trials and supervised stages: `adam`, `adamw`, `sgd`, `rmsprop`."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of `sgd` and `rmsprop`; the other optimisers ignore it."""
    gradient_clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Maximum L2 norm over all gradients of a batch, in trials and supervised stages; larger gradients are scaled down (Pascanu
    et al. 2013, arXiv:1211.5063). None: no limit."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay per step of an exponential moving average of the weights, at most (1 + n) / (10 + n) after n steps; validation,
    `keep` and test use the average. None: no average."""
    loss: LossText = "cross_entropy"
    """Training loss, or a weighted sum such as `0.5*cross_entropy+dice`, of: `cross_entropy`, `cross_entropy_foreground` (ignores
    background), `weighted_cross_entropy` (by median frequency over the pixels of images that show the class: arXiv:1411.4734),
    `bce`, `dice`, `focal` (arXiv:1708.02002), `jaccard`, `lovasz` (arXiv:1705.08790)."""
    output: Literal["softmax", "sigmoid"] = "softmax"
    """Output channels: `softmax`, one logit per class; `sigmoid`, with two classes, one logit for the foreground (the
    background's is 0). Sources always have one logit per class. `sigmoid` excludes `transfer=all` and `domain_shift=on`."""
    augmentation: Augmentation = "flip"
    """Random change of each training image: `none`; `flip`, left to right; `crop_flip_jitter`, a crop of at least half the side,
    flip and colour; `rotate_flip_jitter_blur`, rotation by at most 90 degrees, flip, colour and blur."""
    augmented_copies: Annotated[int, Field(ge=0, le=16)] = 0
    """Number of augmented copies of each training image per epoch, in addition to the unchanged image. 0: the image itself is
    augmented."""
    normalisation: Literal["source", "imagenet", "own"] = "source"
    """Mean and standard deviation of the input: `source`, those that the source's weights expect; `imagenet`; `own`, those of the
    training images. Stages of the source use the same setting."""
    epochs: PositiveInt | None = None
    """Length of a trial in epochs. None, without `steps`: 10."""
    steps: PositiveInt | None = None
    """Length of a trial in optimiser steps, instead of `epochs`."""
    validations: PositiveInt = 10
    """Number of equally spaced validations in a run whose length is in steps; a run in epochs validates after each epoch."""
    patience_epochs: PositiveInt | None = None
    """Number of epochs (with `steps`: validations) without a better reading of `keep` after which a trial ends. None: no
    limit."""
    keep: Keep = DEFAULT_KEEP
    """Measure that selects the epoch to keep, the trials to stop early and the setting to choose: `val_iou` (ties go to the lower
    loss), `val_loss`, `val_dice` (mean over images), `last` (keeps the last epoch, chooses by IoU)."""
    batch_size: PositiveInt = 16
    """Images per optimiser step, summed over all workers of a trial."""
    image_px: Pixels = 256
    """Side in pixels of the square network input."""
    fit: FitChoice = "own"
    """How an image becomes a square: `own`, as its dataset defines; `resize`, bilinear and antialiased; `nearest`; `crop`, which
    resizes the short side and crops the centre; `raw-crop`, which crops the centre without resizing. Masks use nearest-pixel
    resizing."""
    test_size: Literal["image_px", "original"] = "image_px"
    """Size at which the test counts pixels: `image_px`, masks resized to the network's square; `original`, logits resized to the
    size of each mask, which needs `fit` `resize` or `nearest`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of training and prediction: `float32` (without TF32), `bfloat16`, or `auto`: bfloat16 on GPUs that support it,
    otherwise float32."""
    source_epochs: PositiveInt | None = None
    """Length of a supervised stage in epochs. None, without `source_steps`: the trial's `epochs`, or 10."""
    source_steps: PositiveInt | None = None
    """Length of a supervised stage in optimiser steps, instead of `source_epochs`."""
    source_learning_rate: Rate = 1e-3
    """Peak learning rate of supervised stages; tuned if the study's `source_trials` is above 1."""
    source_batch_size: PositiveInt | None = None
    """Images per optimiser step of a supervised stage. None: `batch_size`."""
    source_loss: LossText = "cross_entropy"
    """Training loss of supervised stages, as `loss`."""
    source_augmentation: Augmentation | None = None
    """Augmentation of supervised stages, as `augmentation`. None: the trial's."""
    source_fit: FitChoice = "own"
    """How images of a source become squares, as `fit`."""
    source_split: Literal["official", "all"] = "official"
    """Images that stages train on: `official`, the official training split, validated on the official validation split or on a
    tenth held out; `all`, all labelled images together, a tenth held out."""
    source_image_px: Pixels | None = None
    """Side in pixels of the square that all stages of the source see. None: `image_px`."""
    ssl_epochs: PositiveInt | None = None
    """Length of a self-supervised stage in epochs. None, without `ssl_steps`: the length of supervised stages, of the trial, or
    10."""
    ssl_steps: PositiveInt | None = None
    """Length of a self-supervised stage in optimiser steps, instead of `ssl_epochs`."""
    ssl_learning_rate: Rate = 1e-3
    """Peak learning rate of self-supervised stages: 1e-3 suits `adam`; `lars` needs about 0.3 times batch / 256."""
    ssl_batch_size: PositiveInt | None = None
    """Images per optimiser step of a self-supervised stage, at least 2: a contrastive loss compares the images of a batch. None:
    the batch size of supervised stages."""
    ssl_optimizer: Literal["adam", "lars"] = "adam"
    """Optimiser of self-supervised stages: `adam`, or timm's `lars` (You et al. 2017, arXiv:1708.03888)."""
    ssl_weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    """Weight decay of self-supervised stages, only on weights, not on biases and normalisation."""
    ssl_gradient_clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Maximum L2 norm over all gradients of a batch, in self-supervised stages. None: no limit."""
    ssl_warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps of a self-supervised stage in which the learning rate rises linearly, before half a cosine to 0."""
    ssl_stem: Literal["auto", "usual"] = "auto"
    """Stem of a ResNet that a self-supervised stage trains from random weights: `auto`, on images of at most 64 px one 3x3
    convolution, which is not transferred (SimCLR, arXiv:2002.05709, appendix B.9); `usual`, always the ResNet's."""
    ssl_temperature: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Temperature of SimCLR's loss, NT-Xent (Chen et al. 2020, arXiv:2002.05709, equation 1)."""
    domain_shift: Literal["off", "on"] = "off"
    """`on`: a confirmed run tests the source's model on the target before training, and after training measures how much of the
    source it forgot. `off`: neither."""
    clip_images: Annotated[int, Field(ge=0, le=16)] = 0
    """Number of validation images whose predictions a confirmed run stores before training and after each validation. 0: none."""

    @property
    def chain(self) -> Source:
        """The parsed source: the chain of stages that produces the initial weights."""
        return parsed_source(self.source)

    @property
    def results(self) -> int:
        """Number of results of a full run: its epochs, or its validations if its length is in steps."""
        return self.epochs if self.epochs is not None else self.validations

    @property
    def source_px(self) -> int:
        """Side in pixels of the square input of the source's stages."""
        return self.source_image_px or self.image_px
