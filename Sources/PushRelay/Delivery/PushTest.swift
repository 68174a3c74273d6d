// Tries whether an account's targets can be woken: a notification goes to each of them at once,
// past the queue and without changing anything, and every step is told with its time.

public import Addresses
internal import Engine
internal import HTTPClient
internal import Prometheus
internal import Storage
internal import Synchronization

/// How far a test is.
public struct PushTestProgress: Codable, Sendable, Equatable {
    /// Whose targets are tried.
    public var jid: String
    /// How many there are.
    public var targets: Int
    /// The steps that were not known before.
    public var steps: [PushTestStep]
    /// The targets that got it.
    public var reached: [Int64]
    /// Whether that was all.
    public var hasEnded: Bool
    /// Whether all targets got it.
    public var isGood: Bool
    /// From the beginning to the end, or until now.
    public var milliseconds: Int
}

/// A step of a test.
public struct PushTestStep: Codable, Sendable, Equatable {
    /// The steps there are.
    public enum Name: String, Codable, Sendable {
        /// What the target leads to.
        case registration
        /// What the provider has to be shown.
        case credential
        /// The notification on its way.
        case request
        /// What the provider said.
        case answer
    }

    /// The target's number, and who delivers to it.
    public var target: Int64
    /// Who delivers.
    public var provider: ProviderKind
    /// What was done.
    public var step: Name
    /// Whether it went well.
    public var ok: Bool
    /// How long it took.
    public var milliseconds: Int
    /// What was found, by step: an app or a device; `none`, `cached`, `fetched`, `renewed` or the
    /// environment that is tried; a host.
    public var value: String?
    /// Of a request.
    public var bytes: Int?
    /// Of a registration; of a credential, its end.
    public var since, until: String?
    /// Of an answer: what it means, as metrics have it.
    public var outcome: String?
    /// Why it failed, and the provider's own word.
    public var reason: PushReason?
    /// The provider's own word or number.
    public var code: String?
}

/// A test of an account's targets. Safe on any thread.
public final class PushTest: Sendable {
    private struct State {
        var steps: [PushTestStep] = []
        var reached: Set<Int64> = []
        var end: PushMoment?
    }

    /// Seconds for which the notification is of use.
    private static let lifetime: Int64 = 60

    /// Whose targets are tried.
    public let account: BareJID
    private let dispatcher: PushDispatcher
    private let targets: [PushTargetRow]
    private let begin: PushMoment
    private let state = Mutex(State())

    init(_ account: BareJID, _ targets: [PushTargetRow], _ dispatcher: PushDispatcher) {
        self.account = account
        self.targets = targets
        self.dispatcher = dispatcher
        begin = dispatcher.now
    }

    /// How far it is, without the steps that are known.
    public func progress(known: Int) -> PushTestProgress {
        state.withLock { state in
            PushTestProgress(
                jid: account.description, targets: targets.count,
                steps: Array(state.steps.dropFirst(max(0, known))),
                reached: state.reached.sorted(), hasEnded: state.end != nil,
                isGood: state.end != nil && state.reached.count == targets.count,
                milliseconds: Self.milliseconds(begin, state.end ?? dispatcher.now))
        }
    }

    /// Tries all targets at once, each step by step.
    public func run() async {
        await withTaskGroup { group in
            for target in targets { group.addTask { await self.test(target) } }
        }
        let end = dispatcher.now
        state.withLock { $0.end = end }
    }

    private static func milliseconds(_ from: PushMoment, _ to: PushMoment) -> Int {
        Int(clamping: max(0, to.monotonic - from.monotonic))
    }

    // MARK: Registration

