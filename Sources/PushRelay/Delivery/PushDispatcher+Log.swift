// What is logged and measured of pushes on their way.

internal import Engine
internal import Logging
internal import Prometheus

extension PushDispatcher {
    /// A push is on its way for the first time.
    func noteDispatch(_ item: DeliveryItem, _ written: Duration?, _ started: PushMoment) {
        guard item.tries == 0, item.successesAtFailure == nil, let committed = item.committedAt
        else { return }
        let before = Double(max(0, started.monotonic - committed.monotonic)) / 1000
        metrics.dispatch.observe(before + (written.map(Self.seconds) ?? 0))
    }

    private static func seconds(_ duration: Duration) -> Double {
        let (seconds, attoseconds) = duration.components
        return Double(seconds) + Double(attoseconds) / 1e18
    }

    /// A provider is left alone, and somebody may have to know.
    func logCircuit(_ item: DeliveryItem, _ answer: PushAnswer) {
        // The circuit of a user's own target holds a host, which is the user's affair.
        host.log.warning(
            "push: a provider is left alone for a while",
            metadata: [
                "provider": "\(item.provider.rawValue)", "app": "\(item.app)",
                "reason": "\(answer.reason.rawValue)", "code": "\(answer.code)",
            ])
    }
}
