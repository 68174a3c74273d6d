// Sends what is due: asks the deliveries what goes now, has the provider make the request, the
// transport carry it, and writes down what came of it. Nothing here decides; the deliveries do.

internal import Addresses
internal import Engine
internal import HTTPClient
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization

/// The way of pushes from the queue to the providers. Safe on any thread.
final class PushDispatcher: Sendable {
    /// How long an outcome may wait for others to be written with.
    static let gathering = Duration.milliseconds(250)
    /// The environment of a target, where a provider has several.
    static let environment = "environment"

    struct State {
        var deliveries: Deliveries
        /// When the timer goes off, by the monotonic clock; nil if it is not set.
        var timer: Int64?
        var isStarted = false
        /// Outcomes that are not written yet.
        var unwritten = 0
        var drained: [@Sendable () -> Void] = []

        /// What is to be done now, and milliseconds after which the next turn is, if no other is set.
        mutating func turn(
            _ now: PushMoment
        ) -> (
            items: [DeliveryItem], passing: [(item: DeliveryItem, reason: PushReason)],
            loads: [DeliveryLoad], wake: Int64?
        ) {
            guard isStarted else { return ([], [], [], nil) }
            let items = deliveries.takeReady(now: now)
            let passing = deliveries.takePassing(now: now)
            let loads = deliveries.circuitsToLoad(now: now)
            guard let wake = deliveries.nextWake(now: now), now.monotonic + wake < timer ?? .max
            else { return (items, passing, loads, nil) }
            timer = now.monotonic + wake
            return (items, passing, loads, wake)
        }

        /// Whether there is something to do before the timer goes off: waking a loop for nothing
        /// costs as much as a request.
        func isTurnNeeded(_ now: PushMoment) -> Bool {
            deliveries.nextWake(now: now).map { now.monotonic + $0 < timer ?? .max } ?? false
        }
    }

    let host: Host
    let keys: PushKeys
    let options: PushOptions
    let metrics: PushMetrics
    let gauges: PushGauges
    let providers: ProviderTable
    let wakeups: Wakeups
    let transport: any PushTransport
    let publication: Publication
    /// Those of apps, for what programs tell them.
    let appConnections: AppConnections
    let receipts: ReceiptAddresses
    let clock: @Sendable () -> PushMoment
    let isClockRight: @Sendable () -> Bool
    let state: Mutex<State>

    init(
        host: Host, keys: PushKeys, relay: PushRelayState,
        providers: ProviderTable, wakeups: Wakeups, transport: any PushTransport,
        isClockRight: @escaping @Sendable () -> Bool,
        clock: @escaping @Sendable () -> PushMoment = { PushClock.now }
    ) {
        self.host = host
        self.keys = keys
        options = relay.options
        metrics = relay.metrics
        gauges = relay.gauges
        self.providers = providers
        self.wakeups = wakeups
        self.transport = transport
        self.isClockRight = isClockRight
        self.clock = clock
        publication = Publication(host: host)
        appConnections = AppConnections(host, services: relay.services)
        receipts = relay.receipts
        var limits = DeliveryLimits()
        limits.rate = options.rate.value
        limits.burst = 2 * options.rate.value
        state = Mutex(State(deliveries: Deliveries(limits)))
    }

    var now: PushMoment { clock() }
    var time: PushTime {
        PushTime(seconds: clock().wall / 1000, isRight: isClockRight())
    }

    // MARK: Events

    /// Begins to send, with what an earlier process has left.
    func start() {
        state.withLock { $0.isStarted = true }
        lookForCircuits()
        sweep()
        waitForClock()
    }

    /// Pushes were committed. On the writer's thread.
    func didCommit(_ noted: [NotedPush]) {
        guard !noted.isEmpty else { return }
        gauges.didChange()
        let now = clock()
        state.withLock { state in
            for push in noted {
                metrics.used.insert(push.item.provider)
                metrics.noted[push.item.provider].add()
                var item = push.item
                item.committedAt = now
                let isReplaced = state.deliveries.add(item, due: push.due, now: now)
                if isReplaced || push.isCollapsed && !state.deliveries.isUnderWay(item.target) {
                    metrics.collapsed[item.provider].add()
                }
            }
        }
        turnSoon()
    }

    /// Devices are in use.
    func didSuppress(_ targets: [Int64]) {
        state.withLock { $0.deliveries.cancel(targets) }
    }

    /// Credentials, rates or the network may be others now.
    func reload() {
        let now = clock()
        let rate = options.rate.value
        state.withLock { state in
            state.deliveries.limits.rate = rate
            state.deliveries.limits.burst = 2 * rate
            state.deliveries.tryAll(now: now)
        }
        turnSoon()
    }

