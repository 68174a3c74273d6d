// Requests with random damage: whatever comes, the server answers or closes, and lives.

import Foundation
import Prometheus
import Testing

@testable import Web

/// The same numbers in each run (SplitMix64).
private struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct WebMutationTests {
    private static let seeds = [
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "5;x=y\r\nhello\r\n0\r\nTrailer: t\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "GET /item/a%20b?q HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        "PUT /item/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
            + "Content-Length: 0\r\n\r\n",
        "HEAD / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    ]

    private static func mutated(_ random: inout Seeded) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            bytes += Array((seeds.randomElement(using: &random) ?? "").utf8)
        }
        for _ in 0..<Int.random(in: 0...4, using: &random) where bytes.count > 8 {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0...4, using: &random) {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.remove(at: place)
            case 2: bytes.insert(contentsOf: Array("\r\n".utf8), at: place)
            case 3:
                let end = min(bytes.count, place + Int.random(in: 1...40, using: &random))
                bytes.insert(contentsOf: bytes[place..<end], at: place)
            default: bytes.removeSubrange(place..<min(bytes.count, place + 10))
            }
        }
        return bytes
    }

    @Test("Damaged requests do no harm")
    func damaged() async throws {
        let environment = ProcessInfo.processInfo.environment
        let count = environment["KINGLET_WEB_MUTATIONS"].flatMap { Int($0) } ?? 100
        try await TestSite.with("limits:\n  web_request_time: 5s\n") { site in
            let port = site.port
            try await blocking {
                var random = Seeded(state: UInt64(count))
                for _ in 0..<count {
                    let bytes = Self.mutated(&random)
                    let client = try WebClient(port)
                    let cut = Int.random(in: 0...bytes.count, using: &random)
                    try client.send(Array(bytes[..<cut]))
                    try client.send(Array(bytes[cut...]))
                    client.endOutput()
                    _ = try client.readToEnd()
                }
                #expect(try WebClient(port).get("/").status == 200)
            }
            let left = await site.eventually { site.metrics.connections.value == 0 }
            #expect(left)
            let reader = site.metrics.refusals[.slowReader].value
            #expect(reader == 0)
        }
    }
}
