// Which messages somebody wants to be woken for (XEP-0357 section 8 leaves that to the server): those
// with a text, encrypted ones, calls, invitations, and in rooms what mentions the user. Not what
// machines tell each other: chat states, receipts, markers, one's own messages.

internal import Addresses
internal import Engine
internal import XML
internal import XMPP

enum WakeRule {
    /// Payloads that are encrypted messages, with the child that holds the text; empty where the
    /// element always does.
    private static let encrypted: [String: String] = [
        "eu.siacs.conversations.axolotl": "payload", "urn:xmpp:omemo:1": "payload",
        "urn:xmpp:omemo:2": "payload", "urn:xmpp:openpgp:0": "", "jabber:x:encrypted": "",
    ]

    /// Whether a message could be one to wake for: a quick look that is made at every message for
    /// an account that has targets.
    static func mayWake(_ stanza: Stanza, to account: BareJID) -> Bool {
        stanza.kind == .message && !stanza.isError && !stanza.isType("headline")
            && stanza.from.bare != account
    }

    /// What a message is to somebody who sleeps; nil if nothing.
    ///
    /// - Parameter nickname: of the user in the room that it comes from.
    static func kind(
        of stanza: Stanza, rooms: RoomPolicy, nickname: String?
    ) -> PushNotification.Kind? {
        let fragment = stanza.fragment
        var hasText = false
        var call: PushNotification.Kind?
        for child in fragment.children {
            if fragment.child(child, isNamed: "body", "jabber:client") {
                hasText = hasText || !(fragment.text(of: child) ?? "").isEmpty
            } else if fragment.namespace(of: child) == "urn:xmpp:jingle-message:0" {
                call = Self.call(fragment.text(child.name)) ?? call
            } else if let payload = encrypted[fragment.namespace(of: child)] {
                hasText =
                    hasText || payload.isEmpty || fragment.element(child).child(payload) != nil
            } else if fragment.child(child, isNamed: "x", "jabber:x:conference") {
                hasText = true
            } else if fragment.child(child, isNamed: "x", "http://jabber.org/protocol/muc#user") {
                hasText = hasText || fragment.element(child).child("invite") != nil
            }
        }
        guard stanza.isType("groupchat") else { return call ?? (hasText ? .message : nil) }
        guard hasText else { return nil }
        switch rooms {
        case .never: return nil
        case .always: return isOwn(stanza, nickname) ? nil : .message
        case .mention:
            guard let nickname, !isOwn(stanza, nickname), mentions(nickname, body(of: stanza))
            else { return nil }
            return .message
        }
    }

    /// Jingle Message Initiation (XEP-0353): what begins or ends the ringing.
    private static func call(_ name: String) -> PushNotification.Kind? {
        switch Substring(name).split(separator: ":").last {
        case "propose": .call
        case "retract", "reject", "finish": .callEnded
        default: nil
        }
    }

    private static func isOwn(_ stanza: Stanza, _ nickname: String?) -> Bool {
        nickname != nil && stanza.from.resource == nickname
    }

    /// The text of a message; nil without one.
    static func body(of stanza: Stanza) -> String? {
        let fragment = stanza.fragment
        let child = fragment.children.first { fragment.child($0, isNamed: "body", "jabber:client") }
        return child.flatMap { fragment.text(of: $0) }
    }

    /// So much of a text and of a nickname is looked at.
    private static let longestText = 4000
    private static let longestNickname = 64

    /// Whether a text has a nickname as a word of its own, in whatever case.
    static func mentions(_ nickname: String, _ text: String?) -> Bool {
        guard !nickname.isEmpty else { return false }
        // Characters are the same however they are composed. Bounded, for each is compared with each.
        let text = Array((text ?? "").prefix(longestText).lowercased())
        let wanted = Array(nickname.prefix(longestNickname).lowercased())
        guard wanted.count <= text.count else { return false }
        func isWord(_ character: Character) -> Bool {
            character.isLetter || character.isNumber || character == "_"
        }
        for start in 0...(text.count - wanted.count)
        where text[start] == wanted[0] && text[start..<start + wanted.count].elementsEqual(wanted) {
            let end = start + wanted.count
            let beginsWord = start == 0 || !isWord(text[start - 1])
            let endsWord = end == text.count || !isWord(text[end])
            if beginsWord, endsWord { return true }
        }
        return false
    }

    /// Whether a message of the user's says that something was read (XEP-0333).
    static func saysRead(_ stanza: Stanza) -> Bool {
        stanza.fragment.hasChild("displayed", "urn:xmpp:chat-markers:0")
    }
}
