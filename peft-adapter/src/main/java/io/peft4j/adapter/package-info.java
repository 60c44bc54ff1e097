/**
 * Bottleneck adapters: small networks with a narrow middle, put where sub-layers meet the residual
 * (Houlsby et al. 2019, Pfeiffer et al. 2021, He et al. 2022), in AdapterHub's files.
 */
@NullMarked
package io.peft4j.adapter;

import org.jspecify.annotations.NullMarked;
