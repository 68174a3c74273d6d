// What a client is told when the database did not take something.

public import Storage
public import XMPP

extension StanzaError {
    /// The database did not take it: the client may try again later.
    public static func notStored(_ error: StorageError) -> StanzaError {
        switch error.code {
        case .diskFull: StanzaError(.resourceConstraint, "the server's disk is full")
        case .overloaded: StanzaError(.resourceConstraint, "the server's disk is too slow")
        default:
            StanzaError(.internalServerError, "the server could not store this", kind: .wait)
        }
    }
}
