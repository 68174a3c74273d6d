// Why the web's listener does not stand.

internal import Glibc
internal import NIOCore

/// An address and port that could not be opened.
public struct WebListenError: Error, Sendable, CustomStringConvertible {
    /// The address and port.
    public let subject: String
    /// What went wrong.
    public let message: String
    /// What to do.
    public let advice: String

    /// One line for a person.
    public var description: String { "cannot listen on \(subject): \(message); \(advice)" }

    init(_ error: any Error, subject: String) {
        self.subject = subject
        switch (error as? IOError)?.errnoCode {
        case EADDRINUSE:
            message = "another program uses this port"
            advice = "stop it, or set listen.web_port in the configuration"
        case EACCES, EPERM:
            message = "not allowed"
            advice = "ports below 1024 need a privilege; set listen.web_port in the configuration"
        case EADDRNOTAVAIL:
            message = "this machine has no such address"
            advice = "set listen.addresses in the configuration"
        default:
            message = "\(error)"
            advice = "check listen.addresses and listen.web_port in the configuration"
        }
    }
}
