/**
 * The part of the Jinja template language that chat templates use, as Python's jinja2 renders it
 * under transformers: blocks trimmed, a sandbox that changes no list or dict, no loading of other
 * templates.
 *
 * <p>{@link io.peft4j.models.jinja.JinjaTemplate} is the only way in. Values are Python's: {@code
 * None} is {@link io.peft4j.models.jinja.None}, int is {@code Long}, float is {@code Double}, list
 * is {@code List}, and the rest have a class here. A template is hostile until it has ended: every
 * step, every character made and every level of nesting is paid for out of a budget.
 */
@NullMarked
package io.peft4j.models.jinja;

import org.jspecify.annotations.NullMarked;
