"""The list of mutations: important lines of the package, a broken version of each, and the fast test that catches it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One line of the package and its broken version.

    Attributes:
        guarantee: What the line guarantees, as one sentence.
        file: Path of the file, relative to `segsweep/`.
        code: Text that occurs exactly once in the file.
        broken: Text that replaces it.
        test: Id of one fast test that passes with `code` and fails with `broken`, relative to `tests/`.
    """

    guarantee: str
    file: str
    code: str
    broken: str
    test: str


MUTATIONS = (
    # ---- data: which images train, validate and test ----
    Mutation(
        guarantee="A smaller fraction trains on a subset of the images of a larger one.",
        file="data/splits.py",
        code='seed_for("fraction", seed)',
        broken='seed_for("fraction", seed, count)',
        test="data/test_splits.py::test_fractions_are_nested_and_stratified",
    ),
    Mutation(
        guarantee="No group, such as a video or a patient, is divided between training, validation and test.",
        file="data/splits.py",
        code="if has_groups(data) and (parts := sum(share > 0 for share in shares)) > 1:",
        broken="if False and (parts := sum(share > 0 for share in shares)) > 1:",
        test="data/test_groups.py::test_no_group_is_divided",
    ),
    Mutation(
        guarantee="A training image that is identical to a validation or test image does not train.",
        file="data/splits.py",
        code="train, val = train[~in_later], val[~in_test]",
        broken="train, val = train, val[~in_test]",
        test="data/test_duplicates.py::test_a_copy_stays_in_the_later_split",
    ),
    Mutation(
        guarantee="A source does not train on images that the target validates or tests on.",
        file="data/splits.py",
        code="left = np.setdiff1d(np.arange(len(data.names)), np.asarray(without, dtype=np.int64))",
        broken="left = np.arange(len(data.names))",
        test="data/test_duplicates.py::test_images_that_a_source_excludes_are_in_no_part",
    ),
    Mutation(
        guarantee="Preparation resizes masks by the nearest pixel, so that no pixel gets a class in between.",
        file="data/image_files.py",
        code="return squared, np.asarray(Image.fromarray(mask).resize(new, Image.Resampling.NEAREST).crop(box))",
        broken="return squared, np.asarray(Image.fromarray(mask).resize(new, Image.Resampling.BILINEAR).crop(box))",
        test="data/test_image_files.py::test_masks_are_never_blended[16-resize]",
    ),
    # ---- training: augmentation, losses, frozen layers, checkpoints ----
    Mutation(
        guarantee="A flip mirrors the mask together with its image.",
        file="training/augment.py",
        code="return images, torch.where(chosen.view(-1, 1, 1), masks_BHW.flip(-1), masks_BHW)",
        broken="return images, masks_BHW",
        test="training/test_augment.py::test_flip_mirrors_pairs",
    ),
    Mutation(
        guarantee="Mask pixels from outside a rotated image are ignored.",
        file="training/augment.py",
        code="labels.masked_fill(labels < 0, IGNORE)",
        broken="labels.masked_fill(labels < 0, 0)",
        test="training/test_augment.py::test_rotation_equals_torchvisions",
    ),
    Mutation(
        guarantee="Cross-entropy is the mean over the pixels that are not ignored.",
        file="training/losses.py",
        code="return total / valid_pixels(mask_BHW).clamp(min=1)",
        broken="return total / mask_BHW.numel()",
        test="training/test_losses.py::test_cross_entropy_is_the_mean_over_valid_pixels",
    ),
    Mutation(
        guarantee="Micro-batches are weighted by their valid pixels, so that their gradients add up to that of the batch.",
        file="training/losses.py",
        code="share = term.size(mask_BHW) / world.total(term.size(local_BHW)).clamp(min=TINY)",
        broken="share = len(mask_BHW) / len(local_BHW)",
        test="training/test_losses.py::test_parts_of_a_batch_add_up",
    ),
    Mutation(
        guarantee="The contrastive loss does not compare a view with itself.",
        file="training/simclr.py",
        code=".fill_diagonal_(-torch.inf)",
        broken="",
        test="training/test_simclr.py::test_nt_xent_equals_an_independent_implementation",
    ),
    Mutation(
        guarantee="Frozen normalisation layers keep their running statistics during training.",
        file="models/segmentation_model.py",
        code="                part.eval()\n",
        broken="                pass\n",
        test="models/test_freeze.py::test_frozen_encoder_does_not_change[unet16]",
    ),
    Mutation(
        guarantee="A transfer refuses weights of the source that the model does not have.",
        file="models/transfer.py",
        code="    if foreign:\n",
        broken="    if False:\n",
        test="models/test_transfer.py::test_unexplained_weights_are_refused_and_nothing_is_loaded[encoder]",
    ),
    Mutation(
        guarantee="Code in a weight file is never executed.",
        file="training/weight_file.py",
        code="weights_only=True",
        broken="weights_only=False",
        test="test_stage.py::test_pickle_with_code_is_refused[torch]",
    ),
    Mutation(
        guarantee="A trial normalises its images as the weights of its source expect.",
        file="trial.py",
        code="normalisation_from(source))\n",
        broken="normalisation_from(None))\n",
        test="test_trial.py::test_a_trial_uses_its_sources_normalisation[file-source]",
    ),
    Mutation(
        guarantee="Training keeps the weights of the epoch with the best validation reading.",
        file="training/loop.py",
        code='best=recipe.keep == "last" or found > state.best_reading,',
        broken="best=True,",
        test="training/test_loop.py::test_one_measure_decides_which_epoch_is_kept[None-val_iou-ious0-kept0]",
    ),
    Mutation(
        guarantee="A checkpoint with a flipped bit is detected and not loaded.",
        file="training/checkpoint.py",
        code='if not known or metadata.get("sha256") not in (None, _checksum(tensors, metadata["progress"])):',
        broken="if not known:",
        test="training/test_checkpoint.py::test_any_flipped_bit_of_a_checkpoint_is_found_or_changes_nothing",
    ),
    Mutation(
        guarantee="A resumed run continues with the state of its optimiser, and so gives the numbers of an uninterrupted run.",
        file="training/checkpoint.py",
        code="slots.setdefault(int(position), {})[slot] = tensor",
        broken="slots.setdefault(int(position), {})[slot] = torch.zeros_like(tensor)",
        test="training/test_loop.py::test_resumed_run_is_the_same_bit_for_bit[plain]",
    ),
    # ---- measurement: metrics, and the test split ----
    Mutation(
        guarantee="An IoU divides by the union of truth and prediction, in which each pixel counts once.",
        file="training/metrics.py",
        code="_ratio(hit, true + predicted - hit, shown)",
        broken="_ratio(hit, true + predicted, shown)",
        test="training/test_metrics.py::test_scores_equal_scikit_learns",
    ),
    Mutation(
        guarantee="Means over classes cover the classes that the ground truth shows, whatever the model predicts.",
        file="training/metrics.py",
        code="    shown = true > 0\n    precision",
        broken="    shown = true + predicted > 0\n    precision",
        test="training/test_metrics.py::test_the_class_set_of_a_mean_is_the_same_for_every_prediction",
    ),
    Mutation(
        guarantee="Only confirmed runs read the test split.",
        file="trial.py",
        code='    if trial.phase != "confirm":\n',
        broken="    if False:\n",
        test="test_trial.py::test_tuning_leaves_the_test_split_alone",
    ),
    Mutation(
        guarantee="A confirmed run tests its best weights, not its last.",
        file="trial.py",
        code="    state.model.network.load_state_dict(state.best)\n",
        broken="",
        test="test_trial.py::test_a_run_whose_best_epoch_is_not_its_last_tests_and_keeps_the_best[False]",
    ),
    # ---- planning: identity, choice, early stopping, order, failures ----
    Mutation(
        guarantee="The id of a trial covers its data, so that changed data is new work.",
        file="config/work.py",
        code='"data": self.target_data,',
        broken='"data": None,',
        test="config/test_work.py::test_other_work_is_another_trial",
    ),
    Mutation(
        guarantee="The id of a trial covers each of its settings.",
        file="config/work.py",
        code='                "settings": settings,\n',
        broken='                "settings": {"learning_rate": settings.get("learning_rate")},\n',
        test="config/test_work.py::test_every_setting_of_the_target_run_counts",
    ),
    Mutation(
        guarantee="Confirmed runs use other seeds than the tuning trials that chose their setting.",
        file="sweep/plan.py",
        code="for number in range(1, self.study.seeds + 1)",
        broken="for number in range(self.study.seeds)",
        test="sweep/test_planner.py::test_cells_are_tuned_at_the_same_points_with_the_tuning_seed",
    ),
    Mutation(
        guarantee="A cell chooses its setting by the mean of a trial's last three readings, not by one noisy reading.",
        file="sweep/cell_state.py",
        code="score = smoothed(curve) if curve else Reading(math.nan)",
        broken="score = curve[-1] if curve else Reading(math.nan)",
        test="sweep/test_planner.py::test_a_setting_is_chosen_by_the_mean_of_its_last_readings",
    ),
    Mutation(
        guarantee="Early stopping compares a trial only with trials of its own cell.",
        file="sweep/early_stopping.py",
        code="self._cells: dict[str, CellCurves] = defaultdict(CellCurves)",
        broken="self._cells: dict[str, CellCurves] = defaultdict(lambda shared=CellCurves(): shared)",
        test="sweep/test_planner.py::test_a_cell_stops_the_same_trials_without_other_cells",
    ),
    Mutation(
        guarantee="A trial starts only after the stages of its source are built.",
        file="sweep/schedule.py",
        code="        if not missing:\n            self._queue.add(scheduled)",
        broken="        if True:\n            self._queue.add(scheduled)",
        test="sweep/test_planner.py::test_trials_that_need_no_stage_do_not_wait_for_it[50]",
    ),
    Mutation(
        guarantee="A task whose workers die again and again fails instead of being rescheduled forever.",
        file="sweep/driver.py",
        code="if self._deaths[task.identity] >= DEATHS:",
        broken="if False:",
        test="sweep/test_driver.py::test_a_task_that_kills_its_workers_fails[PlainView]",
    ),
    Mutation(
        guarantee="A full disk or a lost store postpones a task and never fails it.",
        file="sweep/execute.py",
        code="return Blocked(fault)",
        broken="return failure_of(error)",
        test="sweep/test_execute.py::test_an_error_of_the_environment_is_no_failure",
    ),
    Mutation(
        guarantee="A wrong source is reported before an image is decoded or a model trained.",
        file="sweep/preflight.py",
        code="    check_sources(study, catalog)\n",
        broken="",
        test="sweep/test_preflight.py::test_a_run_rejects_a_loss_and_a_source_before_anything_is_decoded",
    ),
    # ---- storage: artifacts, records, W&B, tables ----
    Mutation(
        guarantee="The store compares checksums before it returns an artifact.",
        file="store/index.py",
        code="if _checksum(folder / name, show) != checksum:",
        broken="if False:",
        test="store/test_folder_store.py::test_a_flipped_bit_is_found_although_the_times_are_as_before",
    ),
    Mutation(
        guarantee="The content of a replaced file is on disk before its name is.",
        file="files.py",
        code="            sync(temporary)\n",
        broken="            pass\n",
        test="test_files.py::test_a_replaced_file_survives_a_power_cut",
    ),
    Mutation(
        guarantee="An artifact is on disk before it appears in the store by one rename.",
        file="store/artifact_folder.py",
        code="        sync(path)\n",
        broken="",
        test="store/test_folder_store.py::test_an_artifact_survives_a_power_cut",
    ),
    Mutation(
        guarantee="The end of a trial is on disk before the driver continues.",
        file="records/writer.py",
        code='"ended_at": ended_at, **columns}, durable=True)',
        broken='"ended_at": ended_at, **columns})',
        test="records/test_durability.py::test_an_ended_trial_survives_a_power_cut[names late]",
    ),
    Mutation(
        guarantee="An epoch that a resumed trial reports again is recorded once.",
        file="records/writer.py",
        code='if row["epoch"] not in self._written[identity]:',
        broken="if True:",
        test="records/test_writer.py::test_epoch_is_written_once",
    ),
    Mutation(
        guarantee="The mirror does not send an epoch again that W&B has.",
        file="records/wandb/mirror.py",
        code='if epoch["epoch"] not in opened.epochs:',
        broken="if True:",
        test="records/test_mirror_items.py::test_only_epochs_that_have_not_arrived_are_sent",
    ),
    Mutation(
        guarantee="The spread in the table is the sample standard deviation, which divides by n - 1.",
        file="report/cells.py",
        code=".std(ddof=1)",
        broken=".std(ddof=0)",
        test="report/test_cells.py::test_the_spread_is_the_sample_standard_deviation",
    ),
)
