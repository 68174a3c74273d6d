// The NUT client against servers that behave, that are odd, and that are broken.

import Prometheus
import Testing

@testable import Hardware

/// The answer to `LIST UPS`.
private func units(_ names: String...) -> ScriptedNUTServer.Step {
    let lines = names.map { "UPS \($0) \"Some \\\"UPS\\\"\"\n" }
    return .answer("LIST UPS", "BEGIN LIST UPS\n\(lines.joined())END LIST UPS\n")
}

/// The answer to `LIST VAR`.
private func variables(_ name: String, _ values: [(String, String)]) -> ScriptedNUTServer.Step {
    let lines = values.map { "VAR \(name) \($0.0) \"\($0.1)\"\n" }
    return .answer(
        "LIST VAR \(name)",
        "BEGIN LIST VAR \(name)\n\(lines.joined())END LIST VAR \(name)\n")
}

private func read(
    _ settings: HardwareSettings, limit: Duration = .seconds(120),
    roots: HardwareRoots = HardwareRoots()
) -> (samples: [Sample], failure: ReadingError?) {
    var samples: [Sample] = []
    do throws(ReadingError) {
        let machine = Machine(roots: roots, mailbox: ScriptedMailbox())
        try UPS(settings, limit: limit).read(machine, into: &samples)
        return (samples, nil)
    } catch {
        return (samples, error)
    }
}

private func read(
    _ script: [ScriptedNUTServer.Step], limit: Duration = .seconds(120)
) throws -> (samples: [Sample], failure: ReadingError?) {
    let server = try ScriptedNUTServer(script)
    return read(HardwareSettings(ups: server.address, isUPSConfigured: true), limit: limit)
}

private func sample(_ family: String, _ ups: String, _ value: Double) -> Sample {
    Sample("kinglet_machine_ups_\(family)", labels: [("ups", ups)], value: value)
}

