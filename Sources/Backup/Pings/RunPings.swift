// Telling a service how a run goes.

internal import HTTPClient

/// What a run tells a service. It never makes a run fail; calls block, for a few seconds at most.
struct RunPings {
    let address: PingAddress
    /// The run: a UUID, by which the service knows what belongs together.
    let run: String
    /// For one attempt. A server that is asked to stop waits for it.
    var timeLimit = Duration.seconds(3)
    /// After a failure that may pass, so many attempts are made in all.
    var attempts = 2
    /// Hears that the service could not be told, without the address.
    let warn: (String) -> Void

    init(_ address: PingAddress, run: String, warn: @escaping (String) -> Void) {
        self.address = address
        self.run = run
        self.warn = warn
    }

    /// A run begins.
    func start() { send(.start, .init(run: run)) }

    /// It has succeeded.
    func succeed(_ message: String, log: String, took: Duration) {
        send(.success, .init(run: run, message: message, log: log, took: took))
    }

    /// It has failed.
    func fail(_ message: String, log: String, took: Duration) {
        send(.failure, .init(run: run, message: message, log: log, took: took))
    }

    private func send(_ event: PingAddress.Event, _ report: PingAddress.Report) {
        guard let request = address.request(event, report) else { return }
        var problem = ""
        for _ in 0..<attempts {
            do {
                let response = try HTTPTransfer(timeLimit: timeLimit, bodyLimit: 65_536)
                    .perform(request)
                if response.isSuccess { return }
                problem = "\(address.host): it answered \(response.status)"
                // What the service refuses it would refuse again.
                if response.status < 500, response.status != 429 { break }
            } catch {
                problem = error.description
            }
        }
        warn("the ping of this backup did not arrive: \(problem)")
    }
}
