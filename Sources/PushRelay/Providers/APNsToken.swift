// The token that a server proves itself to APNs with: signed once and used by all requests for
// 50 minutes. Apple refuses tokens of more than an hour, and whoever signs more often than every
// 20 minutes gets 429 TooManyProviderTokenUpdates, also over restarts: so it is kept.

internal import Foundation
internal import Synchronization
internal import TLS

/// The token of one key.
///
/// Its state is behind a lock, so it may be used on any thread.
final class APNsToken: Sendable {
    /// Seconds: how old a token gets; how old it may get where none can be signed; what has to be
    /// between two; and how far a clock may be behind the one that it was signed by.
    static let life: Int64 = 3000
    static let longestLife: Int64 = 3540
    static let pause: Int64 = 1200
    private static let tolerance: Int64 = 60

    private struct Kept: Codable {
        var token: String
        var issued: Int64
        /// Nothing is signed before this time.
        var quietUntil: Int64?
    }

    private struct State {
        var kept: Kept?
        /// The token that was said to be expired.
        var refused: String?
    }

    private let key: SigningKey
    private let keyID: String
    private let teamID: String
    private let memory: any PushMemory
    private let state = Mutex(State())
    /// Several apps may have one key. Held while one of them looks what was kept and signs.
    private static let signing = Mutex(())

    init(key: SigningKey, keyID: String, teamID: String, memory: any PushMemory) {
        self.key = key
        self.keyID = keyID
        self.teamID = teamID
        self.memory = memory
    }

    /// The token for a request.
    func text(at time: PushTime) throws(PushFault) -> String {
        guard time.isRight else { throw .clock }
        return try state.withLock { state throws(PushFault) in
            if let kept = state.kept, isFresh(kept, state, time) { return kept.token }
            return try Self.signing.withLock { _ throws(PushFault) in
                try another(&state, time)
            }
        }
    }

    /// The token was said to be expired.
    func refuse() {
        state.withLock { $0.refused = $0.kept?.token }
    }

    /// Nothing is signed for a while.
    func stopSigning(at time: PushTime) {
        state.withLock { state in
            guard var kept = state.kept else { return }
            kept.quietUntil = time.seconds + Self.pause
            state.kept = kept
            save(kept)
        }
    }

    /// When Apple will refuse what is used now.
    var expiry: Int64? { state.withLock { $0.kept.map { $0.issued + 3600 } } }

    private func another(_ state: inout State, _ time: PushTime) throws(PushFault) -> String {
        let stored = load()
        if let stored, isFresh(stored, state, time) {
            state.kept = stored
            return stored.token
        }
        let known = [stored, state.kept].compactMap { $0 }.filter {
            // Of a clock that was wrong nothing can be said.
            $0.issued <= time.seconds + Self.tolerance
        }
        let next = known.map { max($0.issued + Self.pause, $0.quietUntil ?? 0) }.max() ?? 0
        let wait = min(next - time.seconds, Self.pause)
        guard wait > 0 else { return try sign(&state, time) }
        if let kept = known.first(where: { isUsable($0, state, time, Self.longestLife) }) {
            state.kept = kept
            return kept.token
        }
        throw PushFault(.retry(.circuit, after: .seconds(wait)), .credentialExpired)
    }

    private func sign(_ state: inout State, _ time: PushTime) throws(PushFault) -> String {
        do throws(TLSError) {
            let token = try JSONWebToken.sign(
                header: ["kid": .string(keyID)],
                claims: ["iss": .string(teamID), "iat": .integer(time.seconds)], key: key)
            let kept = Kept(token: token, issued: time.seconds)
            state.kept = kept
            save(kept)
            return token
        } catch {
            throw PushFault(.authorizationExpired(.refused), .credentialRefused, code: "signature")
        }
    }

    private func isFresh(_ kept: Kept, _ state: State, _ time: PushTime) -> Bool {
        isUsable(kept, state, time, Self.life)
    }

    private func isUsable(_ kept: Kept, _ state: State, _ time: PushTime, _ life: Int64) -> Bool {
        let age = time.seconds - kept.issued
        return kept.token != state.refused && age >= -Self.tolerance && age < life
    }

    private var name: String { "apns.\(teamID).\(keyID)" }

    private func load() -> Kept? {
        guard let bytes = memory.load(name),
            let kept = try? JSONDecoder().decode(Kept.self, from: Data(bytes)),
            // Far from the ends of its type, so that nothing overflows.
            (0...1 << 40).contains(kept.issued), (0...1 << 40).contains(kept.quietUntil ?? 0)
        else { return nil }
        return kept
    }

    private func save(_ kept: Kept) {
        guard let data = try? JSONEncoder().encode(kept) else { return }
        memory.save(name, Array(data))
    }
}
