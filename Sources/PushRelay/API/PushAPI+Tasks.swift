// What programs tell, and what became of it.

internal import Addresses
internal import Engine
internal import Options
internal import Prometheus
internal import Storage

extension PushAPI {
    /// So many results are in one answer at most.
    private static let mostResults: Int64 = 1000

    /// `POST /api/v1/tasks`
    func makeTask(_ request: APIRequest) async throws -> APIAnswer {
        let token = try token(request, nil)
        guard token.scopes.contains(.send) || token.scopes.contains(.broadcast) else {
            throw APIProblem(.forbidden, "this token is not for send")
        }
        let host = try openHost
        let json = try request.json()
        _ = try request.fields([])
        let wanted = try TaskRequest(
            json, lifetime: relay.options.lifetime.value.components.seconds,
            isLocal: { host.isLocal($0) })
        let scope = wanted.task.audience.isAll ? APIScope.broadcast : .send
        guard token.scopes.contains(scope) else {
            throw APIProblem(.forbidden, "this token is not for \(scope.rawValue)")
        }
        let tasks = try tasks
        let taken = await withCheckedContinuation { continuation in
            tasks.take(
                wanted.task, token: token.id, dedupe: wanted.dedupe, digest: wanted.digest
            ) { continuation.resume(returning: $0) }
        }
        switch taken {
        case .success(let task):
            metrics.tasks[task.isRepeated ? .repeated : .taken].add()
            let report = try await report(task.id, token)
            guard let report else { throw Self.storage }
            var description = Self.describe(report)
            if !task.isRepeated {
                description = description.merged(
                    with: Self.unreached(task.unreached, wanted.strangers))
            }
            var answer = APIAnswer(task.isRepeated ? 200 : 202, description)
            answer.headers.append(("Location", "/api/v1/tasks/\(task.id)"))
            return answer
        case .failure(.nobody):
            throw APIProblem(
                .nobody, "none of those that it is for has a device or target that can show it")
        case .failure(.conflict(let id)):
            throw APIProblem(
                .conflict, "the dedupe_key was used for task \(id), which tells something else")
        case .failure(.revoked): throw Self.unknownToken
        case .failure(.full):
            throw APIProblem(.unavailable, "too much waits to be sent").retrying(after: 60)
        case .failure(.clock):
            throw APIProblem(.unavailable, "the server's clock is not right yet")
                .retrying(after: 10)
        case .failure(.storage): throw Self.storage
        }
    }

    /// `GET /api/v1/tasks/{task}`
    func showTask(_ request: APIRequest) async throws -> APIAnswer {
        let token = try token(request, nil)
        _ = try request.fields([])
        guard let id = Self.number(request.parameter), let report = try await report(id, token)
        else { throw Self.noTask }
        return APIAnswer(200, Self.describe(report))
    }

    /// `DELETE /api/v1/tasks/{task}`
    func cancelTask(_ request: APIRequest) async throws -> APIAnswer {
        let token = try token(request, nil)
        _ = try request.fields([])
        guard let id = Self.number(request.parameter) else { throw Self.noTask }
        let tasks = try tasks
        let result = await withCheckedContinuation { continuation in
            tasks.cancel(id, token: token.id) { continuation.resume(returning: $0) }
        }
        guard case .success(let isKnown) = result else { throw Self.storage }
        guard isKnown, let report = try await report(id, token) else { throw Self.noTask }
        return APIAnswer(200, Self.describe(report))
    }

    /// `GET /api/v1/tasks/{task}/targets`
    func showTargets(_ request: APIRequest) async throws -> APIAnswer {
        let token = try token(request, nil)
        let fields = try request.fields(["after", "limit"])
        let after = try APIRequest.number(
            fields["after"], "after", in: APIRequest.places, default: 0)
        let limit = try APIRequest.number(
            fields["limit"], "limit", in: 1...Self.mostResults, default: 100)
        guard let id = Self.number(request.parameter) else { throw Self.noTask }
        let tasks = try tasks
        let result = await withCheckedContinuation { continuation in
            tasks.results(id, token: token.id, after: after, limit: Int(limit)) {
                continuation.resume(returning: $0)
            }
        }
        guard case .success(let found) = result else { throw Self.storage }
        guard let found else { throw Self.noTask }
        let isMore = found.count == Int(limit)
        return APIAnswer(
            200,
            .fields([
                "targets": .array(found.map(Self.describe)),
                "next": isMore ? found.last.map { .string(String($0.target)) } : nil,
            ]))
    }

