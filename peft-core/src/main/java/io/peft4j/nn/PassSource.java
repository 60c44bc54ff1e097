package io.peft4j.nn;

/**
 * A network that passes can be run over: a base by itself, or a model with chosen adapters. For
 * those who run many passes in a row over the same weights and adapters, such as text generation.
 */
public interface PassSource {

  /**
   * The network.
   *
   * @return the network that computes the passes
   */
  Backbone backbone();

  /**
   * Leases weights and adapters for passes without dropout. Later changes to the model do not reach
   * them.
   *
   * @param batch number of rows that the caller has; checked where adapters are chosen row by row
   * @param copies how many copies of each row, side by side, the passes will compute (beams)
   * @return the lease; the caller closes it
   * @throws io.peft4j.AdapterStateException if the network or an adapter is closed, or adapters are
   *     chosen for another number of rows
   */
  PassLease lease(long batch, int copies);
}
