// Copying to a folder of this machine where rsync is not installed: unchanged files become hard
// links, others are copied under another name and renamed.

internal import Glibc

/// Sends by copying. The destination is a folder of this machine.
struct CopyTransfer: FileTransfer {
    func send(_ request: TransferRequest) throws(BackupError) -> TransferReport {
        var copy = Copy(request: request)
        for source in request.sources { try copy.send(source) }
        copy.tell()
        return copy.report
    }
}

/// A call at work.
private struct Copy {
    let request: TransferRequest
    var report = TransferReport()
    private var excludes: [ExcludePattern] = []
    private var device: dev_t = 0
    private var piece = [UInt8](repeating: 0, count: 262_144)
    private let began = ContinuousClock.now
    private var toldAt: Int64 = 0

    init(request: TransferRequest) { self.request = request }

    mutating func send(_ source: String) throws(BackupError) {
        let isContent = source.hasSuffix("/")
        let place = isContent ? String(source.dropLast()) : source
        var status = stat()
        guard lstat(place, &status) == 0 else {
            if errno == ENOENT { return }
            throw Files.error(place, "read")
        }
        device = status.st_dev
        // rsync takes an absolute pattern from where it starts.
        let top = isContent ? place : Files.parent(of: place)
        excludes = request.excludes.map { ExcludePattern($0.hasPrefix("/") ? top + $0 : $0) }
        var destination = request.destination
        var name = isContent ? "" : "/" + (place.split(separator: "/").last.map(String.init) ?? "")
        if destination.hasSuffix("/") {
            destination.removeLast()
        } else {
            name = "/" + (destination.split(separator: "/").last.map(String.init) ?? "")
            destination = Files.parent(of: destination)
        }
        try send(
            Array(place.utf8), Array((destination + name).utf8), Array(name.utf8), status)
    }

    /// - Parameters:
    ///   - path: below the destination, with a slash at its beginning.
    private mutating func send(
        _ place: [UInt8], _ target: [UInt8], _ path: [UInt8], _ status: stat
    ) throws(BackupError) {
        try request.context.cancellation.check()
        switch status.st_mode & S_IFMT {
        case S_IFDIR: try sendFolder(place, target, path, status)
        case S_IFREG: try sendFile(place, target, path, status)
        case S_IFLNK: try sendLink(place, target)
        default: break
        }
    }

    private mutating func sendFolder(
        _ place: [UInt8], _ target: [UInt8], _ path: [UInt8], _ status: stat
    ) throws(BackupError) {
        // Deeper ones are in no list (`SourceScan`), and each takes a piece of the stack.
        guard path.count(where: { $0 == 0x2F }) < SnapshotPath.deepest else { return }
        let names = try Files.names(in: Self.text(place))
        if mkdir(Self.c(target), 0o700) != 0, errno != EEXIST {
            throw Files.error(Self.text(target), "make")
        }
        var there = stat()
        guard lstat(Self.c(target), &there) == 0, there.st_mode & S_IFMT == S_IFDIR else {
            throw BackupError(.damaged, subject: Self.text(target), "this is not a folder")
        }
        for name in names {
            let inner = place + [0x2F] + name
            if request.leftOut.contains(inner) { continue }
            var status = stat()
            guard lstat(Self.c(inner), &status) == 0 else {
                if errno == ENOENT { continue }
                throw Files.error(Self.text(inner), "read")
            }
            let isFolder = status.st_mode & S_IFMT == S_IFDIR
            if isFolder && status.st_dev != device { continue }
            if excludes.contains(where: { $0.matches(inner, isFolder: isFolder) }) { continue }
            try send(inner, target + [0x2F] + name, path + [0x2F] + name, status)
        }
        chmod(Self.c(target), status.st_mode & 0o7777)
        let times = [status.st_mtim, status.st_mtim]
        utimensat(AT_FDCWD, Self.c(target), times, 0)
    }

    private mutating func sendFile(
        _ place: [UInt8], _ target: [UInt8], _ path: [UInt8], _ status: stat
    ) throws(BackupError) {
        if Self.isSame(Self.c(target), as: status) { return }
        for folder in request.linkDestinations {
            let other = Self.c(Array(folder.utf8) + path)
            guard Self.isSame(other, as: status) else { continue }
            unlink(Self.c(target))
            if link(other, Self.c(target)) == 0 {
                report.matchedBytes += Int64(status.st_size)
                return
            }
            // As many links as there can be, or a file system without.
            break
        }
        try copy(place, target)
        report.files += 1
    }

