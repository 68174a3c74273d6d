// The tables of RFC 6121 appendix A, row by row.

import Testing

@testable import Features

@Suite struct SubscriptionStateTests {
    /// The nine states of appendix A.1, written as in the RFC: N, T, F, B for none, to, from, both;
    /// o and i for a request that waits outside or inside; a for an approval before the request
    /// (section 3.4).
    private static let states: [String: SubscriptionState] = [
        "N": SubscriptionState(),
        "No": SubscriptionState(pendingOut: true),
        "Ni": SubscriptionState(pendingIn: true),
        "Noi": SubscriptionState(pendingOut: true, pendingIn: true),
        "T": SubscriptionState(to: true),
        "Ti": SubscriptionState(to: true, pendingIn: true),
        "F": SubscriptionState(from: true),
        "Fo": SubscriptionState(from: true, pendingOut: true),
        "B": SubscriptionState(to: true, from: true),
        "Na": SubscriptionState(isApproved: true),
        "Noa": SubscriptionState(pendingOut: true, isApproved: true),
        "Ta": SubscriptionState(to: true, isApproved: true),
        "Fa": SubscriptionState(from: true, isApproved: true),
        "Foa": SubscriptionState(from: true, pendingOut: true, isApproved: true),
        "Ba": SubscriptionState(to: true, from: true, isApproved: true),
    ]

    /// "before after", with a star where the stanza goes on (is routed or delivered).
    private static let sending: [SubscriptionVerb: [String]] = [
        .subscribe: [
            "N No*", "No No*", "Ni Noi*", "Noi Noi*", "T T*", "Ti Ti*", "F Fo*", "Fo Fo*", "B B*",
        ],
        .unsubscribe: [
            "N N*", "No N*", "Ni Ni*", "Noi Ni*", "T N*", "Ti Ni*", "F F*", "Fo F*", "B F*",
        ],
        .subscribed: [
            // Without a request it is an approval for later (section 3.4.2).
            "N Na", "No Noa", "Ni F*", "Noi Fo*", "T Ta", "Ti B*", "F F", "Fo Fo", "B B",
        ],
        .unsubscribed: [
            "N N", "No No", "Ni N*", "Noi No*", "T T", "Ti T*", "F N*", "Fo No*", "B T*",
        ],
    ]

    private static let receiving: [SubscriptionVerb: [String]] = [
        .subscribe: [
            "N Ni*", "No Noi*", "Ni Ni", "Noi Noi", "T Ti*", "Ti Ti", "F F!", "Fo Fo!", "B B!",
        ],
        .unsubscribe: [
            "N N", "No No", "Ni N*", "Noi No*", "T T", "Ti T*", "F N*", "Fo No*", "B T*",
        ],
        .subscribed: [
            "N N", "No T*", "Ni Ni", "Noi Ti*", "T T", "Ti Ti", "F F", "Fo B*", "B B",
        ],
        .unsubscribed: [
            "N N", "No N*", "Ni Ni", "Noi Ni*", "T N*", "Ti Ni*", "F F", "Fo F*", "B F*",
        ],
    ]

    /// With an approval: "+" where the contact's request is granted at once.
    private static let approvedReceiving: [SubscriptionVerb: [String]] = [
        .subscribe: ["Na Fa+", "Noa Foa+", "Ta Ba+", "Fa Fa!", "Foa Foa!", "Ba Ba!"],
        .unsubscribe: ["Na Na", "Noa Noa", "Ta Ta", "Fa Na*", "Foa Noa*", "Ba Ta*"],
        .subscribed: ["Na Na", "Noa Ta*", "Ta Ta", "Fa Fa", "Foa Ba*", "Ba Ba"],
        .unsubscribed: ["Na Na", "Noa Na*", "Ta Na*", "Fa Fa", "Foa Fa*", "Ba Fa*"],
    ]

    private static let approvedSending: [SubscriptionVerb: [String]] = [
        .subscribe: ["Na Noa*", "Noa Noa*", "Ta Ta*", "Fa Foa*", "Foa Foa*", "Ba Ba*"],
        .unsubscribe: ["Na Na*", "Noa Na*", "Ta Na*", "Fa Fa*", "Foa Fa*", "Ba Fa*"],
        .subscribed: ["Na Na", "Noa Noa", "Ta Ta", "Fa Fa", "Foa Foa", "Ba Ba"],
        .unsubscribed: ["Na N", "Noa No", "Ta T", "Fa N*", "Foa No*", "Ba T*"],
    ]

    private func rows(
        _ table: [String]
    ) throws -> [(before: SubscriptionState, after: SubscriptionState, mark: Character?)] {
        #expect(table.count == Self.states.count)
        return try table.map { row in
            let parts = row.split(separator: " ")
            let mark = parts[1].last.flatMap { "*!+".contains($0) ? $0 : nil }
            let after = mark == nil ? parts[1] : parts[1].dropLast()
            return (
                try #require(Self.states[String(parts[0])]),
                try #require(Self.states[String(after)]), mark
            )
        }
    }

    @Test("What the owner sends (appendix A.2)", arguments: SubscriptionVerb.allCases)
    func sends(verb: SubscriptionVerb) throws {
        let table = try #require(Self.sending[verb]) + (Self.approvedSending[verb] ?? [])
        for (before, after, mark) in try rows(table) {
            var state = before
            let isRouted = state.send(verb)
            #expect(state == after, "\(verb) in \(before)")
            #expect(isRouted == (mark == "*"), "\(verb) in \(before)")
        }
    }

    @Test("What the contact sends (appendix A.3)", arguments: SubscriptionVerb.allCases)
    func receives(verb: SubscriptionVerb) throws {
        let table = try #require(Self.receiving[verb]) + (Self.approvedReceiving[verb] ?? [])
        for (before, after, mark) in try rows(table) {
            var state = before
            let reception = state.receive(verb)
            #expect(state == after, "\(verb) in \(before)")
            let expected: SubscriptionState.Reception =
                switch mark {
                case "*": .deliver
                case "!": .agree
                case "+": .begin
                default: .ignore
                }
            #expect(reception == expected, "\(verb) in \(before)")
        }
    }

    @Test("The word for each state (section 2.1.2.5)")
    func words() {
        let words = Self.states.mapValues(\.subscription)
        for (name, word) in words {
            let expected = ["N": "none", "T": "to", "F": "from", "B": "both"]
            #expect(word == expected[String(name.prefix(1))], "\(name)")
        }
    }
}
