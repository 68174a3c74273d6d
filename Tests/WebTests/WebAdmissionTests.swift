// Requests of addresses, targets and dates, without sockets.

import NIOCore
import Options
import Prometheus
import Testing

@testable import Web

@Suite struct WebAdmissionTests {
    private static func admission() throws -> WebAdmission {
        let set = OptionSet(
            try ConfigurationDocument.parse(
                "limits:\n  web_request_rate: 10\n", file: "kinglet.yaml"))
        return WebAdmission(
            WebOptions(set, addresses: Setting(["::"])), metrics: WebMetrics(in: Registry()))
    }

    @Test("A bucket holds four seconds' worth, and says how long to wait")
    func bucket() throws {
        let admission = try Self.admission()
        let peer = WebPeer("192.0.2.1")
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
        for _ in 0..<40 { #expect(admission.take(peer, now: start) == nil) }
        #expect(admission.take(peer, now: start) == 1)
        #expect(admission.take(WebPeer("192.0.2.2"), now: start) == nil)
        for _ in 0..<10 { #expect(admission.take(peer, now: start + .seconds(1)) == nil) }
        #expect(admission.take(peer, now: start + .seconds(1)) == 1)
    }

    @Test("Neighbours of one IPv6 network share, and loopback has no limit")
    func networks() throws {
        #expect(WebPeer("2001:db8::1").network == WebPeer("2001:db8::ffff:1").network)
        #expect(WebPeer("2001:db8::1").network != WebPeer("2001:db8:0:1::1").network)
        #expect(WebPeer("::ffff:192.0.2.1").network == "192.0.2.1")
        let admission = try Self.admission()
        for _ in 0..<1000 { #expect(admission.take(WebPeer("::1")) == nil) }
        #expect(admission.remembered == 0)
    }

    @Test("However many addresses there are, some are remembered and the rest share")
    func manyAddresses() throws {
        let admission = try Self.admission()
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
        var refused = 0
        for index in 0..<5000 {
            let peer = WebPeer("10.0.\(index / 256).\(index % 256)")
            if admission.take(peer, now: start) != nil { refused += 1 }
        }
        #expect(admission.remembered <= 4097)
        #expect(refused > 500)
        // Later they are forgotten.
        #expect(admission.take(WebPeer("192.0.2.1"), now: start + .seconds(10)) == nil)
        #expect(admission.remembered == 1)
    }

    @Test("Targets are paths, or URLs of which the path counts")
    func targets() {
        #expect(WebTarget("/a?b?c")?.query == "b?c")
        #expect(WebTarget("HTTPS://h/a")?.path == "/a")
        #expect(WebTarget("https://h?q")?.path == "/")
        for wrong in ["", "a", "*", "/a b", "/é", "/a#b", "ftp://h/"] {
            #expect(WebTarget(wrong) == nil)
        }
    }

    @Test("Dates are written as the specification's example")
    func date() {
        #expect(WebDate.text(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
    }

    @Test("The options have the documented defaults")
    func defaults() throws {
        let set = OptionSet(try ConfigurationDocument.parse("", file: "kinglet.yaml"))
        let options = WebOptions(set, addresses: Setting(["::"]))
        try set.finish()
        #expect(options.isEnabled.value)
        #expect(options.port.value == 5443)
        #expect(options.connections.value == 200)
        #expect(options.limits.headerBytes == 16_384)
        #expect(options.limits.requestTime == .seconds(30))
    }
}
