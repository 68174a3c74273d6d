// A small client of XMPP that logs in to a server on this machine and reads a history, to prove
// that a restored server works. It knows the server's certificate and no other.

internal import Glibc
internal import SASL
internal import TLS
internal import XML

/// An account that exists only in a scratch copy.
public struct ProbeAccount: Sendable {
    /// The part of its address before the @.
    public var name: String
    /// The part behind it.
    public var domain: String
    /// Of letters and digits.
    public var password: String
    /// How many messages its archive has, as the database says.
    public var messages: Int
    /// How many accounts the copy had when it was opened, without this one.
    public var storedAccounts: Int
    /// How many messages it had then, of all accounts.
    public var storedMessages: Int

    /// Creates a description.
    public init(
        name: String, domain: String, password: String, messages: Int, storedAccounts: Int,
        storedMessages: Int
    ) {
        self.name = name
        self.domain = domain
        self.password = password
        self.messages = messages
        self.storedAccounts = storedAccounts
        self.storedMessages = storedMessages
    }
}

/// A client that has connected. Owner: one thread, which it blocks.
final class ProbeClient {
    private static let limits = ReaderLimits(elementBytes: 4_194_304, elements: 65_536)
    private static let mam = "urn:xmpp:mam:2"
    private static let rsm = "http://jabber.org/protocol/rsm"
    private static let sasl = "urn:ietf:params:xml:ns:xmpp-sasl"

    private let socket: Int32
    private let tls: TLSClient
    private let cancellation: Cancellation
    private let deadline: ContinuousClock.Instant
    private var reader = StreamReader(limits: ProbeClient.limits)
    private var chunk: [UInt8] = []
    private var offset = 0
    private var requests = 0

