// An archive on a remote of rclone: whatever that program can reach.

internal import Foundation
internal import Glibc
internal import Programs

/// Runs `rclone` (1.53 or newer) for every file.
struct RcloneStore: ArchiveStore {
    let place: String
    private let program: String
    private let remote: String
    private let options: [String]
    private let context: TargetContext

    /// - Parameters:
    ///   - remote: as rclone has it, `remote:path`.
    ///   - configuration: rclone's own file; nil for the one that rclone finds.
    ///   - program: where rclone is; nil to search for it.
    init(
        remote: String, configuration: String?, program: String? = nil, _ context: TargetContext
    ) throws(BackupError) {
        place = "rclone:" + remote
        guard let program = program ?? Program.find("rclone") else {
            throw BackupError(
                .permanent, subject: place, "rclone is not installed",
                advice: "install it (apt install rclone)")
        }
        guard let colon = remote.firstIndex(of: ":"), colon != remote.startIndex else {
            throw BackupError(
                .permanent, subject: place, "this names no remote",
                advice: "write rclone:remote:path; `rclone listremotes` shows the remotes")
        }
        self.program = program
        self.remote = remote.hasSuffix(":") || remote.hasSuffix("/") ? remote : remote + "/"
        self.context = context
        var options = configuration.map { ["--config", $0] } ?? []
        options += [
            "--ask-password=false", "--log-level", "ERROR", "--stats", "0",
            "--contimeout", "30s", "--timeout", "2m", "--retries", "2",
            "--low-level-retries", "5", "--buffer-size", "256Ki",
        ]
        if let bandwidth = context.bandwidth { options += ["--bwlimit", "\(max(1, bandwidth))B"] }
        self.options = options
    }

    func prepare() throws(BackupError) {
        try succeed(try run("mkdir", [remote]), "make")
    }

    /// A file is brought as one that exists: what is fed to rclone would, should we die meanwhile,
    /// be taken for a shorter file that is complete. For packs that does no harm.
    func put(_ name: String, _ bytes: [UInt8], moved: (Int) -> Void) throws(BackupError) {
        if ArchiveNames.pack(of: name) == nil {
            let file = context.staging + "/rclone-file"
            try Files.replace(file, bytes, mode: 0o600)
            defer { unlink(file) }
            // Where a file is replaced, the other one is removed before it is moved there.
            if try size(of: name) == nil {
                try bring(file, bytes.count, as: name)
            } else {
                try copy(file, to: name)
            }
            moved(bytes.count)
        } else {
            let result = try feed(bytes, to: name, moved: moved)
            try succeed(result, name)
        }
        try expect(bytes.count, at: name)
    }

    /// On some remotes (a folder, SFTP) older versions of rclone write a file under its own name:
    /// a manifest that is cut off there must not be taken for one.
    private func bring(_ file: String, _ count: Int, as name: String) throws(BackupError) {
        let parts = name.split(separator: "/")
        let temporary = (parts.dropLast() + [".new-" + (parts.last ?? "")]).joined(separator: "/")
        try copy(file, to: temporary)
        try expect(count, at: temporary)
        let result = try run("moveto", ["--ignore-times", "--", remote + temporary, remote + name])
        // Where nothing may be removed, it is there all the same.
        if result.status != 0, try size(of: name) == Int64(count) { return }
        try succeed(result, name)
    }

    private func copy(_ file: String, to name: String) throws(BackupError) {
        try succeed(try run("copyto", ["--ignore-times", "--", file, remote + name]), name)
    }

    private func expect(_ count: Int, at name: String) throws(BackupError) {
        guard let stored = try size(of: name), stored == count else {
            throw BackupError(
                .temporary, subject: "\(place)/\(name)", "not all of it arrived there")
        }
    }