    private func test(_ target: PushTargetRow) async {
        let started = dispatcher.now
        let way: Wakeups.Way?
        do {
            way = try await self.way(of: target)
        } catch {
            return note(
                target, target.provider, .registration, since: started,
                PushAnswer(.rejected, .request, code: "storage"))
        }
        guard let way, target.disabledAt == nil else {
            let reason = way == nil ? .unregistered : target.reason ?? .unregistered
            return note(
                target, way?.provider ?? target.provider, .registration, since: started,
                PushAnswer(.rejected, reason, code: target.code))
        }
        let leadsHome = target.provider == .xmpp && way.provider != .xmpp
        note(target, way.provider, .registration, since: started) {
            $0.value = way.app.isEmpty ? leadsHome ? target.service : target.resource : way.app
            $0.since = Clock.timestamp(target.refreshed)
        }
        guard let secret = dispatcher.keys.target(way.secret) else {
            return note(
                target, way.provider, .credential, since: started,
                PushAnswer(.rejected, .badToken, code: "sealed by another key"))
        }
        var row = PushQueueRow(circuit: way.circuit, provider: way.provider)
        row.kind = .test
        // Another one for each test: it does not count as the same notification.
        row.version = begin.wall
        row.added = started.wall
        row.expires = started.wall + Self.lifetime * 1000
        let item = way.item(for: target, row)
        var notification = dispatcher.notification(item, secret)
        notification.collapse = dispatcher.keys.name("collapse", "\(target.id)", "test")
        if way.provider == .xmpp {
            await publish(notification, target, item, secret)
        } else {
            await Exchange(self, target, item, secret, notification).run()
        }
    }

    private func way(of target: PushTargetRow) async throws -> Wakeups.Way? {
        let wakeups = dispatcher.wakeups
        return try await withCheckedThrowingContinuation { continuation in
            dispatcher.host.database.writer.submit(
                size: 0, { try wakeups.way(of: target, $0) },
                then: { continuation.resume(with: $0) })
        }
    }

    // MARK: Another app server

    private func publish(
        _ notification: PushNotification, _ target: PushTargetRow, _ item: DeliveryItem,
        _ secret: PushTarget
    ) async {
        note(target, .xmpp, .credential, since: dispatcher.now) { $0.value = "none" }
        let started = dispatcher.now
        note(target, .xmpp, .request, since: started) { $0.value = target.service }
        let answer = await withCheckedContinuation { continuation in
            dispatcher.publication.publish(notification, item, secret) {
                continuation.resume(returning: $0)
            }
        }
        note(target, .xmpp, .answer, since: started, answer)
    }

    // MARK: Steps

    private func note(
        _ target: PushTargetRow, _ provider: ProviderKind, _ name: PushTestStep.Name,
        since: PushMoment, _ answer: PushAnswer = PushAnswer(.accepted, .accepted),
        _ fill: (inout PushTestStep) -> Void = { _ in }
    ) {
        let isGood = answer.outcome == .accepted
        var step = PushTestStep(
            target: target.id, provider: provider, step: name, ok: isGood,
            milliseconds: Self.milliseconds(since, dispatcher.now))
        if name == .answer { step.outcome = PushOutcomeLabel(answer.outcome).rawValue }
        if !isGood { step.reason = answer.reason }
        if !answer.code.isEmpty { step.code = answer.code }
        fill(&step)
        let done = step
        state.withLock { state in
            state.steps.append(done)
            if name == .answer, isGood { state.reached.insert(target.id) }
        }
    }

    /// What goes to a provider of HTTP and back.
    private struct Exchange {
        let test: PushTest
        let target: PushTargetRow
        let item: DeliveryItem
        let secret: PushTarget
        let notification: PushNotification

        init(
            _ test: PushTest, _ target: PushTargetRow, _ item: DeliveryItem, _ secret: PushTarget,
            _ notification: PushNotification
        ) {
            self.test = test
            self.target = target
            self.item = item
            self.secret = secret
            self.notification = notification
        }

        private var dispatcher: PushDispatcher { test.dispatcher }

        /// Once, and once more with a new credential or in the other environment if the provider
        /// wants that.
        func run() async {
            var environment = secret.parameters[PushDispatcher.environment]
            var (isRenewed, isElsewhere) = (false, false)
            while true {
                guard
                    let provider = dispatcher.providers.provider(
                        item.provider, app: item.app, environment: environment)?
                        .serving(secret)
                else { return fail(.credential, .noApp, item.app) }
                guard
                    await authorize(
                        provider, isRenewed: isRenewed, isElsewhere ? environment : nil),
                    let answer = await send(provider)
                else { return }
                switch answer.outcome {
                case .authorizationExpired(.expired) where !isRenewed:
                    isRenewed = true
                    provider.renew(at: dispatcher.time)
                case .invalidToken(.environment, _) where !isElsewhere:
                    guard
                        let other = dispatcher.providers.otherEnvironment(
                            item.provider, app: item.app, than: environment ?? "production")
                    else { return }
                    isElsewhere = true
                    environment = other
                default: return
                }
            }
        }

