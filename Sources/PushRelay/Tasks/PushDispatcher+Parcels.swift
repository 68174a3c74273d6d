// How a parcel goes out: those that are told the same are read when it is their turn, so that it holds
// their tokens of that moment, and what came of each is written down with all others.

internal import Addresses
internal import Engine
internal import HTTPClient
internal import Prometheus
internal import Storage
internal import Synchronization

extension PushDispatcher {
    /// Sends a parcel.
    func send(_ item: DeliveryItem, _ parcel: Parcel) {
        host.database.read(
            { connection -> (task: PushTaskRow, members: [ParcelMember])? in
                guard let task = try PushTaskStore.find(connection, parcel.task) else { return nil }
                return (task, try ParcelStore.members(connection, parcel))
            },
            then: { result in
                guard let found = try? result.get() else {
                    let answer = PushAnswer(.retry(.device, after: nil), .unavailable, code: "")
                    return self.finish(item, ParcelOutcome(), answer, nil)
                }
                guard let bytes = self.keys.open(found.task.content, for: "task"),
                    let task = JSONValue(bytes).flatMap(PushTask.init)
                else {
                    let answer = PushAnswer(.rejected, .badToken, code: "sealed by another key")
                    return self.finish(item, ParcelOutcome(found.members), answer, nil)
                }
                self.send(item, task, of: found.task.token, found.members)
            })
    }

    /// Those whose app is connected have it over that connection; the others by the provider.
    private func send(
        _ item: DeliveryItem, _ task: PushTask, of token: Int64, _ members: [ParcelMember]
    ) {
        let notification = notification(item, task, of: token)
        let questions = item.hasAsked ? [] : appConnections.questions(members)
        guard !questions.isEmpty, let parcel = item.parcel else {
            return send(item, notification, members, ParcelOutcome(members))
        }
        // Others use the way to the provider while apps are asked.
        state.withLock { $0.deliveries.pause(item) }
        turnSoon()
        appConnections.ask(questions, notification, of: parcel.task, members) { reached in
            let now = self.now.wall
            self.host.database.writer.submit(
                {
                    try ParcelStore.noteReached(
                        $0, parcel, item.booked, members.filter { reached.contains($0.id) },
                        now: now)
                },
                then: { _ in
                    // What could not be written down is told once more; that is better than never.
                    self.metrics.suppressed[.active].add(reached.count)
                    var item = item
                    item.hasAsked = true
                    let asked = item
                    self.state.withLock { $0.deliveries.resume(asked) }
                    self.finishDraining()
                    self.turnSoon()
                })
        }
    }

    private func send(
        _ item: DeliveryItem, _ notification: PushNotification, _ members: [ParcelMember],
        _ outcome: ParcelOutcome
    ) {
        var outcome = outcome
        var asked: [(member: ParcelMember, target: PushTarget)] = []
        for member in members {
            guard let row = member.target else { continue }
            guard row.disabledAt == nil else {
                outcome.answers[member.id] = PushAnswer(
                    .invalidToken(.token, since: nil), row.reason ?? .badToken, code: row.code)
                continue
            }
            guard let target = keys.target(row.secret) else {
                // The key may come back.
                outcome.answers[member.id] = PushAnswer(
                    .rejected, .badToken, code: "sealed by another key")
                continue
            }
            asked.append((member, target))
        }
        guard let first = asked.first else { return finishUnsent(item, outcome) }
        guard let provider = provider(of: item, first.target) else {
            let answer = PushAnswer(
                .retry(.circuit, after: .seconds(900)), .noApp, code: item.app)
            return finish(item, outcome, answer, nil)
        }
        for (member, target) in asked where provider.problem(of: target) != nil {
            outcome.answers[member.id] = PushAnswer(
                .invalidToken(.token, since: nil), .badToken)
        }
        let possible = asked.filter { outcome.answers[$0.member.id] == nil }
        guard let first = possible.first else { return finishUnsent(item, outcome) }
        var notification = notification
        // A count is each device's own.
        let badges = Set(possible.map(\.member.badge))
        notification.unread = badges.count == 1 ? first.member.badge : nil
        notification.receipt = receipts.address(
            provider.kind, app: item.app, task: item.parcel?.task)
        let targets = possible.map(\.target)
        do throws(PushFault) {
            if let request = try provider.authorization(at: time) {
                return authorize(item, provider, request)
            }
            let request = try provider.request(notification, to: targets, at: time)
            let started = clock()
            let sent = outcome
            transport.send(request) { result, written in
                self.noteDispatch(item, written, started)
                self.metrics.duration[item.provider].observe(
                    Double(self.clock().monotonic - started.monotonic) / 1000)
                var outcome = sent
                switch result {
                case .success(let response):
                    let answers = provider.judge(response, to: targets, at: self.time)
                    for (place, answer) in answers.others {
                        outcome.answers[possible[place].member.id] = answer
                    }
                    self.finish(item, outcome, answers.rest, provider)
                case .failure(let error):
                    self.finish(item, outcome, PushAnswer(error), provider)
                }
            }
        } catch {
            finish(item, outcome, error.answer, provider)
        }
    }

