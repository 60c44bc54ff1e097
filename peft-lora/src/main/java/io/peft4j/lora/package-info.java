/**
 * LoRA, low-rank adaptation, and its variants, with the numbers and files of Hugging Face PEFT
 * 0.21.
 *
 * <p>A layer with weight W [out, in] computes y = x·Wᵀ + b. LoRA adds s·(x·Aᵀ)·Bᵀ with A [rank, in]
 * and B [out, rank], so that ΔW = s·B·A; the scaling s is alpha/rank, or alpha/√rank for
 * rank-stabilised LoRA. A and B are PEFT's {@code lora_A.weight} and {@code lora_B.weight}; papers
 * that write ΔW = A·B have the two letters the other way round.
 *
 * <p>Sources: Hu et al. 2021 (LoRA), Kalajdzievski 2023 (rank stabilisation), Liu et al. 2024
 * (DoRA), Meng et al. 2024 (PiSSA), Büyükakyüz 2024 (OLoRA); where a paper and PEFT differ, PEFT's
 * arithmetic is followed.
 */
@NullMarked
package io.peft4j.lora;

import org.jspecify.annotations.NullMarked;