    private func feed(
        _ bytes: [UInt8], to name: String, moved: (Int) -> Void
    ) throws(BackupError) -> Result {
        try withoutActuallyEscaping(moved) { moved in
            Swift.Result { () throws(BackupError) in
                var fed = 0
                return try run(
                    "rcat", ["--streaming-upload-cutoff", "32M", "--", remote + name],
                    input: {
                        guard fed < bytes.count else { return nil }
                        let end = min(bytes.count, fed + 65_536)
                        defer { fed = end }
                        moved(end - fed)
                        return Array(bytes[fed..<end])
                    })
            }
        }.get()
    }

    func flush() throws(BackupError) {}

    func get(
        _ name: String, _ sink: (ArraySlice<UInt8>) throws(BackupError) -> Void
    ) throws(BackupError) -> Bool {
        var problem: BackupError?
        let result = try run(
            "cat", ["--", remote + name], isWanted: { problem == nil },
            output: { piece in
                guard problem == nil else { return }
                do throws(BackupError) { try sink(piece) } catch { problem = error }
            })
        if let problem { throw problem }
        if result.isMissing { return false }
        try succeed(result, name)
        return true
    }

    func list(_ folder: String) throws(BackupError) -> [ArchiveFile] {
        try list(["-R", "--files-only"], folder, prefix: folder + "/")
    }

    func size(of name: String) throws(BackupError) -> Int64? {
        let parent = name.lastIndex(of: "/").map { String(name[...$0]) } ?? ""
        return try list(["--files-only"], name, prefix: parent).first { $0.name == name }?.size
    }

    private func list(
        _ arguments: [String], _ name: String, prefix: String
    ) throws(BackupError) -> [ArchiveFile] {
        var lines = ArchiveLines()
        var files: [ArchiveFile] = []
        let result = try run(
            "lsf", arguments + ["--format", "sp", "--separator", ";", "--", remote + name],
            output: { piece in
                lines.read(piece) { line in
                    let parts = line.split(separator: ";", maxSplits: 1)
                    if parts.count == 2, let size = Int64(parts[0]), size >= 0,
                        files.count <= ArchiveNames.mostFiles
                    {
                        files.append(ArchiveFile(name: prefix + parts[1], size: size))
                    }
                }
            })
        if result.isMissing { return [] }
        try succeed(result, name)
        try ArchiveNames.checkCount(files, place)
        return files
    }

    func delete(_ name: String) throws(BackupError) {
        let result = try run("deletefile", ["--", remote + name])
        // It has no status of its own for a file that is not there.
        if result.status != 0, try size(of: name) == nil { return }
        try succeed(result, name)
    }

    func space() throws(BackupError) -> TargetSpace? {
        struct About: Decodable {
            var total: Int64?
            var free: Int64?
        }
        var output: [UInt8] = []
        let result = try run(
            "about", ["--json", "--", remote],
            output: { piece in if output.count < 65_536 { output += piece } })
        // Many remotes cannot tell.
        guard result.status == 0,
            let about = try? JSONDecoder().decode(About.self, from: Data(output)),
            let free = about.free
        else { return nil }
        return TargetSpace(free: max(0, free), total: max(0, about.total ?? 0))
    }

    // MARK: The program

    private struct Result {
        var status: Int
        var words: String
        /// Statuses 3 and 4: no such folder, no such file.
        var isMissing: Bool { status == 3 || status == 4 }
    }

