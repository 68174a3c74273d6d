// Negotiation from the client's side: stream header, SASL, resource.

import Addresses
import SASL
import TLS
import Testing
import XML
import XMPP

extension TestClient {
    static func header(
        to domain: String? = TestServer.domain, version: String? = "1.0",
        content: String = "jabber:client", stream: String = "http://etherx.jabber.org/streams"
    ) -> String {
        var text = "<?xml version='1.0'?><stream:stream xmlns='\(content)' xmlns:stream='\(stream)'"
        if let domain { text += " to='\(domain)'" }
        if let version { text += " version='\(version)'" }
        return text + ">"
    }

    /// Opens the stream and gives the server's features.
    @discardableResult
    func open(
        to domain: String = TestServer.domain, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Element {
        await send(Self.header(to: domain))
        _ = try await header(sourceLocation: sourceLocation)
        return try await next(sourceLocation: sourceLocation)
    }

    /// Sends `<auth/>`; nil for no initial response.
    func auth(_ mechanism: String, _ message: [UInt8]?) async {
        await send(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='\(mechanism)'>"
                + "\(message.map { Base64.encode($0) } ?? "")</auth>")
    }

    func respond(_ message: [UInt8]) async {
        await send(
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\(Base64.encode(message))</response>"
        )
    }

    /// Logs in by PLAIN up to the server's verdict.
    func plain(
        _ user: String, _ password: String = TestServer.password, authorizationID: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Element {
        await auth("PLAIN", Array("\(authorizationID)\0\(user)\0\(password)".utf8))
        return try await next(sourceLocation: sourceLocation)
    }

    /// Logs in by SCRAM up to the server's verdict, whose proof is checked.
    func scram(
        _ scram: SCRAMClient, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Element {
        await auth(scram.mechanism.rawValue, scram.first)
        let challenge = try await next(sourceLocation: sourceLocation)
        guard challenge.name == "challenge" else { return challenge }
        let final = try scram.final(after: try #require(Base64.decode(challenge.text)))
        await respond(final.message)
        let verdict = try await next(sourceLocation: sourceLocation)
        if verdict.name == "success" {
            #expect(Base64.decode(verdict.text) == final.verifier, sourceLocation: sourceLocation)
        }
        return verdict
    }

    /// Binds a resource and gives the answer.
    func bind(
        _ resource: String?, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Element {
        let wanted = resource.map { "<resource>\($0)</resource>" } ?? ""
        let answer = try await request(
            "set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\(wanted)</bind>",
            sourceLocation: sourceLocation)
        if let jid = answer.child("bind", Namespaces.bind)?.child("jid")?.text {
            didBind(try JID(jid))
        }
        return answer
    }

    /// Everything from the first header to the bound resource, by SCRAM.
    func login(_ jid: JID, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await open(to: jid.domain, sourceLocation: sourceLocation)
        let verdict = try await scram(
            SCRAMClient(username: jid.local), sourceLocation: sourceLocation)
        try #require(verdict.name == "success", sourceLocation: sourceLocation)
        try await open(to: jid.domain, sourceLocation: sourceLocation)
        let answer = try await bind(
            jid.isBare ? nil : jid.resource, sourceLocation: sourceLocation)
        try #require(answer["type"] == "result", sourceLocation: sourceLocation)
    }
}

/// The client's half of SCRAM (RFC 5802).
struct SCRAMClient: Sendable {
    var mechanism = SASLMechanism.scramSHA1
    var username: String
    var password = TestServer.password
    var nonce = "c2xpZW50LW5vbmNl"
    /// gs2-cbind-flag: `n`, `y` or `p=type`.
    var flag = "n"
    var authorizationID: String?
    /// What the client believes the channel's binding data to be.
    var bindingData: [UInt8] = []

    private var gs2Header: String { "\(flag),\(authorizationID.map { "a=\($0)" } ?? "")," }
    private var bare: String { "n=\(username),r=\(nonce)" }
    var first: [UInt8] { Array((gs2Header + bare).utf8) }

    /// The answer to a challenge, and the proof that the server then has to show.
    func final(after challenge: [UInt8]) throws -> (message: [UInt8], verifier: [UInt8]) {
        let serverFirst = String(decoding: challenge, as: UTF8.self)
        let fields = serverFirst.split(separator: ",").map { String($0.dropFirst(2)) }
        try #require(fields.count == 3)
        let salt = try #require(Base64.decode(fields[1]))
        let iterations = try #require(Int(fields[2]))
        let digest = try #require(mechanism.hash).digest
        let salted = digest.pbkdf2(
            password: Array(password.utf8), salt: salt, iterations: iterations)
        let clientKey = digest.hmac(key: salted, Array("Client Key".utf8))
        let serverKey = digest.hmac(key: salted, Array("Server Key".utf8))
        let bound = Base64.encode(Array(gs2Header.utf8) + bindingData)
        let withoutProof = "c=\(bound),r=\(fields[0])"
        let signed = Array("\(bare),\(serverFirst),\(withoutProof)".utf8)
        let signature = digest.hmac(key: digest.hash(clientKey), signed)
        let proof = zip(clientKey, signature).map { $0 ^ $1 }
        let verifier = Base64.encode(digest.hmac(key: serverKey, signed))
        return (
            Array("\(withoutProof),p=\(Base64.encode(proof))".utf8), Array("v=\(verifier)".utf8)
        )
    }
}
