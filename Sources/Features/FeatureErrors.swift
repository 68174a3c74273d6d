// Answers that several features give in the same words.

internal import Storage
internal import XMPP

/// A set where only a get makes sense.
let notChangeable = StanzaError(.notAllowed, "this can be read, not changed")

/// The database did not take it: the client may try again later.
func notStored(_ error: StorageError) -> StanzaError {
    switch error.code {
    case .diskFull: StanzaError(.resourceConstraint, "the server's disk is full")
    case .overloaded: StanzaError(.resourceConstraint, "the server's disk is too slow")
    default: StanzaError(.internalServerError, "the server could not store this", kind: .wait)
    }
}
