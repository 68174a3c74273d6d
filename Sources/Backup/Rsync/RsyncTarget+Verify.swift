// Reading back: by the digests that the other side computes, and by bringing files here.

internal import Glibc
internal import TLS

extension RsyncTarget {
    /// Reads files back and compares them with the list; the manifest and the lists too.
    public func verify(
        _ entries: [FileEntry], of manifest: Manifest, _ context: TargetContext
    ) throws(BackupError) -> VerificationReport {
        var report = try verify(entries, in: manifest.id, context)
        try verifyLists(of: manifest, context, &report)
        return report
    }

    /// What one line of digests said of a file.
    struct Answer {
        var md5: MD5Digest?
        var size: Int64
    }

    /// Of a snapshot that need not be published.
    func verify(
        _ entries: [FileEntry], in id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> VerificationReport {
        var report = VerificationReport()
        let asked = entries.filter { $0.hash != nil && $0.md5 != nil }
        let total = asked.reduce(into: Int64(0)) { $0 = $0.addingReportingOverflow($1.size).0 }
        var done: Int64 = 0
        // A part at a time, so that the progress moves and what is remembered has a limit.
        for start in stride(from: 0, to: asked.count, by: 5000) {
            let part = asked[start..<min(start + 5000, asked.count)]
            let answers = try digests(of: part, in: id, context)
            for entry in part {
                report.files += 1
                report.bytes = report.bytes.addingReportingOverflow(entry.size).partialValue
                done = done.addingReportingOverflow(entry.size).partialValue
                guard let answer = answers[entry.path.bytes] else {
                    report.add("\(id): \(entry.path) is missing or cannot be read")
                    continue
                }
                if answer.size != entry.size {
                    report.add(
                        "\(id): \(entry.path) has \(answer.size) bytes, not \(entry.size)")
                } else if answer.md5 != entry.md5 {
                    report.add("\(id): \(entry.path) is not what was stored")
                }
            }
            context.progress(Progress(.verification, bytes: done, totalBytes: total))
        }
        try verifyByFetching(
            entries.filter { $0.hash != nil && $0.md5 == nil }, id, context, &report)
        return report
    }

    /// The digests that the other side's rsync computes. Nothing is sent but names and digests.
    func digests(
        of entries: ArraySlice<FileEntry>, in id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> [[UInt8]: Answer] {
        let empty = try scratch("empty", context)
        var answers: [[UInt8]: Answer] = [:]
        let outcome = try call(
            [
                "-n", "--checksum", "--checksum-choice=md5", "--out-format=%C %l %n", "--no-links",
                "--no-devices", "--no-specials", "--files-from=-", "--from0",
            ], [readingRoot, empty + "/"], timeout: 86_400,
            input: names(entries.map(\.path.bytes), in: "\(id)"), context
        ) { line in
            let words = line.split(
                separator: 0x20, maxSplits: 2, omittingEmptySubsequences: false)
            guard words.count == 3, words[0].count == 32, answers.count < 2 * entries.count,
                let size = Int64(String(decoding: words[1], as: UTF8.self)),
                let md5 = MD5Digest(hexadecimal: words[0])
            else { return }
            answers[RsyncName.decode(words[2])] = Answer(md5: md5, size: size)
        }
        try Files.remove(empty)
        // Missing files are found by their missing answers.
        if case .failure(let error) = outcome, error.exitStatus == 23 { return answers }
        try accept(outcome, context)
        return answers
    }

    /// Entries of lists that were made without MD5.
    private func verifyByFetching(
        _ entries: [FileEntry], _ id: SnapshotID, _ context: TargetContext,
        _ report: inout VerificationReport
    ) throws(BackupError) {
        var rest = entries[...]
        while !rest.isEmpty {
            var part: [FileEntry] = []
            var size: Int64 = 0
            while let next = rest.first, part.isEmpty || (size < 64 << 20 && part.count < 5000) {
                part.append(next)
                size = size.addingReportingOverflow(next.size).partialValue
                rest.removeFirst()
            }
            let folder = try scratch("verified", context)
            try download(
                part.map(\.path.bytes), from: "\(id)", into: folder,
                largest: Self.largest(part), context)
            for entry in part {
                report.files += 1
                report.bytes = report.bytes.addingReportingOverflow(entry.size).partialValue
                if let fault = FetchedFile.fault(entry, below: folder) {
                    report.add("\(id): \(entry.path) \(fault)")
                }
            }
            try Files.remove(folder)
        }
    }

    /// Nothing larger than the list says is taken from the other side.
    private static func largest(_ entries: [FileEntry]) -> Int {
        Int(clamping: max(1, entries.map(\.size).max() ?? 1))
    }

    /// The manifest and its lists, brought anew.
    private func verifyLists(
        of manifest: Manifest, _ context: TargetContext, _ report: inout VerificationReport
    ) throws(BackupError) {
        let folder = try scratch("verified", context)
        let names = [ManifestFile.name] + manifest.lists.map(\.path)
        try download(
            names.map { Array($0.utf8) }, from: "\(manifest.id)", into: folder,
            largest: FileListCodec.longestPart, context)
        report.files += names.count
        let path = folder + "/" + ManifestFile.name
        do {
            let bytes = try Files.read(path, limit: ManifestFile.longest) ?? []
            report.bytes += Int64(bytes.count)
            let found = try ManifestFile.decode(bytes, id: manifest.id, key: context.key)
            if found != manifest { report.add("\(manifest.id): the manifest was replaced") }
        } catch {
            report.add(error.description)
        }
        for list in manifest.lists {
            let bytes = try Files.read(folder + "/" + list.path, limit: FileListCodec.longestPart)
            report.bytes += Int64(bytes?.count ?? 0)
            if bytes == nil {
                report.add("\(manifest.id): \(list.path) is missing")
            } else if Self.hash(bytes ?? []) != list.sha256 {
                report.add("\(manifest.id): \(list.path) is not what was stored")
            }
        }
        try Files.remove(folder)
    }

    /// Brings files of a snapshot into an empty private folder.
    public func fetch(
        _ entries: [FileEntry], of manifest: Manifest, into folder: String,
        _ context: TargetContext
    ) throws(BackupError) {
        guard try Files.names(in: folder).isEmpty else {
            throw BackupError(.permanent, subject: folder, "this folder is not empty")
        }
        let files = entries.filter { $0.hash != nil }
        let total = files.reduce(into: Int64(0)) { $0 = $0.addingReportingOverflow($1.size).0 }
        if !files.isEmpty {
            try download(
                files.map(\.path.bytes), from: "\(manifest.id)", into: folder,
                largest: Self.largest(files), context
            ) {
                guard let progress = RsyncProgress($0) else { return }
                var now = progress.progress(expected: total)
                now.phase = .download
                context.progress(now)
            }
        }
        for entry in entries {
            try context.cancellation.check()
            switch entry.kind {
            case .folder: try FetchedFile.makeFolder(entry.path, below: folder)
            case .link: continue
            case .file:
                guard let fault = FetchedFile.fault(entry, below: folder) else { continue }
                if context.mayMiss(entry, fault) {
                    FetchedFile.remove(entry.path, below: folder)
                    continue
                }
                throw BackupError(
                    .damaged, subject: "\(name): \(manifest.id)", "\(entry.path) \(fault)",
                    advice: "restore another snapshot, or leave this file out")
            }
        }
    }
}

/// What came from the other side, which may have sent anything: no link is followed.
enum FetchedFile {
    /// What is wrong with a file; nil when it is what the list says.
    static func fault(_ entry: FileEntry, below folder: String) -> String? {
        guard case .file(let size, let hash) = entry.kind else { return "is no file" }
        guard let file = open(entry.path, below: folder) else { return "is missing" }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return "is no file"
        }
        guard Int64(status.st_size) == size else {
            return "has \(status.st_size) bytes, not \(size)"
        }
        let digest = StreamingDigest(.sha256)
        var buffer = [UInt8](repeating: 0, count: 262_144)
        while true {
            let count = read(file, &buffer, buffer.count)
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                return "cannot be read: \(String(cString: strerror(errno)))"
            }
            digest.update(buffer[..<count])
        }
        return ContentHash(digest.finish()) == hash ? nil : "is not what was stored"
    }

