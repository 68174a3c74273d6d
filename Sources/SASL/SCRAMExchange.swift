// The server's side of SCRAM (RFC 5802, RFC 7677) as a state machine without input or output.

import TLS

/// One authentication by SCRAM.
///
///     receive(client-first) → needCredentials
///     supply(credentials)   → challenge(server-first)
///     receive(client-final) → success(server-final)
///
/// Every step may answer with a failure instead. After a failure or a success the machine is done
/// and refuses whatever comes. A user who does not exist walks the same way to the same failure as
/// a wrong password, with invented credentials.
public struct SCRAMExchange: Sendable {
    /// What the caller has to do next.
    public enum Action: Sendable, Equatable {
        /// Look the user up and answer with `supply`. The name is as the client wrote it and still
        /// has to be prepared; whether the user may act as `authorizationID` is for the caller.
        case needCredentials(username: String, authorizationID: String?)
        /// Send `<challenge/>` with these bytes.
        case challenge([UInt8])
        /// The user proved to know the password: send `<success/>` with these bytes, which prove to the
        /// client that the server knows the keys.
        case success([UInt8])
        /// Send `<failure/>`; the text says what was wrong with the message (`SASLFailure.text`).
        case failure(SASLCondition, String?)
    }

    private enum State: Sendable {
        /// Nothing came yet.
        case awaitingFirst
        /// The caller looks the user up.
        case awaitingCredentials(SCRAMClientFirst)
        /// The challenge was sent.
        case awaitingFinal(Challenge)
        /// Succeeded or failed.
        case ended
    }

    /// What the final message is checked against.
    private struct Challenge: Sendable {
        let credentials: SCRAMCredentials
        let userExists: Bool
        /// gs2-header and channel binding data.
        let expectedChannelBindings: [[UInt8]]
        /// The client's nonce followed by ours.
        let nonce: [UInt8]
        /// client-first-message-bare "," server-first-message ","
        let signedPrefix: [UInt8]
    }

    /// The longest message that is read, in bytes; real ones have a few hundred.
    public static let maximumMessageLength = 4_096

    private let mechanism: SASLMechanism
    private let bindings: ChannelBindings
    private let plusWasOffered: Bool
    private let serverNonce: [UInt8]
    private var state = State.awaitingFirst

    /// - Parameters:
    ///   - mechanism: the SCRAM mechanism that the client chose from those offered.
    ///   - bindings: what this connection can be bound to.
    ///   - plusWasOffered: whether the stream's features had any -PLUS mechanism. A client that
    ///     says otherwise saw features that somebody changed on the way.
    ///   - nonce: unpredictable printable ASCII without comma (`SecureRandom.identifier`), used
    ///     once.
    public init(
        mechanism: SASLMechanism, bindings: ChannelBindings, plusWasOffered: Bool, nonce: String
    ) {
        precondition(
            !nonce.isEmpty && nonce.utf8.allSatisfy(SCRAMClientFirst.isNonceByte),
            "The server's nonce is empty or not printable")
        self.mechanism = mechanism
        self.bindings = bindings
        self.plusWasOffered = plusWasOffered
        serverNonce = Array(nonce.utf8)
    }

    /// Takes a message of the client, decoded from base64.
    ///
    /// A message that arrives while the caller looks the user up is a failure.
    public mutating func receive(_ message: [UInt8]) -> Action {
        step { (machine) throws(SASLFailure) in
            switch machine.state {
            case .awaitingFirst: try machine.receiveFirst(message)
            case .awaitingFinal(let challenge): try machine.receiveFinal(message, challenge)
            case .awaitingCredentials:
                throw SASLFailure(.malformedRequest, "A message came before its turn")
            case .ended: throw Self.over
            }
        }
    }

    /// Takes the answer to `needCredentials`.
    ///
    /// - Parameters:
    ///   - credentials: the user's keys for this mechanism's digest; nil when the user does not
    ///     exist or has none.
    ///   - fake: the invented ones (`FakeCredentials`). They are passed for users who exist as
    ///     well, so that both kinds take the same time.
    public mutating func supply(
        _ credentials: SCRAMCredentials?, fake: SCRAMCredentials
    ) -> Action {
        step { (machine) throws(SASLFailure) in
            guard case .awaitingCredentials(let first) = machine.state else { throw Self.over }
            return try machine.challenge(first, credentials, fake: fake)
        }
    }

