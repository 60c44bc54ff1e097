package io.peft4j.cli;

import io.peft4j.target.MatchProblem;
import java.util.List;
import java.util.Map;

/**
 * What a configuration would do to a model, found out from names and shapes alone.
 *
 * @param method its {@code peft_type}
 * @param effects by path of layer or name of parameter what would act there, and why
 * @param adapted how many layers would be adapted
 * @param inputs values a token that the adapted layers need of their inputs for the backward pass
 * @param trainable values that training changes
 * @param borrowed how many of them are parameters of the base, trained in place by Hugging Face
 *     PEFT
 * @param left modules that are targeted but left out, and why
 * @param problems what does not fit the model
 */
record AdapterPlan(
    String method,
    Map<String, String> effects,
    int adapted,
    long inputs,
    long trainable,
    long borrowed,
    List<String> left,
    List<MatchProblem> problems) {}
