import Foundation
import Testing

@testable import Backup

/// The other side of a remote shell without ssh: what would be run there runs here. For rules that do
/// not depend on the way there, for a connection by ssh takes long.
final class ShellSite {
    let base: String
    var store: String { base + "/store" }

    /// - Parameter unknown: options that the rsync there does not know.
    init(unknown: [String] = []) throws {
        base = FileManager.default.temporaryDirectory.path + "/shell-\(UUID().uuidString)"
        try Files.makeFolder(store)
        try set(unknown: unknown)
    }

    deinit { try? Files.remove(base) }

    func set(unknown: [String]) throws {
        let refusals = unknown.map { option in
            """
            case " $* " in *" \(option) "*)
                echo "rsync: \(option): unknown option" >&2
                echo "rsync error: syntax or usage error (code 1) at main.c(1569) [server=3.1.2]" >&2
                exit 1;;
            esac

            """
        }
        let text = """
            #!/bin/sh
            [ "$1" = -l ] && shift 2
            shift
            echo "$*" >>'\(base)/calls'
            \(refusals.joined())
            if [ -e '\(base)/left' ]; then
                left=$(cat '\(base)/left')
                echo $((left - 1)) >'\(base)/left'
                if [ $left = 0 ]; then
                    rm '\(base)/left'
                    echo 'client_loop: send disconnect: Broken pipe' >&2
                    exit 255
                fi
            fi
            if [ -e '\(base)/busy' ]; then
                rm '\(base)/busy'
                echo 'rrsync error: Another instance of rrsync is already accessing' >&2
                exit 1
            fi
            exec sh -c "$*"

            """
        try Files.replace(base + "/shell", Array(text.utf8), mode: 0o700)
    }

    /// Breaks one connection, after so many.
    func breakConnection(after count: Int) throws {
        try Files.replace(base + "/left", Array("\(count)\n".utf8), mode: 0o600)
    }

    /// Another rsync is at work there when the next connection comes.
    func setBusy() throws { try Files.replace(base + "/busy", [], mode: 0o600) }

    /// The commands that were run there since the last time.
    func calls() throws -> [String] {
        let bytes = try Files.read(base + "/calls", limit: 1 << 20) ?? []
        try Files.remove(base + "/calls")
        return bytes.split(separator: 10).map { String(decoding: $0, as: UTF8.self) }
    }

    func target(below folder: String = "") throws -> RsyncTarget {
        try RsyncTarget(
            name: "site", place: .ssh(user: "pi", host: "there", port: nil, path: store + folder),
            callersShell: [base + "/shell"])
    }
}
