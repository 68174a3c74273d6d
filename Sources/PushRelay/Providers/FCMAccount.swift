// A service account of Google: signs an assertion (RFC 7523) and gets an access token for it, which
// is used until five minutes before it ends.

internal import Foundation
internal import HTTPClient
internal import TLS

/// The account and the token that it has now.
///
/// Its state is behind a lock, so it may be used on any thread.
final class FCMAccount: Sendable {
    /// The project that messages are sent in.
    let project: String

    /// The parts of Google's file that are used.
    private struct File: Decodable {
        // The names are Google's.
        var project_id: String
        var private_key_id: String?
        var private_key: String
        var client_email: String
        var token_uri: String?
    }

    private static let scope = "https://www.googleapis.com/auth/firebase.messaging"
    private static let usualURL = "https://oauth2.googleapis.com/token"
    /// Seconds that an assertion lives.
    private static let assertionLife: Int64 = 3600
    /// How far Google's clock may be from ours.
    private static let tolerance: Int64 = 300

    private let key: SigningKey
    private let keyID: String?
    private let email: String
    private let url: String
    private let token = AccessToken()

    /// Reads a service account's file.
    ///
    /// - Parameters:
    ///   - tokenURL: another than the one of the file.
    ///   - subject: the file, for errors.
    init(
        _ bytes: [UInt8], tokenURL: String?, app: String, subject: String
    ) throws(PushCredentialError) {
        func failure(_ problem: String) -> PushCredentialError {
            PushCredentialError(app: app, subject: subject, problem)
        }
        guard let file = try? JSONDecoder().decode(File.self, from: Data(bytes)) else {
            throw failure("this is no service account; get it from Firebase's project settings")
        }
        guard (1...128).contains(file.project_id.utf8.count),
            file.project_id.utf8.allSatisfy(Self.isOfProject)
        else { throw failure("its project_id is none") }
        guard (1...320).contains(file.client_email.utf8.count) else {
            throw failure("its client_email is none")
        }
        if let uri = file.token_uri, EndpointURL(uri)?.isSecure != true {
            throw failure("its token_uri is no URL that begins with https://")
        }
        do throws(TLSError) {
            key = try SigningKey(
                pem: Array(file.private_key.utf8), algorithm: .rs256, subject: "its private_key",
                advice: "make another key in Google's console")
        } catch {
            throw failure(error.description)
        }
        project = file.project_id
        keyID = file.private_key_id
        email = file.client_email
        url = tokenURL ?? file.token_uri ?? Self.usualURL
    }

    /// The token to use; nil when there is none.
    func token(at time: PushTime) -> String? { token.text(at: time) }

    /// The request for a token; nil when there is a good one.
    func authorization(at time: PushTime) throws(PushFault) -> PushRequest? {
        guard token.isStale(at: time) else { return nil }
        guard time.isRight else { throw .clock }
        return PushRequest(
            HTTPRequest(
                "POST", url, headers: [("Content-Type", FormText.type)],
                body: FormText.bytes([
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", try assertion(at: time)),
                ])))
    }

    private func assertion(at time: PushTime) throws(PushFault) -> String {
        do throws(TLSError) {
            return try JSONWebToken.sign(
                header: keyID.map { ["kid": .string($0), "typ": .string("JWT")] } ?? [
                    "typ": .string("JWT")
                ],
                claims: [
                    "iss": .string(email), "scope": .string(Self.scope), "aud": .string(url),
                    "iat": .integer(time.seconds),
                    "exp": .integer(time.seconds + Self.assertionLife),
                ], key: key)
        } catch {
            throw PushFault(.authorizationExpired(.refused), .credentialRefused, code: "signature")
        }
    }

    /// Takes the answer.
    func authorize(_ response: HTTPResponse, at time: PushTime) -> PushAnswer {
        let json = JSONValue(response.body)
        if response.isSuccess {
            guard json?["token_type"]?.text?.lowercased() == "bearer",
                token.take(
                    json?["access_token"]?.text, life: json?["expires_in"]?.whole, at: time)
            else { return .garbage(response) }
            return PushAnswer(.accepted, .accepted)
        }
        switch json?["error"]?.text {
        case "invalid_grant":
            // A Pi that woke up yesterday: not the key is wrong, the time is.
            if isAboutTime(json, response, time) {
                return PushAnswer(.retry(.circuit, after: nil), .clock, code: "invalid_grant")
            }
            return PushAnswer(
                .authorizationExpired(.refused), .credentialRefused, code: "invalid_grant")
        case let code? where Self.refusals.contains(code):
            return PushAnswer(.authorizationExpired(.refused), .credentialRefused, code: code)
        default:
            let answer = PushAnswer(status: response, at: time)
            // Nobody is asked for a token who does not want our credential: it is no message that
            // is wrong.
            guard case .rejected = answer.outcome else { return answer }
            return PushAnswer(.retry(.circuit, after: nil), .garbage, code: answer.code)
        }
    }

    /// Drops the token.
    func forget() { token.forget() }

    /// When the token ends.
    var expiries: [CredentialExpiry] { token.expiries }

    private static let refusals: Set<String> = [
        "invalid_client", "unauthorized_client", "invalid_scope", "access_denied",
        "unsupported_grant_type", "invalid_request",
    ]

    private func isAboutTime(
        _ json: JSONValue?, _ response: HTTPResponse, _ time: PushTime
    ) -> Bool {
        if let date = response.header("Date").flatMap(RetryAfter.date) {
            return abs(date - time.seconds) > Self.tolerance
        }
        let description = json?["error_description"]?.text ?? ""
        return description.contains("iat") && description.contains("timeframe")
    }

    private static func isOfProject(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "-_.:".utf8.contains(byte)
        }
    }
}
