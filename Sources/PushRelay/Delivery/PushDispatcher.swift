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

    private struct State {
        var deliveries: Deliveries
        /// When the timer goes off, by the monotonic clock; nil if it is not set.
        var timer: Int64?
        var isStarted = false
        /// Outcomes that are not written yet.
        var unwritten = 0
        var drained: [@Sendable () -> Void] = []

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
    private let clock: @Sendable () -> PushMoment
    private let isClockRight: @Sendable () -> Bool
    private let state: Mutex<State>

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
    private func turnSoon() {
        guard let loop = host.loops.first else { return }
        loop.eventLoop.execute { self.turn() }
    }

    private func turn() {
        let now = clock()
        let (items, loads, wake): ([DeliveryItem], [(circuit: String, count: Int)], Int64?) =
            state.withLock { state in
                guard state.isStarted else { return ([], [], nil) }
                let items = state.deliveries.takeReady(now: now)
                let loads = state.deliveries.circuitsToLoad(now: now)
                guard let wake = state.deliveries.nextWake(now: now) else {
                    return (items, loads, nil)
                }
                let due = now.monotonic + wake
                guard due < state.timer ?? .max else { return (items, loads, nil) }
                state.timer = due
                return (items, loads, wake)
            }
        if let wake, let loop = host.loops.first {
            loop.eventLoop.scheduleTask(in: .milliseconds(min(wake, 3_600_000))) {
                self.timerFired(now.monotonic + wake)
            }
        }
        for load in loads { self.load(load.circuit, load.count) }
        for item in items { send(item) }
    }

    private func timerFired(_ due: Int64) {
        state.withLock { state in
            if let timer = state.timer, timer >= due { state.timer = nil }
        }
        turn()
    }

    // MARK: From the database

    private func load(_ circuit: String, _ count: Int) {
        let held = state.withLock { $0.deliveries.heldTargets(of: circuit) }
        let wakeups = wakeups
        let now = clock()
        let limit = options.deadLetters.value
        host.database.writer.submit(
            size: 0,
            { connection -> (items: [DeliveryItem], dead: Int, hasMore: Bool, next: Int64?) in
                let found = try PushQueueStore.due(
                    connection, circuit, now: now.wall, limit: count, held: held)
                var items: [DeliveryItem] = []
                var dead = 0
                for (target, queued) in found.rows {
                    if let way = try wakeups.way(of: target, connection) {
                        items.append(way.item(for: target, queued))
                    } else {
                        let letter = DeadLetter(
                            target.id, queued, target.account?.description, .unregistered,
                            died: now.wall)
                        try PushQueueStore.noteDead(
                            connection, letter, version: queued.version, endsAll: true,
                            limit: limit)
                        dead += 1
                    }
                }
                return (
                    items, dead, found.hasMore,
                    try PushQueueStore.nextDue(connection, circuit, after: now.wall)
                )
            },
            then: { result in
                self.state.withLock { state in
                    switch result {
                    case .success(let found):
                        self.metrics.dead[.unregistered].add(found.dead)
                        state.deliveries.didLoad(
                            circuit, found.items, hasMore: found.hasMore, nextDue: found.next)
                    case .failure:
                        state.deliveries.didNotLoad(circuit, now: self.clock())
                    }
                }
                self.turnSoon()
            })
    }

    /// Looks for what waits in the database and is not known here.
    private func lookForCircuits() {
        let limit = state.withLock { state in
            state.deliveries.overflow = false
            return state.deliveries.limits.circuits
        }
        host.database.writer.submit(
            size: 0, { try PushQueueStore.circuits($0, limit: limit) },
            then: { result in
                guard case .success(let circuits) = result else { return }
                let now = self.clock()
                self.state.withLock { state in
                    for circuit in circuits {
                        state.deliveries.noteDue(
                            circuit.circuit, circuit.provider, at: circuit.due, now: now)
                    }
                    // There may be more.
                    if circuits.count >= limit { state.deliveries.overflow = true }
                }
                self.turnSoon()
            })
    }

    /// Every minute: what nobody needs any more, and what was overlooked.
    private func sweep() {
        guard let loop = host.loops.first else { return }
        loop.eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(60)) {
            [weak self] task in
            guard let self, !self.state.withLock({ $0.deliveries.isStopping }) else {
                return task.cancel()
            }
            self.giveUpExpired()
            if self.state.withLock({ $0.deliveries.overflow }) { self.lookForCircuits() }
        }
    }

    /// What could not be signed goes out as soon as the time is known.
    private func waitForClock() {
        guard !isClockRight(), let loop = host.loops.first else { return }
        loop.eventLoop.scheduleTask(in: .seconds(2)) { [weak self] in
            guard let self, self.isClockRight() else { return self?.waitForClock() ?? () }
            self.giveUpExpired()
            self.reload()
        }
    }

    private func giveUpExpired() {
        let now = clock()
        let limit = options.deadLetters.value
        let lifetime = Deliveries.milliseconds(options.lifetime.value)
        host.database.writer.submit(
            size: 0,
            { connection -> (dead: [Int64], changed: [Int64], rebased: Int) in
                // What was asked for before the clock was right has its time from now on.
                let rebased =
                    now.wall > Self.sensible
                    ? try PushQueueStore.rebase(connection, before: Self.sensible, now: now.wall)
                    : 0
                var (dead, changed): ([Int64], [Int64]) = ([], [])
                let expired = try PushQueueStore.expired(connection, now: now.wall, limit: 1000)
                for (target, account, row) in expired {
                    if try PushQueueStore.endCall(
                        connection, target, lifetime: lifetime, now: now.wall)
                    {
                        changed.append(target)
                        continue
                    }
                    let letter = DeadLetter(target, row, account, .expired, died: now.wall)
                    try PushQueueStore.noteDead(
                        connection, letter, version: row.version, endsAll: true, limit: limit)
                    dead.append(target)
                }
                return (dead, changed, rebased)
            },
            then: { result in
                guard case .success(let done) = result else { return }
                self.metrics.dead[.expired].add(done.dead.count)
                self.didSuppress(done.dead + done.changed)
                if !done.changed.isEmpty || done.rebased > 0 { self.lookForCircuits() }
            })
    }

    /// The beginning of 2025 in milliseconds: before it, no clock was right when this was written.
    private static let sensible: Int64 = 1_735_689_600_000

    // MARK: Out

    private func send(_ item: DeliveryItem) {
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

    private func provider(of item: DeliveryItem, _ target: PushTarget) -> (any PushProvider)? {
        var environment = target.parameters[Self.environment]
        if item.isInOtherEnvironment {
            environment = providers.otherEnvironment(
                item.provider, app: item.app, than: environment ?? "production")
        }
        return providers.provider(item.provider, app: item.app, environment: environment)?
            .serving(target)
    }

    /// One that needs an authorization fetches it for all; it waits with them.
    private func authorize(
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
            if !item.isInOtherEnvironment, hasOtherEnvironment(item) {
                item.isInOtherEnvironment = true
                return send(item)
            }
            answer.outcome = .invalidToken(.token, since: since)
        case .authorizationExpired(.expired) where !item.hasRenewed:
            if let target = keys.target(item.secret) { provider(of: item, target)?.renew(at: time) }
        default: break
        }
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

    private func hasOtherEnvironment(_ item: DeliveryItem) -> Bool {
        guard let target = keys.target(item.secret) else { return false }
        let environment = target.parameters[Self.environment] ?? "production"
        return providers.otherEnvironment(item.provider, app: item.app, than: environment) != nil
    }

    /// Writes the outcome down, with others; only then may the target's next one be sent.
    private func record(
        _ item: DeliveryItem, _ answer: PushAnswer, _ end: DeliveryEnd, _ now: PushMoment
    ) {
        state.withLock { $0.unwritten += 1 }
        let outcome = PushRecord(
            item: item, answer: answer, end: end, now: now, window: options.window.value,
            lifetime: options.lifetime.value, deadLetters: options.deadLetters.value, keys: keys)
        switch end {
        case .later: metrics.retries[item.provider].add()
        case .dead(let disables):
            metrics.dead[answer.reason].add()
            if disables { metrics.invalidated[item.provider].add() }
        default: break
        }
        write(outcome)
    }

    private func write(_ outcome: PushRecord) {
        host.database.writer.submit(
            size: 256, within: Self.gathering, { try outcome.write($0) },
            then: { result in
                guard case .failure(let error) = result, error.code != .closed else {
                    return self.didWrite(outcome, next: (try? result.get()) ?? nil)
                }
                // To forget it would be to send it again and again.
                guard let loop = self.host.loops.first else { return }
                loop.eventLoop.scheduleTask(in: .seconds(5)) { self.write(outcome) }
            })
    }

    private func didWrite(_ outcome: PushRecord, next: Int64?) {
        let now = clock()
        let hasMore = state.withLock { state in
            state.deliveries.settle(outcome.item, next: next)
            state.unwritten -= 1
            return state.isTurnNeeded(now)
        }
        finishDraining()
        if hasMore { turnSoon() }
    }

    /// Calls those who wait for the end, if that was the last that was under way.
    private func finishDraining() {
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

    /// The circuits with something to do, by their names.
    var circuits: [String: Circuit] { state.withLock { $0.deliveries.circuits } }
}
