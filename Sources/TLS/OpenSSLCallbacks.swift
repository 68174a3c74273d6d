// Every function that OpenSSL calls back.
//
// THREADS: OpenSSL calls these from inside an SSL or PEM call, on the thread that made the call:
// for a connection its event loop. They touch the connection whose call it is (`TLSConnection`,
// owned by that loop), the check of its peer's chain (`PeerCheck`, on the stack of the caller), values
// that never change (`ServerIdentity`, `IdentityTable`) and `TicketKeys`, which locks. None of them
// may call into a pipeline: the SSL object is in use.

import COpenSSL
import NIOCore

/// C functions for OpenSSL; the names say what OpenSSL asks.
enum OpenSSLCallbacks {
    // MARK: PEM

    /// Called for a protected key: notes that in the `Bool` behind `userData`, gives no password.
    static let refusePassword:
        @Sendable @convention(c) (
            UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?
        ) -> Int32 = { _, _, _, userData in
            userData?.assumingMemoryBound(to: Bool.self).pointee = true
            return -1
        }

    // MARK: Transport

    /// The BIO method of every connection: bytes come from the channel's read buffer and go to
    /// the connection's output. Made once, never changed, never freed.
    nonisolated(unsafe) static let transport: OpaquePointer? = {
        let type = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK
        guard let method = BIO_meth_new(type, "channel") else { return nil }
        BIO_meth_set_read_ex(method) { bio, target, capacity, count in
            guard let bio, let target, let count, let connection = connection(of: bio) else {
                return 0
            }
            let bytes = connection.takeInput(atMost: capacity)
            guard let source = bytes.baseAddress, !bytes.isEmpty else {
                kinglet_BIO_set_retry_read(bio)
                return 0
            }
            kinglet_BIO_clear_retry_flags(bio)
            UnsafeMutableRawPointer(target).copyMemory(from: source, byteCount: bytes.count)
            count.pointee = bytes.count
            return 1
        }
        BIO_meth_set_write_ex(method) { bio, source, length, count in
            guard let bio, let source, let count, let connection = connection(of: bio) else {
                return 0
            }
            kinglet_BIO_clear_retry_flags(bio)
            connection.output.writeBytes(UnsafeRawBufferPointer(start: source, count: length))
            count.pointee = length
            return 1
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in
            // There is nothing to flush; every other request is answered "no".
            command == BIO_CTRL_FLUSH ? 1 : 0
        }
        return method
    }()

    private static func connection(of bio: OpaquePointer) -> TLSConnection? {
        BIO_get_data(bio).map { Unmanaged<TLSConnection>.fromOpaque($0).takeUnretainedValue() }
    }

    // MARK: Handshake of a server

    /// The identity behind a server's SSL_CTX, which holds it as its application data.
    static func identity(of ssl: OpaquePointer) -> ServerIdentity? {
        SSL_get_SSL_CTX(ssl).flatMap { SSL_CTX_get_ex_data($0, 0) }
            .map { Unmanaged<ServerIdentity>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Chooses the identity by the name that the client asks for (RFC 6066 section 3).
    /// An unknown name gets the default identity, without an acknowledgement.
    static let chooseIdentity:
        @Sendable @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?
        ) -> Int32 = { ssl, _, argument in
            // Also called in the client's role, when the server answers.
            guard let ssl, SSL_is_server(ssl) == 1 else { return SSL_TLSEXT_ERR_OK }
            guard let argument,
                let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
            else { return SSL_TLSEXT_ERR_NOACK }
            let table = Unmanaged<IdentityTable>.fromOpaque(argument).takeUnretainedValue()
            guard let identity = table.identity(for: String(cString: name)),
                SSL_set_SSL_CTX(ssl, identity.sslContext) != nil
            else { return SSL_TLSEXT_ERR_NOACK }
            return SSL_TLSEXT_ERR_OK
        }

    /// Chooses the application protocol by our preference (RFC 7301 section 3.2); none in common
    /// ends the handshake.
    static let chooseApplicationProtocol:
        @Sendable @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
            UnsafeMutablePointer<UInt8>?, UnsafePointer<UInt8>?, UInt32, UnsafeMutableRawPointer?
        ) -> Int32 = { ssl, chosen, chosenLength, offer, offerLength, _ in
            guard let ssl, let chosen, let chosenLength, let offer,
                let identity = identity(of: ssl)
            else { return SSL_TLSEXT_ERR_ALERT_FATAL }
            let offered = UnsafeBufferPointer(start: offer, count: Int(offerLength))
            for candidate in identity.applicationProtocols {
                guard let range = ApplicationProtocols.range(of: candidate, in: offered) else {
                    continue
                }
                chosen.pointee = offer + range.lowerBound
                chosenLength.pointee = UInt8(range.count)
                return SSL_TLSEXT_ERR_OK
            }
            return SSL_TLSEXT_ERR_ALERT_FATAL
        }

