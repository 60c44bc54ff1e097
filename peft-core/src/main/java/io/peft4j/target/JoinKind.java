package io.peft4j.target;

/** Which sub-layer ends at a join. */
public enum JoinKind {
  /** Attention. */
  ATTENTION,
  /** The feed-forward network. */
  FEED_FORWARD
}
