// All tables of the push relay.

internal import Storage

enum PushSchema {
    /// The steps of all stores, in the order in which they need each other.
    static let steps =
        PushTargetStore.schema + PushQueueStore.schema + PushDeviceStore.schema
        + PushTaskStore.schema + APITokenStore.schema
}
