// What the tests of deliveries share: items, answers, and numbers that are random but the same each
// time.

import Addresses

@testable import PushRelay

/// SplitMix64.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

extension DeliveryItem {
    /// An item for a target of a circuit.
    static func of(
        _ target: Int64, version: Int64 = 1, provider: ProviderKind = .fcm,
        circuit: String = "fcm:chat", kind: PushNotification.Kind = .message, tries: Int = 0,
        expires: Int64 = .max, secret: [UInt8] = [], hasNext: Bool = false
    ) -> DeliveryItem {
        DeliveryItem(
            target: target, version: version, provider: provider, booked: provider, app: "chat",
            circuit: circuit, secret: secret, account: nil, service: "", node: "", device: nil,
            kind: kind,
            unread: 1, details: [], added: 0, expires: expires, tries: tries,
            hasNext: hasNext)
    }
}

extension PushAnswer {
    static let sent = PushAnswer(.accepted, .accepted)
    static let gone = PushAnswer(.invalidToken(.token, since: nil), .unregistered)
    static let refused = PushAnswer(.rejected, .request)
    static let busy = PushAnswer(.retry(.device, after: nil), .rate)
    static let down = PushAnswer(.retry(.circuit, after: nil), .unavailable)
    static let expired = PushAnswer(.authorizationExpired(.expired), .credentialExpired)
    static let locked = PushAnswer(.authorizationExpired(.refused), .credentialRefused)
    static let quota = PushAnswer(.quotaOfDay, .quota)

    static func wait(_ seconds: Int) -> PushAnswer {
        PushAnswer(.retry(.circuit, after: .seconds(seconds)), .rate)
    }
}
