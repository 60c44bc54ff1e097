package io.peft4j.cli.train;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * All keys of training configurations but those of methods, which say themselves what they take.
 */
final class Keys {
  static final Key MODEL = Key.of("model_name_or_path", "base", "base_model");
  static final Key ADAPTER = Key.of("adapter_name_or_path", "adapter");
  static final Key DTYPE = Key.of("dtype", "torch_dtype");
  static final Key BF16 = Key.of("bf16");
  static final Key FP16 = Key.of("fp16");
  static final Key METHOD = Key.of("method", "finetuning_type", "peft_type");
  static final Key STAGE = Key.of("stage");
  static final Key DO_TRAIN = Key.of("do_train");

  static final Key DATASET = Key.of("dataset", "dataset_path", "train_file");
  static final Key EVAL_DATASET = Key.of("eval_dataset", "eval_file", "validation_file");
  static final Key MAX_SAMPLES = Key.of("max_samples");
  static final Key MAX_LENGTH =
      Key.of("max_length", "max_seq_length", "cutoff_len", "model_max_length");
  static final Key PACKING = Key.of("packing");
  static final Key PACKING_STRATEGY = Key.of("packing_strategy");
  static final Key PADDING_FREE = Key.of("padding_free");
  static final Key GROUP_BY_LENGTH = Key.of("group_by_length");
  static final Key COMPLETION_ONLY = Key.of("completion_only_loss");
  static final Key ASSISTANT_ONLY = Key.of("assistant_only_loss");
  static final Key TRAIN_ON_PROMPT = Key.of("train_on_prompt");

  static final Key OUTPUT = Key.of("output_dir");
  static final Key OVERWRITE = Key.of("overwrite_output_dir");
  static final Key RESUME = Key.of("resume_from_checkpoint");
  static final Key DRY_RUN = Key.of("dry_run");

  static final Key EPOCHS = Key.of("num_train_epochs", "epochs");
  static final Key STEPS = Key.of("max_steps");
  static final Key BATCH = Key.of("per_device_train_batch_size", "train_batch_size");
  static final Key EVAL_BATCH = Key.of("per_device_eval_batch_size", "eval_batch_size");
  static final Key MEMORY_BUDGET = Key.of("memory_budget");
  static final Key ACCUMULATION = Key.of("gradient_accumulation_steps");
  static final Key CHECKPOINTING = Key.of("gradient_checkpointing", "recomputation");
  static final Key OPTIMIZER = Key.of("optim", "optimizer");
  static final Key LEARNING_RATE = Key.of("learning_rate", "lr");
  static final Key WEIGHT_DECAY = Key.of("weight_decay");
  static final Key BETA1 = Key.of("adam_beta1");
  static final Key BETA2 = Key.of("adam_beta2");
  static final Key EPSILON = Key.of("adam_epsilon");
  static final Key MAX_NORM = Key.of("max_grad_norm");
  static final Key SCHEDULE = Key.of("lr_scheduler_type");
  static final Key SCHEDULE_OPTIONS = Key.of("lr_scheduler_kwargs");
  static final Key WARMUP_STEPS = Key.of("warmup_steps");
  static final Key WARMUP_RATIO = Key.of("warmup_ratio");
  static final Key LORAPLUS_RATIO = Key.of("loraplus_lr_ratio");
  static final Key LORAPLUS_EMBEDDING = Key.of("loraplus_lr_embedding");
  static final Key NEFTUNE = Key.of("neftune_noise_alpha");
  static final Key SMOOTHING = Key.of("label_smoothing_factor", "label_smoothing");
  static final Key SEED = Key.of("seed");
  static final Key DATA_SEED = Key.of("data_seed");

  static final Key LOGGING_STEPS = Key.of("logging_steps");
  static final Key REPORT_TO = Key.of("report_to");
  static final Key PLOT_LOSS = Key.of("plot_loss");
  static final Key EVAL_STRATEGY = Key.of("eval_strategy", "evaluation_strategy");
  static final Key EVAL_STEPS = Key.of("eval_steps");
  static final Key SAVE_STRATEGY = Key.of("save_strategy");
  static final Key SAVE_STEPS = Key.of("save_steps");
  static final Key SAVE_LIMIT = Key.of("save_total_limit");
  static final Key LOAD_BEST = Key.of("load_best_model_at_end");
  static final Key BEST_METRIC = Key.of("metric_for_best_model");
  static final Key GREATER_IS_BETTER = Key.of("greater_is_better");
  static final Key PATIENCE = Key.of("early_stopping_patience", "early_stopping_steps");
  static final Key THRESHOLD = Key.of("early_stopping_threshold");

  private static final List<Key> ALL =
      List.of(
          MODEL,
          ADAPTER,
          DTYPE,
          BF16,
          FP16,
          METHOD,
          STAGE,
          DO_TRAIN,
          DATASET,
          EVAL_DATASET,
          MAX_SAMPLES,
          MAX_LENGTH,
          PACKING,
          PACKING_STRATEGY,
          PADDING_FREE,
          GROUP_BY_LENGTH,
          COMPLETION_ONLY,
          ASSISTANT_ONLY,
          TRAIN_ON_PROMPT,
          OUTPUT,
          OVERWRITE,
          RESUME,
          DRY_RUN,
          EPOCHS,
          STEPS,
          BATCH,
          EVAL_BATCH,
          MEMORY_BUDGET,
          ACCUMULATION,
          CHECKPOINTING,
          OPTIMIZER,
          LEARNING_RATE,
          WEIGHT_DECAY,
          BETA1,
          BETA2,
          EPSILON,
          MAX_NORM,
          SCHEDULE,
          SCHEDULE_OPTIONS,
          WARMUP_STEPS,
          WARMUP_RATIO,
          LORAPLUS_RATIO,
          LORAPLUS_EMBEDDING,
          NEFTUNE,
          SMOOTHING,
          SEED,
          DATA_SEED,
          LOGGING_STEPS,
          REPORT_TO,
          PLOT_LOSS,
          EVAL_STRATEGY,
          EVAL_STEPS,
          SAVE_STRATEGY,
          SAVE_STEPS,
          SAVE_LIMIT,
          LOAD_BEST,
          BEST_METRIC,
          GREATER_IS_BETTER,
          PATIENCE,
          THRESHOLD);

  /** Every spelling, with the name it has here. */
  static final Map<String, String> SPELLINGS = spellings();

  private Keys() {}

  private static Map<String, String> spellings() {
    Map<String, String> spellings = new LinkedHashMap<>();
    for (Key key : ALL) {
      spellings.put(key.name(), key.name());
      key.others().forEach(other -> spellings.put(other, key.name()));
    }
    return spellings;
  }
}
