// What is fuzzed, by libFuzzer (`make fuzz`) and by the suite (FuzzTests): each target takes any
// bytes and throws when a property does not hold for them.

/// A property that does not hold for an input.
public struct Violation: Error, CustomStringConvertible {
    /// What does not hold.
    public let description: String

    init(_ description: String) { self.description = description }
}

/// Throws unless a property holds.
func expect(_ holds: Bool, _ otherwise: @autoclosure () -> String) throws(Violation) {
    if !holds { throw Violation(otherwise()) }
}

/// A part of the server that takes bytes from others.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// The XML reader and writer, and the routed form of stanzas.
    case xml
    /// Addresses and their parts.
    case addresses
    /// Base64, PLAIN and SCRAM.
    case sasl
    /// The whole engine: a client before login, before binding, and with a session.
    case stanzas
    /// What backups read from their targets, from rsync and from whoever writes schedules.
    case backup
    /// What name servers answer.
    case dns

    /// Checks every property on one input.
    public func run(_ input: [UInt8]) throws {
        switch self {
        case .xml: try XMLTarget.run(input)
        case .addresses: try AddressTarget.run(input)
        case .sasl: try SASLTarget.run(input)
        case .stanzas: try StanzaTarget.run(input)
        case .backup: try BackupTarget.run(input)
        case .dns: try DNSTarget.run(input)
        }
    }
}

/// Bytes as a violation shows them.
func shown(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self).debugDescription }
