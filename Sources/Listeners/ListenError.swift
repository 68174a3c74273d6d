// Why a listener does not stand.

internal import Glibc
internal import NIOCore

/// A listener that could not be opened.
public struct ListenError: Error, Sendable, CustomStringConvertible {
    /// The address and port that were asked for.
    public let subject: String
    /// What went wrong.
    public let message: String
    /// What to do.
    public let advice: String

    /// One line for a person.
    public var description: String { "cannot listen on \(subject): \(message); \(advice)" }

    /// - Parameter key: the option that says where to listen.
    init(_ error: any Error, subject: String, key: String) {
        self.subject = subject
        switch (error as? IOError)?.errnoCode {
        case EADDRINUSE:
            message = "another program uses this port"
            advice = "stop it, or set \(key) in the configuration"
        case EACCES, EPERM:
            message = "not allowed"
            advice = "ports below 1024 need a privilege; set \(key) in the configuration"
        case EADDRNOTAVAIL:
            message = "this machine has no such address"
            advice = "set listen.addresses in the configuration"
        default:
            message = "\(error)"
            advice = "check listen.addresses and \(key) in the configuration"
        }
    }
}
