// A feature's tables, as numbered steps that stand beside the feature.

/// One change of the schema. Once released, a step is never edited; a further one is added.
public struct SchemaStep: Sendable {
    /// Whose tables they are.
    public let feature: String
    /// Counts from 1 within the feature.
    public let number: Int
    /// The statements.
    public let sql: String

    /// Creates a step.
    public init(_ feature: String, _ number: Int, _ sql: String) {
        self.feature = feature
        self.number = number
        self.sql = sql
    }

    var identifier: String { "\(feature).\(number)" }
}
