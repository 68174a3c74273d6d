// Whether a password is an account's, for ways in that are no streams of XMPP: with the same patience
// towards those who guess.

public import Addresses
internal import NIOCore
internal import Prometheus
internal import SASL

/// What came of looking at a password.
public enum PasswordCheck: Sendable, Equatable {
    case right
    /// Or there is no such account, which nobody is told.
    case wrong
    case disabled
    /// Others were wrong before; it was not looked at.
    case throttled
    /// The database or this machine cannot say at the moment.
    case unavailable
}

extension Host {
    /// Looks at a password, when its turn has come (RFC 4616 section 2 for what it may be).
    ///
    /// - Parameters:
    ///   - account: a local bare JID.
    ///   - network: where it comes from; those of one network slow each other down.
    public func check(
        _ password: String, of account: BareJID, from network: String
    ) async -> PasswordCheck {
        guard isLocal(account.domain), let prepared = try? Preparation.password(password),
            prepared.utf8.count <= PlainExchange.maximumPasswordLength
        else { return .wrong }
        switch loginThrottle.turn(network: network, account: account, now: .now()) {
        case .refused:
            metrics.refusals[.loginThrottled].add()
            return .throttled
        case .after(let delay):
            guard delay > .zero else { break }
            try? await Task.sleep(for: .nanoseconds(delay.nanoseconds))
            if Task.isCancelled { return .throttled }
        }
        let result = await look(at: Array(prepared.utf8), of: account)
        switch result {
        case .right: loginThrottle.succeeded(network: network, account: account)
        case .wrong: loginThrottle.failed(network: network, account: account, now: .now())
        case .disabled, .throttled, .unavailable: break
        }
        return result
    }

    private func look(at password: [UInt8], of account: BareJID) async -> PasswordCheck {
        await withCheckedContinuation { continuation in
            accounts.find(account) { result in
                guard case .success(let found) = result else {
                    return continuation.resume(returning: .unavailable)
                }
                let keys = found?.1.first { $0.hash == .sha256 } ?? found?.1.first
                // Computed for everybody, so that the known and the unknown take the same time.
                let computed =
                    keys
                    ?? self.fakeCredentials.credentials(
                        username: account.local, domain: account.domain, hash: .sha256)
                let isQueued = self.keyStretcher.run {
                    let isRight = computed.verifies(password: password) && keys != nil
                    let isDisabled = found?.0.isDisabled ?? false
                    continuation.resume(
                        returning: !isRight ? .wrong : isDisabled ? .disabled : .right)
                }
                if !isQueued { continuation.resume(returning: .unavailable) }
            }
        }
    }
}
