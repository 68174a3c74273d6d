// Uninterruptible power supplies, as Network UPS Tools (NUT) know them. Its network protocol lets
// anybody read who may connect; nothing is changed and no password is needed.

import Prometheus

/// `kinglet_machine_ups_on_battery` and its companions.
struct UPS: Reading {
    static let name = "ups"
    let period = Duration.seconds(15)
    let timeout = Duration.seconds(10)

    /// The most that is shown of one server.
    static let unitLimit = 8
    static let variableLimit = 256

    private let settings: HardwareSettings
    private let limit: Duration

    /// Asks the server that the settings name, and gives up after `limit`.
    init(_ settings: HardwareSettings, limit: Duration = .seconds(8)) {
        self.settings = settings
        self.limit = limit
    }

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        // A recorded machine has no UPS but one that is asked for.
        guard let text = settings.ups, settings.isUPSConfigured || machine.roots.prefix.isEmpty
        else { return }
        guard let address = NUTAddress(text) else {
            throw ReadingError(
                .malformed, subject: "hardware.ups", message: "no address",
                advice: "write HOST:PORT, with an IPv6 address in brackets")
        }
        let deadline = ContinuousClock.now + limit
        let addresses = NameLookup.addresses(of: address)
        let connection = try NUTConnection.open(addresses, subject: text, deadline: deadline)
        guard let connection else {
            guard settings.isUPSConfigured else { return }
            throw ReadingError(
                .connection, subject: text,
                message: addresses.isEmpty ? "no such host" : "nobody listens there",
                advice: "check hardware.ups, and whether nut-server runs and may be reached")
        }
        var parts = IndependentParts()
        for name in try unitNames(connection) {
            guard let variables = try variables(of: name, connection, &parts) else { continue }
            UPSVariables(name: name, values: variables).append(to: &samples, &parts)
        }
        // What the server answers does not matter.
        try connection.send("LOGOUT")
        try parts.finish()
    }

    private func unitNames(_ connection: NUTConnection) throws(ReadingError) -> [String] {
        try connection.send("LIST UPS")
        var names: [String] = []
        var answer = try connection.receive()
        guard answer == ["BEGIN", "LIST", "UPS"] else { throw refusal(answer, connection) }
        while true {
            answer = try connection.receive()
            if answer == ["END", "LIST", "UPS"] { return names }
            guard answer.count == 3, answer[0] == "UPS", Self.isName(answer[1]) else {
                throw connection.malformed(SystemFile.quoted(answer.joined(separator: " ")))
            }
            if names.count < Self.unitLimit, !names.contains(answer[1]) { names.append(answer[1]) }
        }
    }

    /// The variables of a UPS; empty when its driver has lost it, nil when it is not there or
    /// nothing can be said of it.
    private func variables(
        of name: String, _ connection: NUTConnection, _ parts: inout IndependentParts
    ) throws(ReadingError) -> [String: String]? {
        try connection.send("LIST VAR \(name)")
        var answer = try connection.receive()
        guard answer == ["BEGIN", "LIST", "VAR", name] else {
            switch answer {
            case ["ERR", "DATA-STALE"], ["ERR", "DRIVER-NOT-CONNECTED"]: return [:]
            // It was removed in between.
            case ["ERR", "UNKNOWN-UPS"]: return nil
            default: break
            }
            let failure = refusal(answer, connection)
            guard answer.first == "ERR" else { throw failure }
            parts.attempt { () throws(ReadingError) in throw failure }
            return nil
        }
        var values: [String: String] = [:]
        while true {
            answer = try connection.receive()
            if answer == ["END", "LIST", "VAR", name] { return values }
            guard answer.count == 4, answer[0] == "VAR", answer[1] == name else {
                throw connection.malformed(SystemFile.quoted(answer.joined(separator: " ")))
            }
            if values.count < Self.variableLimit { values[answer[2]] = answer[3] }
        }
    }

    private func refusal(_ answer: [String], _ connection: NUTConnection) -> ReadingError {
        guard answer.first == "ERR", answer.count > 1 else {
            return connection.malformed(SystemFile.quoted(answer.joined(separator: " ")))
        }
        return ReadingError(
            .connection, subject: settings.ups ?? "",
            message: "refused: \(answer[1].printable(40))",
            advice: "look into upsd.conf on that machine and the log of nut-server")
    }

    /// Whether a name can stand in a question and in a label.
    static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                (0x21...0x7E) ~= $0 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
            }
    }
}