    /// Off the writer's thread, which others wait for.
    func turnSoon() {
        guard let loop = host.loops.first else { return }
        loop.eventLoop.execute { self.turn() }
    }

    private func turn() {
        let now = clock()
        let (items, passing, loads, wake) = state.withLock { $0.turn(now) }
        if let wake, let loop = host.loops.first {
            loop.eventLoop.scheduleTask(in: .milliseconds(min(wake, 3_600_000))) {
                self.timerFired(now.monotonic + wake)
            }
        }
        for load in loads { self.load(load) }
        for (item, reason) in passing {
            let answer = PushAnswer(.retry(.circuit, after: nil), reason)
            record(item, answer, .passedOn(disables: false), now)
        }
        for item in items { send(item) }
    }

    private func timerFired(_ due: Int64) {
        state.withLock { state in
            if let timer = state.timer, timer >= due { state.timer = nil }
        }
        turn()
    }

    // MARK: Out

    func send(_ item: DeliveryItem) {
        if let parcel = item.parcel { return send(item, parcel) }
        guard let target = keys.target(item.secret) else {
            return finish(item, PushAnswer(.rejected, .badToken, code: "sealed by another key"))
        }
        let notification = notification(item, target)
        if item.provider == .xmpp {
            let started = clock()
            noteDispatch(item, nil, started)
            return publication.publish(notification, item, target) { answer in
                self.didAnswer(item, answer, started)
            }
        }
        guard let provider = provider(of: item, target) else {
            return finish(
                item, PushAnswer(.retry(.circuit, after: .seconds(900)), .noApp, code: item.app))
        }
        do throws(PushFault) {
            if let request = try provider.authorization(at: time) {
                return authorize(item, provider, request)
            }
            let request = try provider.request(notification, to: target, at: time)
            let started = clock()
            transport.send(request) { result, written in
                self.noteDispatch(item, written, started)
                let answer: PushAnswer
                switch result {
                case .success(let response):
                    answer = provider.judge(response, to: target, at: self.time)
                case .failure(let error): answer = PushAnswer(error)
                }
                self.didAnswer(item, answer, started)
            }
        } catch {
            finish(item, error.answer)
        }
    }

    func provider(of item: DeliveryItem, _ target: PushTarget) -> (any PushProvider)? {
        var environment = target.parameters[Self.environment]
        if item.isInOtherEnvironment {
            environment = providers.otherEnvironment(
                item.provider, app: item.app, than: environment ?? "production")
        }
        return providers.provider(item.provider, app: item.app, environment: environment)?
            .serving(target)
    }

    /// One that needs an authorization fetches it for all; it waits with them.
    func authorize(
        _ item: DeliveryItem, _ provider: any PushProvider, _ request: PushRequest
    ) {
        let isFirst = state.withLock { $0.deliveries.authorize(item) }
        guard isFirst else { return }
        transport.send(request) { result, _ in
            defer { self.finishDraining() }
            let answer: PushAnswer
            switch result {
            case .success(let response): answer = provider.authorize(response, at: self.time)
            case .failure(let error): answer = PushAnswer(error)
            }
            self.metrics.requests[item.provider, PushOutcomeLabel(answer.outcome)].add()
            let now = self.clock()
            self.state.withLock { state in
                state.deliveries.didAuthorize(item.circuit)
                if answer.outcome != .accepted {
                    state.deliveries.didNotAuthorize(
                        item.circuit, answer, random: .random(in: 0...1), now: now)
                }
            }
            if answer.outcome != .accepted { self.logCircuit(item, answer) }
            self.turnSoon()
        }
    }

    // MARK: What came of it

    private func didAnswer(_ item: DeliveryItem, _ answer: PushAnswer, _ started: PushMoment) {
        let now = clock()
        metrics.duration[item.provider].observe(
            Double(now.monotonic - started.monotonic) / 1000)
        metrics.requests[item.provider, PushOutcomeLabel(answer.outcome)].add()
        if case .accepted = answer.outcome, let committed = item.committedAt {
            metrics.delay.observe(Double(now.monotonic - committed.monotonic) / 1000)
        }
        finish(item, answer)
    }

    private func finish(_ item: DeliveryItem, _ answer: PushAnswer) {
        var item = item
        var answer = answer
        if answer.outcome != .accepted { metrics.failures[answer.reason].add() }
        switch answer.outcome {
        case .invalidToken(.environment, let since):
            if !item.isInOtherEnvironment, let target = keys.target(item.secret),
                hasOtherEnvironment(item, target)
            {
                item.isInOtherEnvironment = true
                return send(item)
            }
            answer.outcome = .invalidToken(.token, since: since)
        case .authorizationExpired(.expired) where !item.hasRenewed:
            if let target = keys.target(item.secret) { provider(of: item, target)?.renew(at: time) }
        default: break
        }
        answer = judged(item, answer)
        let now = clock()
        let (end, opened, hasMore) = state.withLock { state in
            let (end, opened) = state.deliveries.finish(
                item, answer, random: .random(in: 0...1), now: now)
            return (end, opened, state.isTurnNeeded(now))
        }
        if opened { logCircuit(item, answer) }
        if end == .waiting { finishDraining() } else { record(item, answer, end, now) }
        if hasMore { turnSoon() }
    }

