// A notification on its way to one device. What is on the disk is only a row of the queue; this is
// the same in memory, while it is about to be sent.

internal import Addresses
internal import Prometheus

/// Now, by both clocks.
struct PushMoment: Sendable, Equatable {
    /// Milliseconds of a clock that only goes forward.
    var monotonic: Int64
    /// Milliseconds since 1970, which may be wrong and may jump.
    var wall: Int64

    /// The same, later.
    func adding(milliseconds: Int64) -> PushMoment {
        PushMoment(monotonic: monotonic + milliseconds, wall: wall + milliseconds)
    }
}

/// A push that is to be made.
struct DeliveryItem: Sendable {
    /// Whose queue it is in: the row of the target; 0 for a parcel.
    let target: Int64
    /// Counts what was asked for this target; what comes later takes the place of what waits.
    var version: Int64
    let provider: ProviderKind
    /// In whose books it was written when it was asked for: another's, if the target changed since.
    var booked: ProviderKind
    /// Of the configuration; empty where none is needed.
    let app: String
    let circuit: String
    /// The sealed target.
    let secret: [UInt8]
    /// Whose it is; nil for a node of the app server that somebody elsewhere has.
    let account: BareJID?
    /// For another app server (XEP-0357).
    let service: String
    let node: String
    /// The node of our own app server that the target leads to.
    let device: Int64?

    var kind: PushNotification.Kind
    var unread: Int
    /// Sealed: who writes, and what, if that is told.
    var details: [UInt8]
    /// Milliseconds since 1970.
    var added: Int64
    var expires: Int64
    /// How often it failed by itself.
    var tries: Int

    /// The device has another token, which is tried where this one fails.
    var hasNext = false
    /// What a program tells many; nil for what is told to one.
    var parcel: Parcel?

    /// A new credential was made for it.
    var hasRenewed = false
    /// Apps that are connected were asked to take it.
    var hasAsked = false
    /// The other environment is being tried.
    var isInOtherEnvironment = false
    /// How many others had got through when it failed first; nil if it has not.
    var successesAtFailure: Int?
    /// When it was committed, for the time that it takes to the provider.
    var committedAt: PushMoment?

    /// The one that the database has of the target that an item is about takes its place.
    mutating func replace(with newer: DeliveryItem) {
        version = newer.version
        booked = newer.booked
        kind = newer.kind
        unread = newer.unread
        details = newer.details
        expires = newer.expires
        hasNext = newer.hasNext
    }

    var isUrgent: Bool { kind == .call || kind == .callEnded }

    /// What stands for it among all that are to be made.
    var key: Int64 { parcel.map { -$0.id } ?? target }

    /// What it takes of a rate: thirty targets of one request are as much as one alone.
    var weight: Double { Double(max(1, (parcel?.count ?? 1) / 30)) }
}