    // MARK: Steps

    /// Runs one step; a failure ends the exchange, whatever state it was in.
    private mutating func step(
        _ body: (inout SCRAMExchange) throws(SASLFailure) -> Action
    ) -> Action {
        do throws(SASLFailure) {
            return try body(&self)
        } catch {
            state = .ended
            return .failure(error.condition, error.text)
        }
    }

    private static let over = SASLFailure(.notAuthorized, "The authentication is over")

    private mutating func receiveFirst(_ message: [UInt8]) throws(SASLFailure) -> Action {
        let first = try SCRAMClientFirst(parsing: message)
        _ = try channelBindingData(first.flag)
        state = .awaitingCredentials(first)
        return .needCredentials(
            username: first.username, authorizationID: first.authorizationID)
    }

    /// The rules of RFC 5802 section 6 for the client's flag; the data to compare with.
    private func channelBindingData(
        _ flag: SCRAMClientFirst.ChannelBindingFlag
    ) throws(SASLFailure) -> [[UInt8]] {
        switch flag {
        case .notSupported, .notOffered:
            guard !mechanism.isPlus else {
                throw SASLFailure(
                    .malformedRequest, "\(mechanism.rawValue) needs channel binding")
            }
            guard flag == .notSupported || !plusWasOffered else {
                throw SASLFailure(
                    .notAuthorized, "Channel binding was offered and the client did not see it")
            }
            return [[]]
        case .required(let type):
            guard mechanism.isPlus else {
                throw SASLFailure(
                    .malformedRequest, "\(mechanism.rawValue) is without channel binding")
            }
            guard let data = bindings.data(of: type) else {
                throw SASLFailure(
                    .notAuthorized, "This type of channel binding is not offered here")
            }
            return data
        }
    }

    private mutating func challenge(
        _ first: SCRAMClientFirst, _ credentials: SCRAMCredentials?, fake: SCRAMCredentials
    ) throws(SASLFailure) -> Action {
        // Keys of another digest are no keys for this mechanism.
        let real = credentials.flatMap { $0.hash == mechanism.hash ? $0 : nil }
        let chosen = real ?? fake
        guard chosen.hash == mechanism.hash else {
            throw SASLFailure(.temporaryAuthFailure, "The server has no keys for this mechanism")
        }
        let nonce = first.nonce + serverNonce
        let serverFirst =
            Array("r=".utf8) + nonce
            + Array(",s=\(Base64.encode(chosen.salt)),i=\(chosen.iterations)".utf8)
        let comma = [UInt8(ascii: ",")]
        state = .awaitingFinal(
            Challenge(
                credentials: chosen, userExists: real != nil,
                expectedChannelBindings: try channelBindingData(first.flag).map {
                    first.gs2Header + $0
                },
                nonce: nonce, signedPrefix: first.bare + comma + serverFirst + comma))
        return .challenge(serverFirst)
    }

    private mutating func receiveFinal(
        _ message: [UInt8], _ challenge: Challenge
    ) throws(SASLFailure) -> Action {
        let final = try SCRAMClientFinal(parsing: message)
        let digest = challenge.credentials.hash.digest
        guard final.proof.count == digest.length else {
            throw SASLFailure(.malformedRequest, "The proof has the wrong length")
        }
        guard constantTimeEqual(final.nonce, challenge.nonce) else {
            throw SASLFailure(.notAuthorized, "The nonce is not the one of the challenge")
        }
        guard
            challenge.expectedChannelBindings.contains(where: {
                constantTimeEqual(final.channelBinding, $0)
            })
        else {
            throw SASLFailure(.notAuthorized, "The channel binding does not match")
        }
        // RFC 5802 section 3: ClientKey is the proof without the signature, and its hash is known.
        let signed = challenge.signedPrefix + final.withoutProof
        let clientSignature = digest.hmac(key: challenge.credentials.storedKey, signed)
        let clientKey = zip(final.proof, clientSignature).map { $0 ^ $1 }
        let serverSignature = digest.hmac(key: challenge.credentials.serverKey, signed)
        let proven = constantTimeEqual(digest.hash(clientKey), challenge.credentials.storedKey)
        guard proven, challenge.userExists else { throw SASLFailure(.notAuthorized) }
        state = .ended
        return .success(Array("v=\(Base64.encode(serverSignature))".utf8))
    }
}