    /// What an answer means for an item, beyond what the provider can know.
    func judged(_ item: DeliveryItem, _ answer: PushAnswer) -> PushAnswer {
        var answer = answer
        if item.isInOtherEnvironment, case .authorizationExpired = answer.outcome {
            // The credential of the circuit's own environment is not the one that was refused.
            answer.outcome = .retry(.device, after: nil)
        }
        // Where anybody names the server, a refusal is one subscription's affair, not all others'.
        if item.app.isEmpty || item.provider == .webPush,
            case .authorizationExpired(let credential) = answer.outcome,
            credential == .refused || item.hasRenewed
        {
            answer = PushAnswer(.rejected, .credentialRefused, code: answer.code)
        }
        return answer
    }

    func hasOtherEnvironment(_ item: DeliveryItem, _ target: PushTarget) -> Bool {
        let environment = target.parameters[Self.environment] ?? "production"
        return providers.otherEnvironment(item.provider, app: item.app, than: environment) != nil
    }

    /// Writes the outcome down, with others; only then may the target's next one be sent.
    private func record(
        _ item: DeliveryItem, _ answer: PushAnswer, _ end: DeliveryEnd, _ now: PushMoment
    ) {
        if item.parcel != nil { return recordParcel(item, answer, end, now) }
        let outcome = PushRecord(
            item: item, answer: answer, end: end, now: now, window: options.window.value,
            lifetime: options.lifetime.value, deadLetters: options.deadLetters.value,
            wakeups: wakeups)
        switch end {
        case .later: metrics.retries[item.provider].add()
        case .passedOn(let disables):
            metrics.passedOn[item.provider].add()
            if disables { metrics.invalidated[item.provider].add() }
        case .dead(let disables):
            metrics.dead[answer.reason].add()
            if disables { metrics.invalidated[item.provider].add() }
        default: break
        }
        write(outcome)
    }

    func write(_ outcome: any DeliveryRecord) {
        state.withLock { $0.unwritten += 1 }
        submit(outcome)
    }

    private func submit(_ outcome: any DeliveryRecord) {
        host.database.writer.submit(
            size: 256, within: Self.gathering, { try outcome.write($0) },
            then: { result in
                guard case .failure(let error) = result, error.code != .closed else {
                    return self.didWrite(outcome.item, (try? result.get()) ?? Written())
                }
                // To forget it would be to send it again and again.
                guard let loop = self.host.loops.first else { return }
                loop.eventLoop.scheduleTask(in: .seconds(5)) { self.submit(outcome) }
            })
    }

    private func didWrite(_ item: DeliveryItem, _ written: Written) {
        let now = clock()
        let hasMore = state.withLock { state in
            state.deliveries.settle(item, next: written.next)
            state.unwritten -= 1
            return state.isTurnNeeded(now)
        }
        finishDraining()
        didCommit(written.noted)
        didCommit(written.parcels)
        didCommit(written.postponed, isNew: false)
        metrics.count(written)
        if hasMore { turnSoon() }
    }

    /// Calls those who wait for the end, if that was the last that was under way.
    func finishDraining() {
        let drained = state.withLock { state -> [@Sendable () -> Void] in
            guard state.deliveries.isStopping, state.unwritten == 0,
                state.deliveries.underWayCount == 0
            else { return [] }
            defer { state.drained = [] }
            return state.drained
        }
        gauges.didChange()
        for body in drained { body() }
    }

    // MARK: The end

    /// Begins nothing more; `then` is called when what is under way has been answered and written, or
    /// at once if nothing is. What was not sent stays in the queue.
    func drain(_ then: @escaping @Sendable () -> Void) {
        let isEmpty = state.withLock { state in
            state.deliveries.isStopping = true
            guard state.unwritten > 0 || state.deliveries.underWayCount > 0 else { return true }
            state.drained.append(then)
            return false
        }
        if isEmpty { then() }
    }

    /// Whether nothing is begun any more.
    var isStopping: Bool { state.withLock { $0.deliveries.isStopping } }

    /// The circuits with something to do, by their names.
    var circuits: [String: Circuit] { state.withLock { $0.deliveries.circuits } }
}
