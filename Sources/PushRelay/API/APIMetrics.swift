// What is counted of the interface for programs: never who asks, nor for whom.

internal import Prometheus
internal import Synchronization

/// What became of a request to the interface.
enum APIResult: String, MetricLabel {
    case accepted
    case malformed
    /// No token or password, or a wrong one.
    case unauthorized
    /// A credential that does not allow it.
    case forbidden
    case notFound = "not_found"
    case conflict
    case rate
    /// The server cannot do it at the moment.
    case unavailable
    static var labelName: String { "result" }

    init(_ kind: APIProblem.Kind) {
        self =
            switch kind {
            case .malformed, .invalid, .unsupportedType: .malformed
            case .unauthorized: .unauthorized
            case .forbidden: .forbidden
            case .notFound, .nobody: .notFound
            case .conflict, .tooMany: .conflict
            case .rate: .rate
            case .unavailable: .unavailable
            }
    }
}

/// What became of something that a program wants to tell.
enum TaskResult: String, MetricLabel {
    case taken
    /// The same was asked for before.
    case repeated
    static var labelName: String { "result" }
}

/// What a maker of telephones said of a notification.
enum ReceiptResult: String, MetricLabel {
    /// The device has it.
    case delivered
    /// There is no such device any more.
    case gone
    /// It is about nothing that is known here.
    case unknown
    static var labelName: String { "result" }
}

/// Whether there is anybody who uses the interface. Safe on any thread.
final class APIUse: Sendable {
    private let isUsed = Atomic<Bool>(false)

    var value: Bool { isUsed.load(ordering: .relaxed) }

    func note() { isUsed.store(true, ordering: .relaxed) }
}

/// The metrics of the interface.
struct APIMetrics: Sendable {
    /// Before, they are left out of the page.
    let use = APIUse()
    let requests: LabelledCounter<APIResult>
    let tasks: LabelledCounter<TaskResult>
    let receipts: LabelledCounter<ReceiptResult>

    init(_ registry: Registry) {
        let use = use
        requests = registry.counter(
            "kinglet_push_api_requests_total", by: APIResult.self, where: { _ in use.value },
            help: "Requests to the interface for programs and apps (/api/), by what they got.")
        tasks = registry.counter(
            "kinglet_push_api_tasks_total", by: TaskResult.self, where: { _ in use.value },
            help: "Notifications that programs wanted to be sent.")
        receipts = registry.counter(
            "kinglet_push_receipts_total", by: ReceiptResult.self, where: { _ in use.value },
            help: "What makers of telephones said that became of notifications.")
    }
}
