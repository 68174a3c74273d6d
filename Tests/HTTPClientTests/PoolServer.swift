// The server in Tests/Fixtures/http, in a process of its own, and a pool's client of it.

import Foundation
import HTTPClient
import Programs
import Synchronization
import Testing

/// Python's server for one test; ends with its owner.
final class PoolServer: Sendable {
    let folder: String
    let plain: Int
    let secure: Int
    /// TLS, but not HTTP/2.
    let old: Int
    /// TLS and HTTP/2, but one request at a time on a connection before the first answer.
    let narrow: Int
    private let isWanted = Flag()

    var certificate: String { folder + "/server.crt" }

    /// A mutex that a thread can keep.
    private final class Flag: Sendable {
        private let value = Mutex(true)
        var isSet: Bool { value.withLock { $0 } }
        func clear() { value.withLock { $0 = false } }
    }

    private final class Output: Sendable {
        let text = Mutex("")
        let ready = DispatchSemaphore(value: 0)
    }

    init() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/http-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../Fixtures/http/server.py").standardized.path
        // Debian's, which has the library.
        var program = Program("/usr/bin/python3", [script, folder])
        program.holdsInput = true
        let output = Output()
        Thread.detachNewThread { [program, isWanted] in
            _ = try? program.run(
                isWanted: { isWanted.isSet },
                output: { bytes in
                    let isWhole = output.text.withLock { text in
                        text += String(decoding: bytes, as: UTF8.self)
                        return text.hasSuffix("\n")
                    }
                    if isWhole { output.ready.signal() }
                },
                errors: { FileHandle.standardError.write(Data($0)) })
            output.ready.signal()
        }
        _ = output.ready.wait(timeout: .now() + 60)
        let ports = output.text.withLock { $0.split { !$0.isNumber }.compactMap { Int($0) } }
        self.folder = folder
        guard ports.count == 4 else {
            isWanted.clear()
            throw PoolServerError()
        }
        (plain, secure, old, narrow) = (ports[0], ports[1], ports[2], ports[3])
    }

    deinit {
        isWanted.clear()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// What the server has counted, by another connection.
    func counts() throws -> [String: Int] {
        let response = try HTTPTransfer().perform(
            HTTPRequest("GET", "http://127.0.0.1:\(plain)/stats"))
        return try JSONDecoder().decode([String: Int].self, from: Data(response.body))
    }
}

/// The server has not started; is the Debian package python3-h2 there?
struct PoolServerError: Error {}

extension HTTPPool {
    func send(
        _ path: String, port: Int, secure: Bool = false, method: String = "GET",
        body: [UInt8] = [], _ rules: HTTPRules = HTTPRules(timeLimit: .seconds(120))
    ) async -> Result<HTTPResponse, HTTPError> {
        let url = "\(secure ? "https" : "http")://127.0.0.1:\(port)\(path)"
        return await send(HTTPRequest(method, url, body: body), rules)
    }

    func send(_ request: HTTPRequest, _ rules: HTTPRules) async -> Result<HTTPResponse, HTTPError> {
        await withCheckedContinuation { continuation in
            // A second call would trap.
            send(request, rules) { continuation.resume(returning: $0) }
        }
    }
}

extension Result where Success == HTTPResponse, Failure == HTTPError {
    var status: Int? { if case .success(let response) = self { response.status } else { nil } }
    var body: String? {
        if case .success(let response) = self {
            String(decoding: response.body, as: UTF8.self)
        } else {
            nil
        }
    }
    var code: HTTPError.Code? { if case .failure(let error) = self { error.code } else { nil } }
}