    /// What a task tells, for all of its targets.
    private func notification(
        _ item: DeliveryItem, _ task: PushTask, of token: Int64
    ) -> PushNotification {
        let parcel = item.parcel.map { ($0.task, $0.id) } ?? (0, 0)
        let collapse =
            task.collapseKey.map { keys.name("collapse key", "\(token)", $0) }
            ?? keys.name("collapse task", "\(parcel.0)")
        let lifetime = min(max(0, item.expires - now.wall), Int64(task.lifetime) * 1000)
        var notification = PushNotification(
            .notification,
            identifier: Array(keys.name("parcel", "\(parcel.1)").prefix(16)), account: "",
            collapse: collapse, sender: task.title, body: task.text, isVisible: task.isVisible,
            lifetime: Int(clamping: lifetime / 1000))
        notification.content = PushContent(
            data: task.data, badge: task.badge, isHigh: task.isHigh, extras: task.extras)
        return notification
    }

    // MARK: What came of it

    /// Everything is known without a request.
    private func finishUnsent(_ item: DeliveryItem, _ outcome: ParcelOutcome) {
        state.withLock { $0.deliveries.finishUnsent(item) }
        write(
            ParcelRecord(
                item: item, outcome: outcome, answer: PushAnswer(.accepted, .accepted),
                end: .sent, now: clock(), wakeups: wakeups, batchSize: batchSize))
    }

    /// - Parameters:
    ///   - answer: for those of which the outcome says nothing else.
    ///   - provider: that made the request; nil if none did.
    private func finish(
        _ item: DeliveryItem, _ outcome: ParcelOutcome, _ answer: PushAnswer,
        _ provider: (any PushProvider)?
    ) {
        var item = item
        var answer = answer
        let others = outcome.answers.values
        for other in others {
            metrics.requests[item.provider, PushOutcomeLabel(other.outcome)].add()
            if other.outcome != .accepted { metrics.failures[other.reason].add() }
        }
        let rest = max(0, outcome.members.count - others.count)
        metrics.requests[item.provider, PushOutcomeLabel(answer.outcome)].add(rest)
        if answer.outcome != .accepted { metrics.failures[answer.reason].add(rest) }
        let target = outcome.members.first?.target.flatMap { keys.target($0.secret) }
        switch answer.outcome {
        case .accepted:
            if let committed = item.committedAt {
                metrics.delay.observe(Double(clock().monotonic - committed.monotonic) / 1000)
            }
        case .invalidToken(.environment, let since):
            if !item.isInOtherEnvironment, let target, hasOtherEnvironment(item, target) {
                item.isInOtherEnvironment = true
                return send(item)
            }
            answer.outcome = .invalidToken(.token, since: since)
        case .authorizationExpired(.expired) where !item.hasRenewed:
            provider?.renew(at: time)
        default: break
        }
        settle(item, outcome, answer)
    }

    /// What became of a parcel that waited no longer for its way.
    func recordParcel(
        _ item: DeliveryItem, _ answer: PushAnswer, _ end: DeliveryEnd, _ now: PushMoment
    ) {
        write(
            ParcelRecord(
                item: item, outcome: ParcelOutcome(), answer: answer, end: end, now: now,
                wakeups: wakeups, batchSize: batchSize))
    }

    private func settle(
        _ item: DeliveryItem, _ outcome: ParcelOutcome, _ answer: PushAnswer
    ) {
        let answer = judged(item, answer)
        let now = clock()
        let (end, opened, hasMore) = state.withLock { state in
            let (end, opened) = state.deliveries.finish(
                item, answer, random: .random(in: 0...1), now: now)
            return (end, opened, state.isTurnNeeded(now))
        }
        if opened { logCircuit(item, answer) }
        if end == .waiting {
            // What is known of some is seen again when the others go out.
            finishDraining()
        } else {
            if case .later = end { metrics.retries[item.provider].add() }
            write(
                ParcelRecord(
                    item: item, outcome: outcome, answer: answer, end: end, now: now,
                    wakeups: wakeups, batchSize: batchSize))
        }
        if hasMore { turnSoon() }
    }

    /// How many one request of a provider can be for.
    var batchSize: @Sendable (ProviderKind, String) -> Int {
        let providers = providers
        return { kind, app in
            providers.provider(kind, app: app, environment: nil)?.batchSize ?? 1
        }
    }

    /// Parcels were committed. On the writer's thread.
    ///
    /// - Parameter isNew: not only tried again.
    func didCommit(_ parcels: [ParcelRow], isNew: Bool = true) {
        guard !parcels.isEmpty else { return }
        gauges.didChange()
        let now = clock()
        state.withLock { state in
            for row in parcels {
                metrics.used.insert(row.provider)
                if isNew { metrics.noted[row.provider].add(row.parcel.count) }
                var item = row.item
                item.committedAt = now
                _ = state.deliveries.add(item, due: row.due, now: now)
            }
        }
        turnSoon()
    }
}

extension PushMetrics {
    /// What became of the members of a parcel.
    func count(_ written: Written) {
        for (reason, count) in written.failed { dead[reason].add(count) }
        for (kind, count) in written.invalidated { invalidated[kind].add(count) }
        for (kind, count) in written.passedOn { passedOn[kind].add(count) }
    }
}
