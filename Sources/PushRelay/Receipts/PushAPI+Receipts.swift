// Takes receipts: `POST /push/receipts/{key}`, which the key alone authenticates.

internal import Engine
internal import Options
internal import Prometheus
internal import Storage
internal import TLS

extension PushAPI {
    /// Bytes of receipts at most.
    private static let longestReceipts = 256 << 10

    /// What makers of telephones call.
    public var receiptRoute: APIRoute {
        APIRoute(
            method: .post, path: ReceiptAddresses.path, rest: "",
            bodyLimit: Self.longestReceipts,
            handle: { [self] request in
                do {
                    return try await take(request)
                } catch let problem as APIProblem {
                    return problem.answer
                } catch {
                    return Self.storage.answer
                }
            })
    }

    private func take(_ request: APIRequest) async throws -> APIAnswer {
        let dispatcher = try dispatcher
        guard let app = app(of: request.parameter, dispatcher) else {
            throw APIProblem(.notFound, "there is nothing here")
        }
        let kind = app.provider.kind
        guard let receipts = Receipt.read(request.body, of: kind) else {
            throw APIProblem(.malformed, "these are no receipts of \(kind.rawValue)")
        }
        let now = dispatcher.now.wall
        let keys = dispatcher.keys
        let name = app.name
        let results = try await write { connection in
            try receipts.map { receipt -> ReceiptResult in
                let fingerprint = keys.name(
                    "device token", kind.rawValue, name, receipt.token)
                guard let task = ReceiptAddresses.task(of: receipt.reference),
                    let target = try PushDeviceStore.owner(of: fingerprint, connection)?.target
                else { return .unknown }
                switch receipt.event {
                case .delivered:
                    let isNew = try PushTaskStore.noteDelivered(
                        connection, task, target, now: now)
                    guard isNew else { return .unknown }
                    var counts = PushTaskCounts()
                    counts.delivered = 1
                    try PushTaskStore.count(connection, task, kind, counts)
                    return .delivered
                case .gone:
                    try PushTargetStore.disable(
                        connection, target, .unregistered, "receipt", now: now / 1000)
                    return .gone
                }
            }
        }
        metrics.use.note()
        for result in results { metrics.receipts[result].add() }
        // What Huawei and Honor want to hear; the others look at the status alone.
        return APIAnswer(200, .object(["code": .string("0"), "message": .string("success")]))
    }

    /// The app whose URL has this key; all are compared, in the same time.
    private func app(of key: String, _ dispatcher: PushDispatcher) -> PushApp? {
        var found: PushApp?
        for app in dispatcher.providers.current?.apps ?? [] {
            let own = ReceiptAddresses.key(app.provider.kind, app.name, dispatcher.keys)
            guard constantTimeEqual(Array(key.utf8), Array(own.utf8)),
                Receipt.way(of: app.provider.kind) != nil
            else { continue }
            found = app
        }
        return found
    }
}