    /// Connects to a port of this machine at which TLS begins at once (XEP-0368).
    ///
    /// - Parameters:
    ///   - fingerprints: of the certificates that the server may show, in hexadecimal with colons.
    ///   - timeLimit: for all that it will do.
    init(
        port: UInt16, fingerprints: Set<String>, timeLimit: Duration, cancellation: Cancellation
    ) throws(BackupError) {
        self.cancellation = cancellation
        deadline = ContinuousClock.now + timeLimit
        do {
            tls = try TLSClient(serverName: nil, applicationProtocols: ["xmpp-client"])
        } catch {
            throw Self.failure("TLS: \(error)")
        }
        socket = Glibc.socket(
            AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw Files.error("probe", "open a socket") }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Files.error("port \(port)", "connect") }
        try shakeHands(fingerprints)
    }

    deinit { if socket >= 0 { Glibc.close(socket) } }

    private static func failure(_ message: String) -> BackupError {
        BackupError(
            .damaged, subject: "the restored server", message,
            advice: "the snapshot may not restore; see the log")
    }

    // MARK: Bytes

    private func shakeHands(_ fingerprints: Set<String>) throws(BackupError) {
        do {
            try write(try tls.receive())
            while !tls.isReady { try write(try tls.receive(try read())) }
        } catch let error as BackupError {
            throw error
        } catch {
            throw Self.failure("TLS: \(error)")
        }
        guard let fingerprint = tls.fingerprint, fingerprints.contains(fingerprint) else {
            throw Self.failure("it shows another certificate than it said")
        }
    }

    private func write(_ bytes: [UInt8]) throws(BackupError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            try wait(for: POLLOUT)
            let count = rest.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Files.error("the restored server", "write to") }
            rest = rest.dropFirst(count)
        }
    }

    private func read() throws(BackupError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while true {
            try wait(for: POLLIN)
            let count = Glibc.recv(socket, &bytes, bytes.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failure("it has closed the connection") }
            return Array(bytes[..<count])
        }
    }

    private func wait(for event: Int32) throws(BackupError) {
        while true {
            try cancellation.check()
            guard ContinuousClock.now < deadline else {
                throw BackupError(
                    .temporary, subject: "the restored server", "it does not answer in time",
                    advice: "the machine may be busy; it is tried again")
            }
            var entry = pollfd(fd: socket, events: Int16(event), revents: 0)
            if poll(&entry, 1, 200) > 0 { return }
        }
    }

    // MARK: Elements

    private func send(_ text: String) throws(BackupError) {
        let records: [UInt8]
        do {
            records = try tls.send(Array(text.utf8))
        } catch {
            throw Self.failure("TLS: \(error)")
        }
        try write(records)
    }

    private func next() throws(BackupError) -> Element {
        while true {
            let event: StreamEvent?
            let chunk = self.chunk
            do {
                event = try reader.next(in: chunk.span, at: &offset)
            } catch {
                throw Self.failure("it sends something that is no XML: \(error)")
            }
            switch event {
            case .header: continue
            case .element(let fragment): return fragment.element()
            case .end: throw Self.failure("it has closed the stream")
            case nil:
                (self.chunk, offset) = (tls.takeReceived(), 0)
                if self.chunk.isEmpty { try receive() }
            }
        }
    }

    private func receive() throws(BackupError) {
        guard !tls.isClosedByPeer else { throw Self.failure("it has closed the connection") }
        do {
            try write(try tls.receive(try read()))
        } catch let error as BackupError {
            throw error
        } catch {
            throw Self.failure("TLS: \(error)")
        }
    }

    private func open(_ domain: String) throws(BackupError) -> Element {
        reader.restart(keepingBytes: true)
        try send(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                + "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "
                + "to='\(Self.escaped(domain))'>")
        return try next()
    }

    private static func escaped(_ text: String) -> String {
        String(decoding: escapedAttribute(text), as: UTF8.self)
    }

    // MARK: What it does

    /// Logs in and binds a resource.
    func login(_ account: ProbeAccount) throws(BackupError) {
        let features = try open(account.domain)
        let offered = features.child("mechanisms", Self.sasl)?.elements.map(\.text) ?? []
        guard offered.contains("SCRAM-SHA-256") else {
            throw Self.failure("it does not offer SCRAM-SHA-256")
        }
        let exchange = SCRAMClientExchange(
            .sha256, user: account.name, password: account.password,
            nonce: SecureRandom.identifier(bytes: 18))
        try send(
            "<auth xmlns='\(Self.sasl)' mechanism='SCRAM-SHA-256'>"
                + "\(Base64.encode(exchange.first))</auth>")
        let challenge = try next()
        guard challenge.name == "challenge", let bytes = Base64.decode(challenge.text),
            let (message, expected) = exchange.final(after: bytes)
        else { throw Self.failure("it does not let the probe log in") }
        try send("<response xmlns='\(Self.sasl)'>\(Base64.encode(message))</response>")
        let verdict = try next()
        guard verdict.name == "success", Base64.decode(verdict.text) == expected else {
            throw Self.failure("it refuses the probe's password")
        }
        _ = try open(account.domain)
        let answer = try ask("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>") { _ in }
        guard answer["type"] == "result" else {
            throw Self.failure("it gives the probe no session")
        }
    }

    /// How many messages the account's archive has (XEP-0059 section 2.6).
    func countHistory() throws(BackupError) -> Int {
        let end = try query("<max>0</max>") { _ in }
        guard let count = end.child("count").flatMap({ Int($0.text) }) else {
            throw Self.failure("it does not count the history")
        }
        return count
    }

    /// Reads the newest messages of the archive, page by page; gives how many there were.
    func readHistory(limit: Int) throws(BackupError) -> Int {
        var ids: Set<String> = []
        var before = ""
        while ids.count < limit {
            let known = ids.count
            let size = min(100, limit - known)
            let end = try query(
                "<max>\(size)</max><before>\(Self.escaped(before))</before>"
            ) { element in
                guard let result = element.child("result", Self.mam), let id = result["id"],
                    result.child("forwarded", "urn:xmpp:forward:0")?
                        .child("message", "jabber:client") != nil
                else { return }
                ids.insert(id)
            }
            guard ids.count > known, let first = end.child("first")?.text else { break }
            before = first
        }
        return ids.count
    }

    /// Ends the stream; what the server thinks of that is of no interest.
    func close() {
        try? send("</stream:stream>")
        try? write(tls.close())
    }

    /// One page; gives the `<set/>` that ends it (XEP-0313 section 4.3).
    private func query(
        _ page: String, each: (Element) -> Void
    ) throws(BackupError) -> Element {
        let answer = try ask(
            "<query xmlns='\(Self.mam)'><set xmlns='\(Self.rsm)'>\(page)</set></query>", each: each)
        guard let set = answer.child("fin", Self.mam)?.child("set", Self.rsm) else {
            let condition = answer.child("error")?.elements.first?.name ?? "nothing"
            throw Self.failure("it does not give the history, but \(condition)")
        }
        return set
    }

    private func ask(
        _ payload: String, each: (Element) -> Void
    ) throws(BackupError) -> Element {
        requests += 1
        let id = "probe\(requests)"
        try send("<iq type='set' id='\(id)'>\(payload)</iq>")
        while true {
            let element = try next()
            if element.name == "iq", element["id"] == id { return element }
            each(element)
        }
    }
}
