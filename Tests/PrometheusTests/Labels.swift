// Labels and texts that the tests of this target share.

@testable import Prometheus

enum Direction: String, MetricLabel {
    case received
    case sent

    static let labelName = "direction"
}

enum Kind: String, MetricLabel {
    case chat
    case groupChat = "group-chat"

    static let labelName = "kind"
}

enum Single: String, MetricLabel {
    case only

    static let labelName = "single"
}

/// An enum that hides one of its cases.
enum Partial: String, MetricLabel {
    case shown
    case hidden

    static let labelName = "partial"
    static let allCases: [Partial] = [.shown]
}

extension Registry {
    func text(_ format: ExpositionFormat = .text004) -> String {
        String(decoding: render(format), as: UTF8.self)
    }

    /// The lines of samples only.
    var samples: [String] {
        text().split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
    }
}
