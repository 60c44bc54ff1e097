package io.peft4j;

/** Where the adapters that requests name come from. */
interface AdapterSource {

  /**
   * Leases the adapters of a set.
   *
   * @param set names of adapters that can act together
   * @return the adapters; the caller closes it
   * @throws AdapterStateException if one does not exist or they cannot act together
   */
  LeasedAdapters lease(AdapterSet set);

  /**
   * Checks that the adapters of a set exist and can act together, as far as that is known now.
   *
   * @param set names of adapters
   * @throws AdapterStateException if one does not exist or they cannot act together
   */
  void check(AdapterSet set);
}
