// Writes the pages of a copy into one new part of an image: a whole base, or a log of the pages
// that differ from what the last snapshot has.

internal import Glibc
internal import Storage
internal import TLS

/// A part in the making. A page may come again; the later one counts.
final class ImageWriter {
    /// The part, complete and durable.
    struct Written {
        var hash: ContentHash
        var md5: MD5Digest?
        var size: Int64
        var modified: Int64
    }

    /// Digests of all pages as they are now.
    private(set) var digests: [PageDigest]
    /// Frames of the log; 0 for a base.
    private(set) var frames: UInt32 = 0
    /// The chain, nil for a base.
    private(set) var chain: WriteAheadLog?

    private let path: String
    private let file: Int32
    private let pageSize: Int
    /// A log's header, in the first log of a base.
    private let header: [UInt8]
    /// The frame of each page, from 1; 0 for none.
    private var places: [UInt32] = []
    private let digest = BlockDigest()
    private let frame: UnsafeMutableRawBufferPointer

    /// - Parameters:
    ///   - path: a file that is made anew.
    ///   - before: what the last snapshot has; nil to write a base.
    init(_ path: String, pageSize: Int, before: RememberedPages?) throws(BackupError) {
        self.path = path
        self.pageSize = pageSize
        digests = before?.take() ?? []
        var header: [UInt8] = []
        if let before {
            if let chain = before.head.chain {
                self.chain = chain
            } else {
                let new = WriteAheadLog(
                    pageSize: pageSize, salt: (.random(in: 0 ... .max), .random(in: 0 ... .max)))
                header = new.header
                chain = new
            }
        }
        self.header = header
        frame = .allocate(byteCount: WriteAheadLog.frameHeaderLength + pageSize, alignment: 8)
        frame.initializeMemory(as: UInt8.self, repeating: 0)
        unlink(path)
        file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw Files.error(path, "write") }
    }

    deinit {
        close(file)
        frame.deallocate()
    }

    /// Adds pages.
    func add(_ buffer: PageBuffer) throws(BackupError) {
        try add(buffer.numbers, buffer.bytes)
    }

    /// Adds pages that lie one after the other.
    func add(_ numbers: [UInt32], _ bytes: [UInt8]) throws(BackupError) {
        guard bytes.count == numbers.count * pageSize else {
            throw BackupError(.permanent, subject: path, "SQLite hands out pages of another size")
        }
        var failure: BackupError?
        bytes.withUnsafeBytes { bytes in
            do throws(BackupError) { try add(numbers, bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private func add(_ numbers: [UInt32], _ bytes: UnsafeRawBufferPointer) throws(BackupError) {
        // Pages of a base mostly lie side by side in the file, too: they are written together.
        var run = 0..<0
        func flush() throws(BackupError) {
            guard let first = run.first, chain == nil else { return }
            let part = bytes[(first * pageSize)..<(run.upperBound * pageSize)]
            try write(
                UnsafeRawBufferPointer(rebasing: part), at: Self.offset(numbers[first], pageSize))
        }
        for (index, number) in numbers.enumerated() where number > 0 {
            let page = UnsafeRawBufferPointer(
                rebasing: bytes[(index * pageSize)..<((index + 1) * pageSize)])
            guard note(number, page) else { continue }
            if chain != nil {
                try writeFrame(number, page)
            } else if !run.isEmpty, run.upperBound == index, numbers[index - 1] == number - 1 {
                run = run.lowerBound..<(index + 1)
            } else {
                try flush()
                run = index..<(index + 1)
            }
        }
        try flush()
    }

    private static func offset(_ number: UInt32, _ pageSize: Int) -> Int64 {
        (Int64(number) - 1) * Int64(pageSize)
    }

    /// Whether the page is another than it was.
    private func note(_ number: UInt32, _ page: UnsafeRawBufferPointer) -> Bool {
        let index = Int(number) - 1
        let (high, low) = digest.digest(page)
        let new = PageDigest(high: high, low: low)
        if index >= digests.count {
            let missing = index + 1 - digests.count
            digests.append(contentsOf: repeatElement(PageDigest(), count: missing))
        } else if digests[index] == new {
            return false
        }
        digests[index] = new
        return true
    }

    private func writeFrame(
        _ number: UInt32, _ page: UnsafeRawBufferPointer
    ) throws(BackupError) {
        let index = Int(number) - 1
        if index >= places.count {
            let missing = max(index + 1, digests.count) - places.count
            places.append(contentsOf: repeatElement(0, count: missing))
        }
        if places[index] == 0 {
            frames += 1
            places[index] = frames
        }
        // The number is all that is known before the end.
        frame.storeBytes(of: number.bigEndian, as: UInt32.self)
        UnsafeMutableRawBufferPointer(rebasing: frame[WriteAheadLog.frameHeaderLength...])
            .copyMemory(from: page)
        try write(UnsafeRawBufferPointer(frame), at: place(ofFrame: places[index]))
    }

    private func place(ofFrame number: UInt32) -> Int64 {
        Int64(header.count) + (Int64(number) - 1) * Int64(frame.count)
    }

    /// Completes the file: a log's frames get their checksums, everything is digested and synced.
    ///
    /// - Parameter between: called between two pieces; throws to end it.
    func finish(
        pageCount: UInt32, md5 needsMD5: Bool, between: () throws(BackupError) -> Void
    ) throws(BackupError) -> Written {
        if digests.count > Int(pageCount) { digests.removeLast(digests.count - Int(pageCount)) }
        if chain == nil {
            let size = Int64(pageCount) * Int64(pageSize)
            guard ftruncate(file, off_t(size)) == 0 else { throw Files.error(path, "write") }
        } else if !header.isEmpty {
            try Self.withCopy(of: header) { bytes throws(BackupError) in try write(bytes, at: 0) }
        }
        let sha256 = StreamingDigest(.sha256)
        let md5 = needsMD5 ? StreamingDigest(.md5) : nil
        sha256.update(header)
        md5?.update(header)
        let length = chain == nil ? pageSize : frame.count
        let perPiece = max(1, 262_144 / length)
        let piece = UnsafeMutableRawBufferPointer.allocate(
            byteCount: perPiece * length, alignment: 8)
        defer { piece.deallocate() }
        let count = chain == nil ? pageCount : frames
        var done: UInt32 = 0
        while done < count {
            try between()
            let more = min(perPiece, Int(count - done))
            let part = UnsafeMutableRawBufferPointer(rebasing: piece[..<(more * length)])
            let offset = Int64(header.count) + Int64(done) * Int64(length)
            try read(part, at: offset)
            if chain != nil {
                try seal(part, first: done, pageCount: pageCount)
            }
            sha256.update(UnsafeRawBufferPointer(part))
            md5?.update(UnsafeRawBufferPointer(part))
            done += UInt32(more)
        }
        guard fsync(file) == 0 else { throw Files.error(path, "write") }
        return try written(sha256, md5)
    }

    /// Fills the headers of frames that were read, and writes them.
    private func seal(
        _ part: UnsafeMutableRawBufferPointer, first: UInt32, pageCount: UInt32
    ) throws(BackupError) {
        for index in 0..<(part.count / frame.count) {
            let start = index * frame.count
            let frame = UnsafeMutableRawBufferPointer(
                rebasing: part[start..<(start + self.frame.count)])
            let number = UInt32(bigEndian: frame.load(as: UInt32.self))
            let frameNumber = first + UInt32(index) + 1
            chain?.seal(frame, page: number, commit: frameNumber == frames ? pageCount : 0)
            try write(
                UnsafeRawBufferPointer(rebasing: frame[..<WriteAheadLog.frameHeaderLength]),
                at: place(ofFrame: frameNumber))
        }
    }

    private func written(
        _ sha256: StreamingDigest, _ md5: StreamingDigest?
    ) throws(BackupError) -> Written {
        var status = stat()
        guard fstat(file, &status) == 0, let hash = ContentHash(sha256.finish()) else {
            throw Files.error(path, "read")
        }
        let seconds = Int64(status.st_mtim.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        return Written(
            hash: hash, md5: md5.flatMap { MD5Digest($0.finish()) }, size: Int64(status.st_size),
            modified: seconds.partialValue &+ Int64(status.st_mtim.tv_nsec))
    }

    private static func withCopy(
        of bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws(BackupError) -> Void
    ) throws(BackupError) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: bytes)
        try body(UnsafeRawBufferPointer(copy))
    }

    private func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(BackupError) {
        var done = 0
        while done < bytes.count {
            let more = pwrite(
                file, bytes.baseAddress.map { $0 + done }, bytes.count - done,
                off_t(offset) + off_t(done))
            if more < 0, errno == EINTR { continue }
            guard more >= 0 else { throw Files.error(path, "write") }
            done += more
        }
    }

    private func read(
        _ buffer: UnsafeMutableRawBufferPointer, at offset: Int64
    ) throws(BackupError) {
        var done = 0
        while done < buffer.count {
            let more = pread(
                file, buffer.baseAddress.map { $0 + done }, buffer.count - done,
                off_t(offset) + off_t(done))
            if more < 0, errno == EINTR { continue }
            guard more > 0 else {
                throw Files.error(path, "read back", code: more < 0 ? errno : EIO)
            }
            done += more
        }
    }
}
