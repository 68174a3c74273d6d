// The authorities that may vouch for other servers, and the lists of what they have taken back.

import COpenSSL
import Glibc
import Synchronization

/// Whom a server trusts to vouch for other servers. Safe on any thread.
public final class TLSTrust: Sendable {
    private let store: Mutex<TrustStore>
    private let wallClock: @Sendable () -> Int64

    /// Reads the files. The system's authorities are looked up when a chain needs them: each is a
    /// small file that is read once, on the event loop. Revocation lists in the system's directory
    /// count if one was there at the last `reload`.
    ///
    /// - Parameters:
    ///   - authorities: PEM files of certificates and revocation lists (RFC 5280), each an authority
    ///     in addition to the system's.
    ///   - usesSystem: whether the authorities of the system count: `SSL_CERT_DIR` and
    ///     `SSL_CERT_FILE`, or OpenSSL's own places.
    public convenience init(authorities: [String], usesSystem: Bool = true) throws(TLSError) {
        try self.init(
            authorities: authorities, system: usesSystem ? .ofMachine() : nil,
            wallClock: { Int64(time(nil)) })
    }

    /// As above, with the machine's facts passed in.
    init(
        authorities: [String], system: SystemAuthorities?,
        wallClock: @escaping @Sendable () -> Int64
    ) throws(TLSError) {
        store = Mutex(try TrustStore(authorities: authorities, system: system))
        self.wallClock = wallClock
    }

    /// Reads everything again, or leaves all as it is if a file cannot be read. Connections that
    /// exist keep their verdicts.
    public func reload(authorities: [String], usesSystem: Bool = true) throws(TLSError) {
        let fresh = try TrustStore(
            authorities: authorities, system: usesSystem ? .ofMachine() : nil)
        store.withLock { $0 = fresh }
    }

    /// What an operator should look at: a revocation list that is past its time, a system without
    /// authorities.
    public var warnings: [String] {
        let now = wallClock()
        return store.withLock { $0 }.warnings(now: now)
    }

    /// Checks what the peer of a finished handshake has shown, and frees it but for the certificate.
    func check(_ ssl: OpaquePointer) -> PeerCheck {
        let store = store.withLock { $0 }
        let check = PeerCheck(ssl, trust: store, now: wallClock())
        kinglet_SSL_forget_peer_chain(ssl)
        StapledStatus.forget(ssl)
        return check
    }
}

/// What was read at once.
///
/// Unchecked because of the pointer and the variables: all of it is set up by `init` and changed by
/// nothing afterwards, and OpenSSL locks a store for each look-up in it.
final class TrustStore: @unchecked Sendable {
    /// A file's size: the revocation lists of large authorities have megabytes.
    private static let fileLimit = 16 * 1024 * 1024
    private static let operation = "read the authorities"
    private static let option = "federation.authorities"

    let pointer: OpaquePointer
    /// Ends of the revocation lists in files, in seconds since 1970.
    private var lists: [(file: String, end: Int64)] = []
    private let systemWarning: String?
    /// Whether there are revocation lists at all.
    private(set) var hasLists: Bool

    init(authorities: [String], system: SystemAuthorities?) throws(TLSError) {
        ERR_clear_error()
        guard let pointer = X509_STORE_new() else { throw .openSSL(Self.operation) }
        self.pointer = pointer
        systemWarning = system?.add(to: pointer)
        hasLists = system?.hasLists ?? false
        // An authority that is named counts, whether or not another one stands above it.
        guard X509_STORE_set_flags(pointer, UInt(X509_V_FLAG_PARTIAL_CHAIN)) == 1 else {
            throw .openSSL(Self.operation)
        }
        for file in authorities { try read(file) }
    }

    deinit { X509_STORE_free(pointer) }

    func warnings(now: Int64) -> [String] {
        lists.filter { $0.end < now }.map {
            "\($0.file): a revocation list in it is past its time; get a newer one"
        } + (systemWarning.map { [$0] } ?? [])
    }

    private func read(_ path: String) throws(TLSError) {
        let file = try PEMFile(
            path: path, operation: Self.operation, option: Self.option, limit: Self.fileLimit)
        var certificates = 0
        try Self.each(
            in: file, path: path,
            read: { PEM_read_bio_X509($0, nil, OpenSSLCallbacks.refusePassword, nil) },
            free: { X509_free($0) }
        ) { certificate throws(TLSError) in
            certificates += 1
            guard X509_STORE_add_cert(pointer, certificate) == 1 else {
                throw .openSSL(Self.operation)
            }
        }
        var listCount = 0
        try Self.each(
            in: file, path: path,
            read: { PEM_read_bio_X509_CRL($0, nil, OpenSSLCallbacks.refusePassword, nil) },
            free: { X509_CRL_free($0) }
        ) { list throws(TLSError) in
            listCount += 1
            hasLists = true
            guard X509_STORE_add_crl(pointer, list) == 1 else { throw .openSSL(Self.operation) }
            if let end = X509_CRL_get0_nextUpdate(list) {
                lists.append((path, Certificate.seconds(end)))
            }
        }
        guard certificates + listCount > 0 else {
            throw Self.malformed(path, "no PEM certificate or revocation list in it")
        }
    }

    /// Gives each object of one kind in a file to `body`; those of other kinds are passed over.
    private static func each(
        in file: PEMFile, path: String,
        read: (OpaquePointer) -> OpaquePointer?, free: (OpaquePointer) -> Void,
        _ body: (OpaquePointer) throws(TLSError) -> Void
    ) throws(TLSError) {
        ERR_clear_error()
        guard let source = PEMText.source(file.bytes) else { throw .openSSL(operation) }
        defer { BIO_free(source) }
        while let object = read(source) {
            defer { free(object) }
            try body(object)
        }
        // The end of the text shows as "no start line"; anything else is damage.
        let end = OpenSSLFailure.take()
        guard end.module == ERR_LIB_PEM && end.reason == PEM_R_NO_START_LINE else {
            throw malformed(path, end.text)
        }
    }

    private static func malformed(_ path: String, _ message: String) -> TLSError {
        TLSError(
            code: .malformed, operation: operation, subject: path, message: message,
            advice: "check \(option) in the configuration: "
                + "it must name PEM files with certificates or revocation lists")
    }
}
