// Answers that several features give in the same words.

internal import XMPP

/// A set where only a get makes sense.
let notChangeable = StanzaError(.notAllowed, "this can be read, not changed")