    // MARK: Certificates of peers

    /// Lets every handshake with another server go on: what its certificate is worth is found out
    /// afterwards, and XMPP says what follows from that.
    static let acceptPeer:
        @Sendable @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { _, _ in 1 }

    /// Notes a fault of a chain in the `PeerCheck` behind the context, and lets the check go on.
    static let noteProblem: @Sendable @convention(c) (Int32, OpaquePointer?) -> Int32 = {
        isGood, context in
        guard isGood == 0 else { return 1 }
        guard let context, let check = X509_STORE_CTX_get_ex_data(context, 0) else { return 0 }
        check.assumingMemoryBound(to: PeerCheck.self).pointee.note(
            X509_STORE_CTX_get_error(context))
        return 1
    }

    // MARK: Session tickets of a server

    /// Prepares OpenSSL to seal a ticket or to open one.
    ///
    /// Answers: -1 failed; 0 unknown key, so a full handshake; 1 go on; 2 go on and send a new one.
    static let prepareTicket:
        @Sendable @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt8>?,
            OpaquePointer?, OpaquePointer?, Int32
        ) -> Int32 = { ssl, name, vector, cipher, mac, sealing in
            guard let ssl, let name, let vector, let ticketKeys = identity(of: ssl)?.ticketKeys
            else { return -1 }
            let key: TicketKeys.Key
            var answer: Int32 = 1
            if sealing == 1 {
                key = ticketKeys.sealing()
                name.update(from: key.name, count: TicketKeys.Key.nameLength)
                let length = EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())
                guard RAND_bytes(vector, length) == 1,
                    EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipherKey, vector) == 1
                else { return -1 }
            } else {
                let name = UnsafeBufferPointer(start: name, count: TicketKeys.Key.nameLength)
                guard let found = ticketKeys.opening(name) else { return 0 }
                key = found.key
                answer = found.isStale ? 2 : 1
                guard
                    EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipherKey, vector) == 1
                else { return -1 }
            }
            let authenticationKey = key.authenticationKey
            guard
                kinglet_EVP_MAC_CTX_set_hmac_sha256_key(
                    mac, authenticationKey, authenticationKey.count) == 1
            else { return -1 }
            return answer
        }

    /// Puts the presented certificate's digest into a new ticket: a resumed connection presents no
    /// certificate, and after a reload ours may be another than the one its client has kept.
    static let fillTicket:
        @Sendable @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { ssl, _ in
            // The session of a resumed connection carries the first connection's digest already.
            guard let ssl, SSL_session_reused(ssl) == 0,
                let digest = identity(of: ssl)?.serverEndPoint
            else { return 1 }
            return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), digest, digest.count)
        }
}

/// The list of protocol names in a client's offer (RFC 7301 section 3.1).
enum ApplicationProtocols {
    /// Where `name` stands in `offer`, without its length byte.
    static func range(of name: [UInt8], in offer: UnsafeBufferPointer<UInt8>) -> Range<Int>? {
        var start = 0
        while start < offer.count {
            let end = start + 1 + Int(offer[start])
            guard end <= offer.count else { return nil }
            if offer[(start + 1)..<end].elementsEqual(name) { return (start + 1)..<end }
            start = end
        }
        return nil
    }

    /// The names in wire form; nil when one is empty or longer than a length byte can say.
    static func encode(_ names: [String]) -> [UInt8]? {
        var wire: [UInt8] = []
        for name in names {
            guard let length = UInt8(exactly: name.utf8.count), length > 0 else { return nil }
            wire.append(length)
            wire.append(contentsOf: name.utf8)
        }
        return wire
    }
}