        private func fail(_ step: PushTestStep.Name, _ reason: PushReason, _ code: String) {
            test.note(
                target, item.provider, step, since: dispatcher.now,
                PushAnswer(.rejected, reason, code: code))
        }

        private func authorize(
            _ provider: any PushProvider, isRenewed: Bool, _ environment: String?
        ) async -> Bool {
            let started = dispatcher.now
            let request: PushRequest?
            do throws(PushFault) {
                request = try provider.authorization(at: dispatcher.time)
            } catch {
                test.note(target, item.provider, .credential, since: started, error.answer)
                return false
            }
            var answer = PushAnswer(.accepted, .accepted)
            var value = provider.expiries.isEmpty ? "none" : isRenewed ? "renewed" : "cached"
            if let request {
                switch await exchange(request).result {
                case .success(let response):
                    answer = provider.authorize(response, at: dispatcher.time)
                case .failure(let error): answer = PushAnswer(error)
                }
                value = isRenewed ? "renewed" : "fetched"
            }
            if let environment { value += ", \(environment)" }
            test.note(target, item.provider, .credential, since: started, answer) {
                $0.value = value
                $0.until = provider.expiries.map(\.time).min().map { Clock.timestamp($0) }
            }
            return answer.outcome == .accepted
        }

        /// The answer; nil if there is none.
        private func send(_ provider: any PushProvider) async -> PushAnswer? {
            var started = dispatcher.now
            let request: PushRequest
            do throws(PushFault) {
                request = try provider.request(notification, to: secret, at: dispatcher.time)
            } catch {
                test.note(target, item.provider, .request, since: started, error.answer)
                return nil
            }
            let (result, written) = await exchange(request)
            let host = EndpointURL(request.request.url)?.host
            let answer: PushAnswer
            switch result {
            case .success(let response):
                answer = provider.judge(response, to: secret, at: dispatcher.time)
            case .failure(let error):
                answer = PushAnswer(error)
                if written == nil {
                    test.note(target, item.provider, .request, since: started, answer) {
                        $0.value = host
                    }
                    return nil
                }
            }
            let sent = written.map { Deliveries.milliseconds($0) } ?? 0
            test.note(target, item.provider, .request, since: started) {
                $0.value = host
                $0.bytes = request.request.body.count
                $0.milliseconds = Int(clamping: sent)
            }
            started = started.adding(milliseconds: sent)
            test.note(target, item.provider, .answer, since: started, answer)
            return answer
        }

        private func exchange(
            _ request: PushRequest
        ) async -> (result: Result<HTTPResponse, HTTPError>, written: Duration?) {
            await withCheckedContinuation { continuation in
                dispatcher.transport.send(request) { result, written in
                    continuation.resume(returning: (result, written))
                }
            }
        }
    }
}

extension PushService {
    /// A test of an account's targets, or of one of them, which is then to be run. Waits for the
    /// database: never on an event loop.
    public func makeTest(of account: BareJID, target: Int64?) throws -> PushTest {
        let dispatcher = try dispatcher()
        let targets = try dispatcher.host.database.readNow {
            try PushTargetStore.targets($0, of: account)
        }
        guard let target else {
            guard !targets.isEmpty else {
                throw PushRefused(
                    "\(account) has no push targets: its clients register them, or see kinglet "
                        + "push add")
            }
            return PushTest(account, targets, dispatcher)
        }
        let chosen = targets.filter { $0.id == target }
        guard !chosen.isEmpty else {
            throw PushRefused(
                "\(account) has no target \(target); see kinglet push list \(account)")
        }
        return PushTest(account, chosen, dispatcher)
    }

    /// The same without waiting; `then` is called once, on any thread, with nil where there are no
    /// targets.
    func makeTest(of account: BareJID, then: @escaping @Sendable (PushTest?) -> Void) {
        guard let dispatcher = state.dispatcher else { return then(nil) }
        dispatcher.host.database.read(
            { try PushTargetStore.targets($0, of: account) },
            then: { result in
                let targets = (try? result.get()) ?? []
                then(targets.isEmpty ? nil : PushTest(account, targets, dispatcher))
            })
    }
}
