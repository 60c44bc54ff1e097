/**
 * Instruction-tuning data: JSON lines become tokens with labels ({@link
 * io.peft4j.train.data.InstructionData}), and these become batches, padded, packed or laid end to
 * end ({@link io.peft4j.train.data.InstructionBatches}). What is trained and how rows are cut
 * follows TRL's {@code SFTTrainer}.
 *
 * <pre>{@code
 * InstructionData data = InstructionData.builder(tokenizer).files(file).maxLength(1024).build();
 * BatchSource batches = InstructionBatches.builder(data).batchSize(8).packing(Packing.BEST_FIT).build();
 * Trainer.builder().model(model).loss(Losses.causalLanguageModel()).batches(batches).epochs(1).build().run();
 * }</pre>
 */
@NullMarked
package io.peft4j.train.data;

import org.jspecify.annotations.NullMarked;