    /// Whether a file is there that need not be sent. A link on the way to it would lead to what
    /// has another content, which the digests tell.
    private static func isSame(_ path: [CChar], as status: stat) -> Bool {
        var other = stat()
        return lstat(path, &other) == 0 && other.st_mode == status.st_mode
            && other.st_size == status.st_size && nanoseconds(other) == nanoseconds(status)
            && other.st_uid == status.st_uid && other.st_gid == status.st_gid
    }

    private mutating func copy(_ place: [UInt8], _ target: [UInt8]) throws(BackupError) {
        let source = open(Self.c(place), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard source >= 0 else {
            if errno == ENOENT { return }
            throw Files.error(Self.text(place), "read")
        }
        defer { close(source) }
        var status = stat()
        guard fstat(source, &status) == 0 else { throw Files.error(Self.text(place), "read") }
        let folder = target.lastIndex(of: 0x2F).map { target[...$0] } ?? []
        let temporary = Array(folder) + Array(".kinglet-copy".utf8)
        unlink(Self.c(temporary))
        let file = open(
            Self.c(temporary), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw Files.error(Self.text(target), "write") }
        do throws(BackupError) {
            defer { close(file) }
            try pump(from: source, place, to: file, target)
            // Only root can give files away.
            fchown(file, status.st_uid, status.st_gid)
            let times = [status.st_mtim, status.st_mtim]
            guard fchmod(file, status.st_mode & 0o7777) == 0, futimens(file, times) == 0 else {
                throw Files.error(Self.text(target), "write")
            }
        } catch {
            unlink(Self.c(temporary))
            throw error
        }
        guard rename(Self.c(temporary), Self.c(target)) == 0 else {
            let error = Files.error(Self.text(target), "write")
            unlink(Self.c(temporary))
            throw error
        }
    }

    private mutating func pump(
        from source: Int32, _ place: [UInt8], to file: Int32, _ target: [UInt8]
    ) throws(BackupError) {
        while true {
            try request.context.cancellation.check()
            let count = read(source, &piece, piece.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw Files.error(Self.text(place), "read")
            }
            if count == 0 { return }
            var done = 0
            while done < count {
                let more = piece.withUnsafeBytes {
                    write(file, $0.baseAddress.map { $0 + done }, count - done)
                }
                if more < 0 {
                    if errno == EINTR { continue }
                    throw Files.error(Self.text(target), "write")
                }
                done += more
            }
            report.literalBytes += Int64(count)
            report.bytesSent += Int64(count)
            if report.literalBytes - toldAt > 4 << 20 { tell() }
            hold()
        }
    }

    /// Waits until the bandwidth allows more.
    private func hold() {
        guard let bandwidth = request.context.bandwidth, bandwidth > 0 else { return }
        let due = began + .seconds(Double(report.bytesSent) / Double(bandwidth))
        while ContinuousClock.now < due, request.context.cancellation.reason == nil {
            poll(nil, 0, 20)
        }
    }

    private func sendLink(_ place: [UInt8], _ target: [UInt8]) throws(BackupError) {
        func content(_ path: [UInt8]) -> [CChar]? {
            var content = [CChar](repeating: 0, count: SnapshotPath.longest + 1)
            let count = readlink(Self.c(path), &content, content.count - 1)
            return count > 0 ? Array(content[..<count]) + [0] : nil
        }
        guard let wanted = content(place), content(target) != wanted else { return }
        unlink(Self.c(target))
        guard symlink(wanted, Self.c(target)) == 0 else {
            throw Files.error(Self.text(target), "write")
        }
    }

    mutating func tell() {
        toldAt = report.literalBytes
        request.context.progress(
            Progress(.transfer, bytes: report.literalBytes, totalBytes: request.expectedBytes))
    }

    private static func c(_ path: [UInt8]) -> [CChar] {
        (path + [0]).map { CChar(bitPattern: $0) }
    }

    private static func text(_ path: [UInt8]) -> String { String(decoding: path, as: UTF8.self) }
}