    private func run(
        _ command: String, _ arguments: [String], input: (() -> [UInt8]?)? = nil,
        isWanted: () -> Bool = { true }, output: (ArraySlice<UInt8>) -> Void = { _ in }
    ) throws(BackupError) -> Result {
        try context.cancellation.check()
        var program = Program(self.program, [command] + options + arguments)
        program.inherited = context.lock >= 0 ? context.lock : nil
        program.grace = .seconds(5)
        // Its own file, and what opens that, are found through these.
        for (name, value) in ProcessInfo.processInfo.environment
        where name.hasPrefix("RCLONE_") || name == "HOME" || name == "XDG_CONFIG_HOME" {
            program.environment[name] = value
        }
        var words: [UInt8] = []
        do {
            let end = try program.run(
                input: input,
                isWanted: { isWanted() && context.cancellation.reason == nil },
                output: output, errors: { words = (words + $0).suffix(8192) })
            let text = RcloneFailure.lastLine(of: words)
            switch end {
            case .exited(let status): return Result(status: status, words: text)
            case .killed(let signal):
                return Result(status: 128 + signal, words: "it was ended by signal \(signal)")
            case .stopped, .timedOut:
                try context.cancellation.check()
                return Result(status: 128 + Int(SIGTERM), words: "it was ended")
            }
        } catch let error as BackupError {
            throw error
        } catch {
            throw BackupError(.temporary, subject: place, "\(error)")
        }
    }

    private func succeed(_ result: Result, _ name: String) throws(BackupError) {
        guard result.status != 0 else { return }
        throw RcloneFailure.error("\(place) (\(name))", status: result.status, result.words)
    }
}

/// What rclone's exit statuses and words mean for a backup.
enum RcloneFailure {
    static func error(_ subject: String, status: Int, _ words: String) -> BackupError {
        let message = words.isEmpty ? "rclone ended with status \(status)" : "rclone says: \(words)"
        func make(_ code: BackupError.Code, _ advice: String = "") -> BackupError {
            BackupError(code, subject: subject, message, advice: advice, exitStatus: status)
        }
        let text = words.lowercased()
        func has(_ parts: String...) -> Bool { parts.contains { text.contains($0) } }
        if has("no space left", "disk full", "quota", "insufficient storage", "storagefull") {
            return make(.full, "free some space there, or keep less")
        }
        if has(
            "no such host", "connection refused", "no route to host", "network is unreachable",
            "host is down")
        {
            return make(.absent, "is the other side on, and the network up?")
        }
        if has(
            "didn't find section", "unauthorized", "accessdenied", "access denied", "forbidden",
            "permission denied", "invalid_grant", "unable to decrypt", "unknown type of fs",
            "couldn't find type")
        {
            return make(.permanent, "try `rclone lsf` by hand as the user of kinglet")
        }
        switch status {
        // 3, 4: gone while we were at it; 6 and 5: rclone itself would retry these.
        case 1, 2, 3, 4, 5, 6, 10: return make(.temporary)
        case 7, 8, 9: return make(.permanent, "try `rclone lsf` by hand as the user of kinglet")
        case 128...: return make(.temporary)
        default: return make(.permanent)
        }
    }

    /// The last thing it said, without the time and without names and passwords in addresses.
    static func lastLine(of bytes: [UInt8]) -> String {
        var line =
            String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).last
            .map { String($0) } ?? ""
        if let first = line.first, first.isNumber {
            line = line.split(separator: " ", maxSplits: 2).last.map { String($0) } ?? line
        }
        var clean = ""
        for word in line.split(separator: " ", omittingEmptySubsequences: false) {
            if !clean.isEmpty { clean += " " }
            if let scheme = word.range(of: "://"), let at = word.lastIndex(of: "@"),
                at >= scheme.upperBound
            {
                clean += word[..<scheme.upperBound] + "…" + word[at...]
            } else {
                clean += word
            }
        }
        return String(clean.filter { !$0.isASCII || ($0.asciiValue ?? 0) >= 32 }.prefix(300))
    }
}

/// Lines out of pieces. Longer ones than any name are dropped.
struct ArchiveLines {
    private var rest: [UInt8] = []

    mutating func read(_ piece: ArraySlice<UInt8>, _ line: (Substring) -> Void) {
        rest += piece
        var begin = rest.startIndex
        while let end = rest[begin...].firstIndex(of: UInt8(ascii: "\n")) {
            line(Substring(String(decoding: rest[begin..<end], as: UTF8.self)))
            begin = end + 1
        }
        rest.removeSubrange(..<begin)
        if rest.count > 16_384 { rest = [] }
    }
}