    /// A descriptor for the caller to close; nil when nothing is there, or only links lead there.
    static func open(_ path: SnapshotPath, below folder: String) -> Int32? {
        guard let parent = openParent(of: path, below: folder, makes: false) else { return nil }
        defer { close(parent) }
        let name = cString(path.components.last ?? [])
        let file = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        return file >= 0 ? file : nil
    }

    /// Makes a folder and those above it, without following links.
    static func makeFolder(_ path: SnapshotPath, below folder: String) throws(BackupError) {
        guard let parent = openParent(of: path, below: folder, makes: true) else {
            throw Files.error(folder + "/" + path.description, "make")
        }
        defer { close(parent) }
        guard mkdirat(parent, cString(path.components.last ?? []), 0o700) == 0 || errno == EEXIST
        else { throw Files.error(folder + "/" + path.description, "make") }
    }

    /// Removes what is there, if anything is.
    static func remove(_ path: SnapshotPath, below folder: String) {
        guard let parent = openParent(of: path, below: folder, makes: false) else { return }
        defer { close(parent) }
        unlinkat(parent, cString(path.components.last ?? []), 0)
    }

    private static func openParent(
        of path: SnapshotPath, below folder: String, makes: Bool
    ) -> Int32? {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        var current = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard current >= 0 else { return nil }
        for component in path.components.dropLast() {
            let name = cString(component)
            if makes { mkdirat(current, name, 0o700) }
            let next = openat(current, name, flags)
            close(current)
            guard next >= 0 else { return nil }
            current = next
        }
        return current
    }

    private static func cString(_ bytes: ArraySlice<UInt8>) -> [CChar] {
        (bytes + [0]).map { CChar(bitPattern: $0) }
    }
}

extension MD5Digest {
    /// Reads 32 lower-case hexadecimal digits.
    init?(hexadecimal digits: ArraySlice<UInt8>) {
        guard digits.count == 32, let bytes = Hexadecimal.bytes(digits) else { return nil }
        self.init(bytes)
    }
}