@Suite("UPS", .timeLimit(.minutes(10)))
struct UPSTests {
    @Test("A healthy UPS: percentages become ratios, and what it does not tell is absent")
    func healthy() throws {
        let server = try ScriptedNUTServer([
            units("rack"),
            variables(
                "rack",
                [
                    ("ups.status", "OL CHRG"), ("battery.charge", "97.5"),
                    ("battery.runtime", "1830"), ("ups.load", "17.5"), ("input.voltage", "231.4"),
                    ("battery.voltage", "13.70"), ("battery.temperature", "31.2"),
                    ("device.mfr", "Example \\\"Power\\\" \\\\ Co"), ("ups.model", "Back 700"),
                    ("ups.serial", "SECRET123"),
                ]),
        ])
        let result = read(HardwareSettings(ups: server.address, isUPSConfigured: true))
        #expect(result.failure == nil)
        #expect(
            result.samples == [
                sample("up", "rack", 1), sample("on_battery", "rack", 0),
                sample("low_battery", "rack", 0), sample("replace_battery", "rack", 0),
                sample("overloaded", "rack", 0), sample("charge_ratio", "rack", 0.975),
                sample("runtime_seconds", "rack", 1830), sample("load_ratio", "rack", 0.175),
                sample("input_volts", "rack", 231.4), sample("battery_volts", "rack", 13.7),
                sample("temperature_celsius", "rack", 31.2),
                Sample(
                    "kinglet_machine_ups_info",
                    labels: [
                        ("ups", "rack"), ("manufacturer", "Example \"Power\" \\ Co"),
                        ("model", "Back 700"),
                    ], value: 1),
            ])
        #expect(server.lines.starts(with: ["LIST UPS", "LIST VAR rack"]))
    }

    @Test("Each flag of the status, alone and together")
    func flags() throws {
        for (status, on, low, replace, over) in [
            ("OB DISCHRG", 1.0, 0.0, 0.0, 0.0), ("OB LB FSD", 1, 1, 0, 0), ("OL RB", 0, 0, 1, 0),
            ("ALARM OL OVER", 0, 0, 0, 1),
        ] {
            let result = try read([units("u"), variables("u", [("ups.status", status)])])
            #expect(
                result.samples == [
                    sample("up", "u", 1), sample("on_battery", "u", on),
                    sample("low_battery", "u", low), sample("replace_battery", "u", replace),
                    sample("overloaded", "u", over),
                ], "\(status)")
        }
    }

    @Test("A status that tells of no power claims nothing", arguments: ["OFF", "WAIT", "", "x"])
    func otherStatus(_ status: String) throws {
        let result = try read([units("u"), variables("u", [("ups.status", status)])])
        #expect(result.samples == [sample("up", "u", 1)])
        #expect(result.failure == nil)
    }

    @Test("Of one that its driver has lost, it is told that it is down, and of the others all")
    func stale() throws {
        let result = try read([
            units("a", "b", "c", "d"), .answer("LIST VAR a", "ERR DATA-STALE\n"),
            .answer("LIST VAR b", "ERR DRIVER-NOT-CONNECTED\n"),
            .answer("LIST VAR c", "ERR UNKNOWN-UPS\n"),
            variables("d", [("ups.load", "3")]),
        ])
        #expect(result.failure == nil)
        #expect(
            result.samples == [
                sample("up", "a", 0), sample("up", "b", 0), sample("up", "d", 1),
                sample("load_ratio", "d", 0.03),
            ])
    }

    @Test("A refusal is a failure with the server's word; for one UPS it hides no other")
    func refused() throws {
        let all = try read([.answer("LIST UPS", "ERR ACCESS-DENIED\n")])
        #expect(all.failure?.code == .connection)
        #expect(all.failure?.message.contains("ACCESS-DENIED") == true)
        let one = try read([
            units("a", "b"), .answer("LIST VAR a", "ERR ACCESS-DENIED\n"),
            variables("b", [("ups.load", "3")]),
        ])
        #expect(one.failure?.code == .connection)
        #expect(one.samples == [sample("up", "b", 1), sample("load_ratio", "b", 0.03)])
    }

    @Test(
        "A value that cannot be is a failure and hides no other",
        arguments: [
            ("battery.charge", "101"), ("battery.charge", "-1"), ("battery.charge", "nan"),
            ("battery.charge", "1e1"), ("battery.charge", "0x10"), ("battery.runtime", "-5"),
            ("input.voltage", "99999999999999999999999999999999999999"), ("ups.load", "n/a"),
            ("ups.temperature", "300"), ("battery.voltage", "inf"), ("ups.load", ""),
        ])
    func implausible(_ variable: String, _ value: String) throws {
        let result = try read([
            units("u"), variables("u", [(variable, value), ("ups.status", "OL")]),
        ])
        #expect(result.failure?.code == .malformed)
        #expect(result.samples.count == 5)
    }

    @Test("The limits: eight UPSes, 256 variables of each, one of a name")
    func limits() throws {
        let names = (0..<20).map { "u\($0)" }
        let lines = (names + ["u0"]).map { "UPS \($0) \"\"\n" }.joined()
        let many = (0..<300).map { ("x.\($0)", "1") } + [("ups.load", "1")]
        let result = try read(
            [.answer("LIST UPS", "BEGIN LIST UPS\n\(lines)END LIST UPS\n")]
                + names.prefix(8).map { variables($0, many) })
        #expect(result.failure == nil)
        #expect(result.samples == names.prefix(8).map { sample("up", $0, 1) })
    }

    @Test(
        "Another protocol, and lines that are none of this one",
        arguments: [
            "HTTP/1.1 400 Bad Request\r\n\r\n", "\n", "BEGIN LIST\n", "ERR\n",
            "BEGIN LIST UPS\nUPS\n", "BEGIN LIST UPS\nUPS \"a b\" \"x\"\n",
            "BEGIN LIST UPS\nUPS a \"x\n", "BEGIN LIST UPS\nVAR a b \"c\"\n",
            "BEGIN LIST UPS\nUPS \u{7}bell \"x\"\n", "\u{0}\u{ff}\n",
        ])
    func garbage(_ text: String) throws {
        let result = try read([.answer("LIST UPS", text), .stall])
        #expect(result.failure?.code == .malformed)
        #expect(result.samples.isEmpty)
    }

    @Test("An answer about another UPS is not taken")
    func otherUPS() throws {
        let result = try read([
            units("a"),
            .answer("LIST VAR a", "BEGIN LIST VAR a\nVAR b ups.load \"3\"\nEND LIST VAR a\n"),
        ])
        #expect(result.failure?.code == .malformed)
        #expect(result.samples.isEmpty)
    }

    @Test("A line without end, and answers without end, are a failure")
    func endless() throws {
        let line = try read([
            .answer("LIST UPS", "BEGIN "), .flood(String(repeating: "x", count: 999)),
        ])
        #expect(line.failure?.code == .malformed)
        let answer = try read([.answer("LIST UPS", "BEGIN LIST UPS\n"), .flood("UPS a \"\"\n")])
        #expect(answer.failure?.code == .malformed)
        let variables = try read([
            units("a"), .answer("LIST VAR a", "BEGIN LIST VAR a\n"),
            .flood("VAR a ups.load \"3\"\n"),
        ])
        #expect(variables.failure?.code == .malformed)
    }

    @Test("A server that stalls, also in the middle of a line, is given up in time")
    func stalls() throws {
        for script: [ScriptedNUTServer.Step] in [
            [.stall], [.answer("LIST UPS", "BEGIN LIST U"), .stall],
            [units("a"), .answer("LIST VAR a", "BEGIN LIST VAR a\nVAR a ups.load \"1"), .stall],
        ] {
            let begin = ContinuousClock.now
            let result = try read(script, limit: .milliseconds(200))
            #expect(result.failure?.code == .timeout)
            #expect(begin.duration(to: .now) >= .milliseconds(200))
        }
    }

    @Test("What was told before a stall is shown")
    func partial() throws {
        let result = try read(
            [
                units("a", "b"), variables("a", [("ups.load", "3")]),
                .answer("LIST VAR b", "BEGIN LIST VAR b\nVAR b ups.lo"), .stall,
            ], limit: .seconds(5))
        #expect(result.failure?.code == .timeout)
        #expect(result.samples == [sample("up", "a", 1), sample("load_ratio", "a", 0.03)])
    }

    @Test("A server that closes early is a failure")
    func closes() throws {
        for script: [ScriptedNUTServer.Step] in [
            [.close], [.answer("LIST UPS", ""), .close],
            [.answer("LIST UPS", "BEGIN LIST UPS\nUPS a \"x\"\n"), .close],
            [units("a"), .answer("LIST VAR a", "BEGIN LIST VAR a\nVAR"), .close],
        ] {
            #expect(try read(script).failure?.code == .connection)
        }
    }

    @Test("Nobody at the default address is no UPS; nobody at a configured one is a failure")
    func nobody() throws {
        let address = "127.0.0.1:\(try ScriptedNUTServer.unusedPort())"
        let absent = read(HardwareSettings(ups: address, isUPSConfigured: false))
        #expect(absent.samples.isEmpty)
        #expect(absent.failure == nil)
        let failed = read(HardwareSettings(ups: address, isUPSConfigured: true))
        #expect(failed.failure?.code == .connection)
        #expect(read(HardwareSettings(ups: nil)).failure == nil)
    }

    @Test("A name without an address is a failure, an address in a name's place is asked")
    func names() throws {
        let server = try ScriptedNUTServer([units("u"), variables("u", [("ups.load", "1")])])
        let local = read(HardwareSettings(ups: "localhost:\(server.port)", isUPSConfigured: true))
        #expect(local.samples.count == 2)
        let none = read(HardwareSettings(ups: "nothing.invalid:1", isUPSConfigured: true))
        #expect(none.failure != nil)
        #expect(none.samples.isEmpty)
    }

    @Test("A recorded machine asks nobody, unless it was told to")
    func recorded() throws {
        let server = try ScriptedNUTServer([units("u"), variables("u", [("ups.load", "1")])])
        let tree = ScratchTree()
        var settings = HardwareSettings(ups: server.address, isUPSConfigured: false)
        #expect(read(settings, roots: tree.roots).samples.isEmpty)
        #expect(server.lines.isEmpty)
        settings.isUPSConfigured = true
        #expect(read(settings, roots: tree.roots).samples.count == 2)
    }

    @Test("The option's text: empty is none, another than the default has to answer")
    func settings() {
        #expect(HardwareSettings(ups: "", units: []).ups == nil)
        #expect(HardwareSettings(ups: "", units: []).isUPSConfigured == false)
        let usual = HardwareSettings(ups: HardwareSettings.defaultUPS, units: [])
        #expect(usual.ups == HardwareSettings.defaultUPS && !usual.isUPSConfigured)
        #expect(HardwareSettings(ups: "nas:3493", units: []).isUPSConfigured)
    }
}

