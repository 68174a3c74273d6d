// The push relay as a part of the running server.

internal import Engine
internal import Hardware
internal import Options
internal import PushRelay
internal import Synchronization

extension ProgramOptions {
    /// Gives the push relay what it needs of this program, before the data is opened.
    ///
    /// - Parameter hardware: nil where no server runs, and nothing is sent.
    func preparePush(_ hardware: HardwareMonitor?) throws {
        let clock = PushClockGate(hardware)
        let files = files
        var transport: HTTPPushTransport?
        var endpointKeys: EndpointKeyFile?
        if hardware != nil {
            endpointKeys = EndpointKeyFile(
                load: { try readFile(files.endpointKeys) },
                save: { try writeFile(files.endpointKeys, $0, mode: 0o600) })
        }
        if hardware != nil, !isIsolated {
            transport = try HTTPPushTransport(
                push.options, authorities: push.options.authorities.value.map(path))
        }
        push.prepare(
            PushSurroundings(
                key: try files.loadPushKey(), transport: transport,
                isClockRight: { clock.isRight }, endpointKeys: endpointKeys))
    }
}

/// Whether the time may be signed. A Pi has none when it boots, and asks around for it.
final class PushClockGate: Sendable {
    /// The beginning of 2025: a clock before that is certainly wrong.
    private static let sensible: Int64 = 1_735_689_600

    private let weather: BackupWeather?
    /// For some time, as it was looked up last.
    private let known = Mutex<(isRight: Bool, until: ContinuousClock.Instant)?>(nil)

    init(_ hardware: HardwareMonitor?) { weather = hardware.map { BackupWeather($0) } }

    var isRight: Bool {
        guard Clock.secondsSince1970() >= Self.sensible else { return false }
        guard let weather else { return true }
        let now = ContinuousClock.now
        return known.withLock { known in
            if let known, now < known.until { return known.isRight }
            let isRight = weather.clockIsRight ?? true
            known = (isRight, now + .seconds(isRight ? 60 : 1))
            return isRight
        }
    }
}
