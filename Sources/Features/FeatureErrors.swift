// Answers that several features give in the same words.

internal import XMPP

/// A set where only a get makes sense.
let notChangeable = StanzaError(.notAllowed, "this can be read, not changed")

/// The database did not take it.
let notStored = StanzaError(
    .internalServerError, "the server could not store this; try again later", kind: .wait)
