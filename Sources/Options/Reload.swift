// Taking over a changed configuration while the program runs.

import Synchronization

/// What a reload did.
public struct ReloadReport: Sendable, Equatable, CustomStringConvertible {
    /// One option whose value in the file is not the value in force before the reload.
    public struct Change: Sendable, Equatable {
        /// The dotted path of the option.
        public let key: String
        /// The value before, as YAML; `(secret)` for secrets.
        public let from: String
        /// The value in the new file, as YAML; `(secret)` for secrets.
        public let to: String
        /// Whether it is in force now; otherwise it will be after a restart.
        public let applied: Bool
    }

    /// All changes, in the order of declaration.
    public let changes: [Change]

    /// The keys of the options that have changed.
    public var applied: [String] { changes.filter(\.applied).map(\.key) }

    /// The keys of the options that differ in the file and need a restart.
    public var needRestart: [String] { changes.filter { !$0.applied }.map(\.key) }

    /// One line per change: `limits.stanza: 256KiB -> 512KiB`; one sentence when there is none.
    public var description: String {
        guard !changes.isEmpty else { return "nothing changed" }
        return changes.map { change in
            let text = "\(change.key): \(change.from) -> \(change.to)"
            return change.applied ? text : "\(text) (needs a restart)"
        }.joined(separator: "\n")
    }
}

extension OptionSet {
    /// Takes over another document, all or nothing: when anything in it is wrong, nothing
    /// changes. Else the reloadable settings change together, then those who observe them are
    /// told, on this thread. Two reloads at the same time follow each other.
    /// - Throws: everything that is wrong with the new document.
    public func reload(
        _ document: ConfigurationDocument
    ) throws(ConfigurationErrors) -> ReloadReport {
        let (report, observers) = try state.withLock {
            state throws(ConfigurationErrors) -> (ReloadReport, [@Sendable () -> Void]) in
            var errors = state.keys.unknown(in: document) + state.judged(document)
            var changes: [ReloadReport.Change] = []
            var apply: [@Sendable () -> @Sendable () -> Void] = []
            for declaration in state.declarations {
                let (key, reloadable) =
                    (declaration.description.key, declaration.description.reloadable)
                do throws(ValueProblems) {
                    guard let change = try declaration.prepare(document.node(at: key))
                    else { continue }
                    changes.append(
                        .init(key: key, from: change.from, to: change.to, applied: reloadable))
                    if reloadable { apply.append(change.apply) }
                } catch {
                    errors += error.problems.map { document.error(for: $0, key: key) }
                }
            }
            guard errors.isEmpty else { throw ConfigurationErrors(errors) }
            state.document = document
            return (ReloadReport(changes: changes), apply.map { $0() })
        }
        // Outside the lock: an observer may use the set.
        for observer in observers { observer() }
        return report
    }
}
