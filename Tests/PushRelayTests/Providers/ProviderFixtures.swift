// What the tests of providers share: keys, a memory, records, answers.

import Foundation
import Options
import Synchronization
import TLS
import Testing

@testable import HTTPClient
@testable import PushRelay

/// A moment in 2026.
let now = PushTime(seconds: 1_780_000_000)

extension PushTime {
    func later(_ seconds: Int64) -> PushTime {
        PushTime(seconds: self.seconds + seconds, isRight: isRight)
    }
}

/// Keeps what is saved until the test ends.
final class PlayedMemory: PushMemory {
    private let values = Mutex<[String: [UInt8]]>([:])

    func load(_ name: String) -> [UInt8]? { values.withLock { $0[name] } }
    func save(_ name: String, _ value: [UInt8]) { values.withLock { $0[name] = value } }
    var names: [String] { values.withLock { $0.keys.sorted() } }
}

enum Keys {
    /// On P-256.
    static func fresh() throws -> SigningKey { try SigningKey.generate() }

    /// RSA as PEM, made once.
    static let rsa: Result<String, any Error> = Result {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl", "genrsa", "2048"]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
    }
}

func notification(
    _ kind: PushNotification.Kind = .message, channel: String? = nil, unread: Int? = nil,
    sender: String? = nil, body: String? = nil, isVisible: Bool = true, lifetime: Int = 3600
) -> PushNotification {
    PushNotification(
        kind, identifier: Array(0..<16), account: "a1b2c3", channel: channel,
        collapse: Array(repeating: 0xAB, count: 32), unread: unread, sender: sender, body: body,
        isVisible: isVisible, lifetime: lifetime)
}

func answer(
    _ status: Int, _ body: String = "", _ headers: [(name: String, value: String)] = []
) -> HTTPResponse {
    HTTPResponse(status: status, headers: headers, body: Array(body.utf8))
}

/// Answers that no provider gives: none may be taken for a success or for the end of a device.
let garbage: [String] = [
    "", " ", "<html><body>Log in to the Wi-Fi</body></html>", "null", "[]", "\"ok\"", "{", "{}",
    "{\"reason\":17,\"timestamp\":\"x\",\"error\":true,\"code\":[],\"id\":{},\"name\":3}",
    "{\"error\":{\"code\":1e400,\"status\":[],\"details\":{}}}",
    "{\"error\":{\"details\":[1,null,\"x\",{\"@type\":5},{\"@type\":\"google.firebase.fcm.v1.FcmError\"}]}}",
    "{\"timestamp\":99999999999999999999999999,\"code\":-9223372036854775808}",
    String(repeating: "[", count: 50_000), String(repeating: "{\"a\":", count: 5000),
    String(repeating: "x", count: 100_000), "\u{0}\u{1}\u{2}",
]

extension PushRequest {
    func header(_ name: String) -> String? {
        request.headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    var json: JSONValue? { JSONValue(request.body) }
}

/// Header and claims of a token; nil for what is none.
func parts(of token: String) -> (header: JSONValue, claims: JSONValue, signature: [UInt8])? {
    let parts = token.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 3,
        let header = Base64URL.decode(parts[0]).flatMap({ JSONValue($0) }),
        let claims = Base64URL.decode(parts[1]).flatMap({ JSONValue($0) }),
        let signature = Base64URL.decode(parts[2])
    else { return nil }
    return (header, claims, signature)
}

/// The fault of a call; nil when there is none.
func fault(_ call: () throws -> Void) -> PushAnswer? {
    do {
        try call()
        return nil
    } catch {
        return (error as? PushFault)?.answer
    }
}

/// The options of a configuration, or what the operator reads.
func options(_ yaml: String) throws -> (options: PushAppOptions, problem: String?) {
    let set = OptionSet(try ConfigurationDocument.parse(yaml, file: "kinglet.yaml"))
    let options = PushAppOptions(set)
    do {
        try set.finish()
        return (options, nil)
    } catch {
        return (options, error.description)
    }
}
