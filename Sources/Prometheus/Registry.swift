// All metrics of the program: registered while it starts, rendered for every scrape.

import Synchronization

/// Knows every metric family and writes them down.
///
/// Counting never comes here: a `Counter` holds its own cells. The lock guards the list of families
/// only, and is not held while values are read.
///
/// A bad or a repeated name is a mistake in the program and traps when it is registered.
public final class Registry: Sendable {
    /// One registered family and how its lines are made.
    fileprivate struct Family: Sendable {
        enum Source: Sendable {
            case lines(@Sendable (inout [UInt8]) -> Void)
            case collector(Int)
        }

        let name: String
        let textHead: [UInt8]
        let openMetricsHead: [UInt8]
        let source: Source
    }

    fileprivate struct Collector: Sendable {
        let families: [FamilyDescription]
        let body: @Sendable (inout SampleSink) -> Void
    }

    fileprivate struct State: Sendable {
        /// In order of their names.
        var families: [Family] = []
        var collectors: [Collector] = []
        /// Every name in use, those of samples included.
        var claimed: Set<String> = []
    }

    /// How many cells each counter and histogram has.
    let cells: Int
    private let state = Mutex(State())
    /// Size of the last rendering, to allocate the next one in one go.
    private let lastSize = Atomic<Int>(4096)

    /// Makes an empty registry.
    /// - Parameter cells: the number of event loops that count in a cell of their own, plus one:
    ///   cell 0 is for everybody else.
    public init(cells: Int = 1) {
        precondition(cells > 0)
        self.cells = cells
    }

    /// The names of all families as the text format has them, sorted.
    public var names: [String] { state.withLock { $0.families.map(\.name) } }

    /// Writes every family that has a sample, sorted by name. Several threads may render at once;
    /// what is read at scrape time is then read by each of them.
    public func render(_ format: ExpositionFormat) -> [UInt8] {
        let (families, collectors) = state.withLock { ($0.families, $0.collectors) }
        let sinks = collectors.map { collector in
            var sink = SampleSink(collector.families)
            collector.body(&sink)
            return sink
        }
        var out: [UInt8] = []
        out.reserveCapacity(lastSize.load(ordering: .relaxed) + 1024)
        for family in families {
            let start = out.count
            out += format == .text004 ? family.textHead : family.openMetricsHead
            let body = out.count
            switch family.source {
            case .lines(let write): write(&out)
            case .collector(let index): out += sinks[index].lines(of: family.name)
            }
            if out.count == body {
                out.removeSubrange(start...)
            }
        }
        if format == .openMetrics100 {
            out += "# EOF\n".utf8
        }
        lastSize.store(out.count, ordering: .relaxed)
        return out
    }

    /// Registers a family whose lines a closure appends.
    func register(
        _ name: String, _ kind: MetricKind, help: String,
        lines: @escaping @Sendable (inout [UInt8]) -> Void
    ) {
        state.withLock { $0.add(name, kind, help: help, source: .lines(lines)) }
    }

    /// Registers families that one closure fills together at each scrape.
    func register(
        _ families: [FamilyDescription], _ body: @escaping @Sendable (inout SampleSink) -> Void
    ) {
        state.withLock { state in
            let index = state.collectors.count
            state.collectors.append(Collector(families: families, body: body))
            for family in families {
                state.add(family.name, family.kind, help: family.help, source: .collector(index))
            }
        }
    }
}

extension Registry.State {
    fileprivate mutating func add(
        _ name: String, _ kind: MetricKind, help: String, source: Registry.Family.Source
    ) {
        let problem = NamingRules.problem(name: name, kind: kind, help: help)
        precondition(problem == nil, "metric '\(name)': \(problem ?? "")")
        let claims = NamingRules.claimedNames(name, kind)
        precondition(claimed.isDisjoint(with: claims), "metric '\(name)' clashes with another")
        claimed.formUnion(claims)
        let family = Registry.Family(
            name: name,
            textHead: Exposition.head(name, kind, help: help, .text004),
            openMetricsHead: Exposition.head(name, kind, help: help, .openMetrics100),
            source: source)
        let place = families.firstIndex { $0.name > name } ?? families.endIndex
        families.insert(family, at: place)
    }
}
