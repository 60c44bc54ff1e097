/**
 * Files and names: what lies on disk and how it is found again.
 *
 * <p>{@link io.peft4j.state.SafeTensors} and {@link io.peft4j.state.Checkpoint} read tensors from
 * one file or from several shards, {@link io.peft4j.state.SafeTensorsWriter} and {@link
 * io.peft4j.state.CheckpointWriter} write them, {@link io.peft4j.state.PeftDirectory} does both for
 * adapters. Files are taken as hostile: whatever they claim is checked before it is believed, and
 * what is wrong ends in one {@link io.peft4j.MalformedFileException} that names the file.
 */
@NullMarked
package io.peft4j.state;

import org.jspecify.annotations.NullMarked;
