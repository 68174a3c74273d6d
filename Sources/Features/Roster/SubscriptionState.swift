// The states of a presence subscription and how the four subscription stanzas change them
// (RFC 6121 appendix A), without any I/O.

/// The four stanzas that manage subscriptions (RFC 6121 section 3).
enum SubscriptionVerb: String, CaseIterable, Sendable {
    case subscribe, subscribed, unsubscribe, unsubscribed
}

/// One side's view of a subscription, as its server keeps it.
struct SubscriptionState: Hashable, Sendable {
    /// The owner gets the contact's presence.
    var to = false
    /// The contact gets the owner's presence.
    var from = false
    /// The owner has asked and waits.
    var pendingOut = false
    /// The contact has asked, and the owner has not answered.
    var pendingIn = false
    /// The owner agrees before the contact asks (section 3.4).
    var isApproved = false

    /// As in a roster item (section 2.1.2.5).
    var subscription: String {
        switch (to, from) {
        case (false, false): "none"
        case (true, false): "to"
        case (false, true): "from"
        case (true, true): "both"
        }
    }

    /// What the owner's own stanza does (appendix A.2). True if it goes on to the contact.
    mutating func send(_ verb: SubscriptionVerb) -> Bool {
        switch verb {
        case .subscribe:
            if !to { pendingOut = true }
            return true
        case .unsubscribe:
            to = false
            pendingOut = false
            return true
        case .subscribed:
            guard pendingIn else {
                // Nobody has asked: it is an approval for when somebody does (section 3.4.2).
                if !from { isApproved = true }
                return false
            }
            pendingIn = false
            from = true
            return true
        case .unsubscribed:
            isApproved = false
            guard from || pendingIn else { return false }
            from = false
            pendingIn = false
            return true
        }
    }

    /// What to do with a contact's stanza.
    enum Reception: Equatable {
        /// Hand it to the owner's clients.
        case deliver
        /// It changes nothing, so nobody hears of it.
        case ignore
        /// The owner has agreed before: say so in their name (section 3.1.3).
        case agree
        /// The owner has agreed before anybody asked: say so, and the subscription begins.
        case begin
    }

    /// What a contact's stanza does (appendix A.3).
    mutating func receive(_ verb: SubscriptionVerb) -> Reception {
        switch verb {
        case .subscribe:
            if from { return .agree }
            if isApproved {
                pendingIn = false
                from = true
                return .begin
            }
            if pendingIn { return .ignore }
            pendingIn = true
            return .deliver
        case .unsubscribe:
            guard from || pendingIn else { return .ignore }
            from = false
            pendingIn = false
            return .deliver
        case .subscribed:
            guard pendingOut else { return .ignore }
            pendingOut = false
            to = true
            return .deliver
        case .unsubscribed:
            guard to || pendingOut else { return .ignore }
            to = false
            pendingOut = false
            return .deliver
        }
    }
}
