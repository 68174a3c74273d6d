// What of the queue is brought from the database: so much as there is room for, and while a way is
// closed only those whose devices have another.

extension Deliveries {
    /// A circuit of which rows are due, as a look into the database showed.
    mutating func noteDue(
        _ circuit: String, _ provider: ProviderKind, at due: Int64, now: PushMoment
    ) {
        if circuits[circuit] == nil, circuits.count >= limits.circuits {
            circuits = circuits.filter { !$0.value.isIdle(now) }
        }
        guard circuits[circuit] != nil || circuits.count < limits.circuits else {
            overflow = true
            return
        }
        var entry =
            circuits[circuit] ?? Circuit(provider, burst: limits.burst, now: now.monotonic)
        entry.nextDue = min(entry.nextDue ?? due, due)
        circuits[circuit] = entry
    }

    /// The circuits of which rows are to be loaded now, and how many of each.
    mutating func circuitsToLoad(now: PushMoment) -> [DeliveryLoad] {
        guard !isStopping else { return [] }
        var wanted: [DeliveryLoad] = []
        for (name, circuit) in circuits where !circuit.isLoading {
            guard let load = load(name, circuit, now) else { continue }
            wanted.append(load)
            circuits[name]?.isLoading = true
            // What cannot be sent and has no other way stays where it is.
            guard !load.isForPassing else { continue }
            // What is noted from now on may be missed by the load, and is kept beside what it finds.
            let isDue = circuit.isDue(now)
            circuits[name]?.hasBacklog = load.wakes == 0 && (circuit.hasBacklog || isDue)
            circuits[name]?.hasParcels = load.parcels == 0 && (circuit.hasParcels || isDue)
            if isDue { circuits[name]?.nextDue = nil }
        }
        return wanted
    }

    func load(_ name: String, _ circuit: Circuit, _ now: PushMoment) -> DeliveryLoad? {
        let isDue = circuit.isDue(now)
        guard circuit.hasBacklog || circuit.hasParcels || isDue else { return nil }
        if circuit.isShut(now) {
            guard now.monotonic >= circuit.nextLook, passing.isEmpty else { return nil }
            return DeliveryLoad(
                circuit: name, wakes: limits.held, parcels: limits.parcels, isForPassing: true)
        }
        let hasRoom = circuit.wakeCount <= limits.held / 2 && (circuit.hasBacklog || isDue)
        let hasParcelRoom =
            circuit.parcels.count <= limits.parcels / 2 && (circuit.hasParcels || isDue)
        guard hasRoom || hasParcelRoom else { return nil }
        return DeliveryLoad(
            circuit: name, wakes: hasRoom ? limits.held - circuit.wakeCount : 0,
            parcels: hasParcelRoom ? limits.parcels - circuit.parcels.count : 0,
            isForPassing: false)
    }

    /// Rows of a circuit that were due.
    ///
    /// - Parameters:
    ///   - hasMore: more are due; the same of parcels.
    ///   - nextDue: when the first of the others is; nil if there is none.
    mutating func didLoad(
        _ load: DeliveryLoad, _ items: [DeliveryItem], hasMore: Bool, hasMoreParcels: Bool,
        nextDue: Int64?, now: PushMoment
    ) {
        guard var circuit = circuits[load.circuit] else { return }
        circuit.isLoading = false
        if load.isForPassing {
            circuit.nextLook = now.monotonic + (items.isEmpty ? Self.longLook : Self.shortLook)
        } else {
            circuit.hasBacklog = hasMore || circuit.hasBacklog
            circuit.hasParcels = hasMoreParcels || circuit.hasParcels
            circuit.nextDue = [circuit.nextDue, nextDue].compactMap { $0 }.min()
        }
        for item in items where held[item.key] == nil {
            held[item.key] = item
            circuit.append(item.key, isUrgent: item.isUrgent)
        }
        circuits[load.circuit] = circuit
    }

    /// Milliseconds after which it is looked again for those with another way, while nothing is sent.
    private static let shortLook: Int64 = 1_000
    private static let longLook: Int64 = 30_000

    /// The load failed: it is tried again.
    mutating func didNotLoad(_ name: String, now: PushMoment) {
        circuits[name]?.isLoading = false
        let retry = now.wall + 5_000
        let known = circuits[name]?.nextDue ?? retry
        circuits[name]?.nextDue = min(known, retry)
    }

    /// The targets that a load need not bring.
    func heldTargets(of circuit: String) -> Set<Int64> {
        Set(held.lazy.filter { $0.value.circuit == circuit }.map(\.key))
    }
}
