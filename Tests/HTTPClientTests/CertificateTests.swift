import Foundation
import HTTPClient
import Testing

@Suite("The other server has to prove who it is", .serialized)
struct CertificateTests {
    /// OpenSSL's test server with a certificate of its own making.
    private final class SecureServer {
        let folder = FileManager.default.temporaryDirectory.path + "/tls-\(UUID().uuidString)"
        var certificate: String { folder + "/server.crt" }
        /// 0 when it has not started.
        private(set) var port = 0
        private var process: pid_t = 0
        private var output: UnsafeMutablePointer<FILE>?

        /// - Parameters:
        ///   - name: what the certificate is for, as OpenSSL writes it.
        ///   - options: further ones of `openssl s_server`.
        init(name: String, _ options: String = "") throws {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            let script = """
                cd '\(folder)' && exec 2>log </dev/null && openssl req -x509 -newkey ec \
                    -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test \
                    -addext subjectAltName=\(name) -keyout server.key -out server.crt \
                && echo process $$ && exec openssl s_server -accept 127.0.0.1:0 -www \
                    -key server.key -cert server.crt \(options)
                """
            output = popen(script, "r")
            var line = [CChar](repeating: 0, count: 1000)
            while port == 0, fgets(&line, Int32(line.count), output) != nil {
                let text = line.withUnsafeBufferPointer {
                    $0.baseAddress.map { String(cString: $0) } ?? ""
                }
                let number = text.split { !$0.isNumber }.last.flatMap { Int($0) } ?? 0
                if text.hasPrefix("process ") { process = pid_t(number) }
                if text.hasPrefix("ACCEPT ") { port = number }
            }
        }

        func stop() {
            if process > 0 { kill(process, SIGKILL) }
            if let output { pclose(output) }
            output = nil
            try? FileManager.default.removeItem(atPath: folder)
        }
    }

    private func code(_ server: SecureServer, _ transfer: HTTPTransfer) -> HTTPError.Code? {
        do {
            let request = HTTPRequest("GET", "https://127.0.0.1:\(server.port)/")
            return try transfer.perform(request).isSuccess ? nil : .libcurl
        } catch {
            return error.code
        }
    }

    @Test("A certificate counts when its authority is the system's or named, and its name fits")
    func certificates() throws {
        let server = try SecureServer(name: "IP:127.0.0.1")
        defer { server.stop() }
        try #require(server.port > 0, "openssl s_server has not started")
        var transfer = HTTPTransfer()
        #expect(code(server, transfer) == .tls)
        transfer.authorities = server.certificate
        #expect(code(server, transfer) == nil)
        transfer.authorities = "/nonexistent"
        #expect(code(server, transfer) == .tls)
        let other = try SecureServer(name: "DNS:example.org")
        defer { other.stop() }
        transfer.authorities = other.certificate
        #expect(code(other, transfer) == .tls)
        #expect(code(server, transfer) == .tls)
    }

    @Test("Older versions than TLS 1.2 are refused")
    func versions() throws {
        let old = try SecureServer(
            name: "IP:127.0.0.1", "-tls1_1 -cipher DEFAULT:@SECLEVEL=0")
        defer { old.stop() }
        try #require(old.port > 0, "openssl s_server has not started")
        var transfer = HTTPTransfer()
        transfer.authorities = old.certificate
        #expect(code(old, transfer) == .tls)
    }
}