@Suite("NUT protocol")
struct NUTTests {
    @Test("Words are divided by spaces, joined by quotes, and freed by backslashes")
    func words() {
        func words(_ line: String) -> [String]? { NUTWords.words(Array(line.utf8)[...]) }
        #expect(
            words("VAR ups  battery.charge \"100\"") == ["VAR", "ups", "battery.charge", "100"])
        #expect(words("a \"b c\" \"\" d\\ e") == ["a", "b c", "", "d e"])
        #expect(words("\"say \\\"x\\\" and \\\\\"") == ["say \"x\" and \\"])
        #expect(words("") == [])
        for open in ["\"a", "a\\", "\"a\\\"", "a \" b"] { #expect(words(open) == nil, "\(open)") }
    }

    @Test("Numbers are decimal")
    func numbers() {
        #expect(NUTWords.number("0") == 0)
        #expect(NUTWords.number("-12.50") == -12.5)
        for text in [
            "", "-", ".", "1.2.3", "1e3", "nan", "inf", "0x1", " 1", "1 ", "+1", "١",
            String(repeating: "9", count: 400),
        ] {
            #expect(NUTWords.number(text) == nil, "\(text)")
        }
    }

    @Test("Addresses: a name, IPv4, or IPv6 in brackets, and a port")
    func addresses() throws {
        func parts(_ text: String) -> [String]? {
            NUTAddress(text).map { [$0.host, "\($0.port)"] }
        }
        #expect(parts("127.0.0.1:3493") == ["127.0.0.1", "3493"])
        #expect(parts("[fd00::5]:1") == ["fd00::5", "1"])
        #expect(parts("[fe80::1%eth0]") == ["fe80::1%eth0", "3493"])
        #expect(parts("nas.local") == ["nas.local", "3493"])
        for text in [
            "", ":", ":3493", "nas:", "nas:0", "nas:65536", "nas:-1", "nas:1:2", "fd00::5", "[]",
            "[fd00::5", "[nas]:1", "[fd00::5]3493", "-x", "a b", "a/b", "nas:１",
            String(repeating: "a", count: 300),
        ] {
            #expect(NUTAddress(text) == nil, "\(text)")
        }
    }
}