    private static let noTask = APIProblem(.notFound, "this token has no such task")

    private static func number(_ text: String) -> Int64? {
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int64(text)
    }

    private func report(_ id: Int64, _ token: APIToken) async throws -> PushTaskReport? {
        let tasks = try tasks
        return try await withCheckedThrowingContinuation { continuation in
            tasks.report(id, token: token.id) { continuation.resume(with: $0) }
        }
    }

    // MARK: In words

    private static func describe(_ report: PushTaskReport) -> JSONValue {
        var all = PushTaskCounts()
        var providers: [String: JSONValue] = [:]
        for (provider, counts) in report.counts {
            all += counts
            providers[provider.rawValue] = describe(counts, passedOn: true)
        }
        let state =
            report.row.cancelled != nil
            ? "cancelled"
            : report.row.selection != nil ? "preparing" : all.waiting > 0 ? "sending" : "done"
        return .fields([
            "id": .string(String(report.row.id)), "state": .string(state),
            "created": .time(milliseconds: report.row.created),
            "expires": .time(milliseconds: report.row.expires),
            "cancelled": report.row.cancelled.map { .time(milliseconds: $0) },
            "counts": describe(all, passedOn: false), "providers": .object(providers),
        ])
    }

    /// Those parts of the audience that lead to nobody, if there are any.
    private static func unreached(
        _ selections: [PushTask.Audience.Selection], _ strangers: [String]
    ) -> [String: JSONValue]? {
        var users = strangers.map { JSONValue.string($0) }
        var (devices, tags, aliases): ([JSONValue], [JSONValue], [JSONValue]) = ([], [], [])
        for selection in selections {
            switch selection {
            case .all: break
            case .user(let user): users.append(.string(user.description))
            case .device(let user, let name):
                devices.append(
                    .object(["user": .string(user.description), "device": .string(name)]))
            case .tag(let tag): tags.append(.string(tag))
            case .alias(let alias): aliases.append(.string(alias))
            }
        }
        let lists = ["users": users, "devices": devices, "tags": tags, "aliases": aliases]
            .filter { !$0.value.isEmpty }
        return lists.isEmpty ? nil : ["unreached": .object(lists.mapValues { .array($0) })]
    }

    /// A target that was passed on counts once.
    private static func describe(_ counts: PushTaskCounts, passedOn: Bool) -> JSONValue {
        func number(_ count: Int) -> JSONValue { .integer(Int64(count)) }
        return .fields([
            "targets": number(passedOn ? counts.requested : counts.requested - counts.passedOn),
            "waiting": number(counts.waiting), "sent": number(counts.sent),
            "reached": number(counts.reached), "failed": number(counts.failed),
            "dropped": number(counts.dropped),
            "passed_on": passedOn ? number(counts.passedOn) : nil,
            "delivered": number(counts.delivered),
        ])
    }

    private static func describe(_ sending: PushSending) -> JSONValue {
        let isReached = sending.state == .reached
        return .fields([
            "target": .string(String(sending.target)), "state": .string(sending.state.word),
            "user": sending.account.map { .string($0.description) },
            "device": sending.device.map { .string($0) },
            "provider": isReached
                ? .string("connection") : sending.provider.map { .string($0.rawValue) },
            "app": isReached ? nil : sending.app.flatMap { $0.isEmpty ? nil : .string($0) },
            "reason": sending.reason.map { .string($0.rawValue) },
            "code": sending.code.map { .string($0) },
            "ended": sending.ended.map { .time(milliseconds: $0) },
            "delivered": sending.delivered.map { .time(milliseconds: $0) },
        ])
    }
}
