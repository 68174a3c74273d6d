// Reads a tar archive that may have been written by anybody.

/// Takes an archive in any pieces and tells what is in it, in its order.
final class TarReader {
    /// What comes.
    enum Event {
        /// A folder, or a file whose content follows.
        case entry(TarHeader)
        /// More of the file's content.
        case content(ArraySlice<UInt8>)
        /// The file is complete.
        case end
    }

    private enum State {
        /// A header, or the end of the archive.
        case header
        /// A file: bytes left of it, and of what it is padded with.
        case content(left: Int64, padding: Int64)
        /// Zeros, so many blocks until now.
        case ending(blocks: Int)
        /// It failed.
        case over
    }

    /// Zero blocks that an archive may end with: 10 KiB, as tar pads.
    private static let mostEndBlocks = 20

    private let limits: SecretsArchive.Limits
    private let subject: String
    private let handler: (Event) throws(BackupError) -> Void
    private var state = State.header
    private var block: [UInt8] = []
    private var entries = 0
    private var bytes: Int64 = 0

    init(
        limits: SecretsArchive.Limits = .standard, subject: String,
        handler: @escaping (Event) throws(BackupError) -> Void
    ) {
        self.limits = limits
        self.subject = subject
        self.handler = handler
    }

    /// Reads more.
    func write(_ bytes: ArraySlice<UInt8>) throws(BackupError) {
        do {
            var rest = bytes
            while !rest.isEmpty { try read(&rest) }
        } catch {
            state = .over
            throw error
        }
    }

    /// Throws when the end is missing.
    func finish() throws(BackupError) {
        guard case .ending(let blocks) = state, blocks >= 2, block.isEmpty else {
            throw damaged("its end is missing")
        }
    }

    private func read(_ rest: inout ArraySlice<UInt8>) throws(BackupError) {
        switch state {
        case .content(let left, let padding) where left > 0:
            let part = rest.prefix(Int(clamping: left))
            rest = rest.dropFirst(part.count)
            try handler(.content(part))
            let remaining = left - Int64(part.count)
            state = .content(left: remaining, padding: padding)
            if remaining == 0 { try handler(.end) }
            if remaining == 0, padding == 0 { state = .header }
        case .content(_, let padding):
            let part = rest.prefix(Int(clamping: padding))
            rest = rest.dropFirst(part.count)
            let remaining = padding - Int64(part.count)
            state = remaining == 0 ? .header : .content(left: 0, padding: remaining)
        case .header, .ending:
            let part = rest.prefix(TarHeader.blockLength - block.count)
            rest = rest.dropFirst(part.count)
            block += part
            guard block.count == TarHeader.blockLength else { return }
            defer { block.removeAll(keepingCapacity: true) }
            try readBlock()
        case .over:
            throw damaged("it is damaged")
        }
    }

    private func readBlock() throws(BackupError) {
        let isZero = block.allSatisfy { $0 == 0 }
        if case .ending(let blocks) = state {
            guard isZero, blocks < Self.mostEndBlocks else {
                throw damaged("something follows its end")
            }
            state = .ending(blocks: blocks + 1)
            return
        }
        if isZero {
            state = .ending(blocks: 1)
            return
        }
        let header: TarHeader
        do {
            header = try TarHeader(block: block)
        } catch {
            throw damaged(Self.explain(error))
        }
        entries += 1
        guard entries <= limits.entries else {
            throw damaged("it has more than \(limits.entries) files")
        }
        guard header.size <= limits.file, bytes + header.size <= limits.total else {
            throw damaged("“\(header.path)” in it is too large")
        }
        bytes += header.size
        try handler(.entry(header))
        guard !header.isFolder else { return }
        let over = header.size % Int64(TarHeader.blockLength)
        state = .content(
            left: header.size, padding: over == 0 ? 0 : Int64(TarHeader.blockLength) - over)
        if header.size == 0 {
            state = .header
            try handler(.end)
        }
    }

    private static func explain(_ failure: TarHeader.Failure) -> String {
        switch failure {
        case .checksum: "a header in it has a wrong checksum"
        case .format: "it is not in the format ustar"
        case .kind: "there is something else than files and folders in it"
        case .path: "a path in it leads outside or is too long"
        case .number: "a number in it is none"
        }
    }

    private func damaged(_ message: String) -> BackupError {
        BackupError(
            .damaged, subject: subject, message, advice: "use another copy or an older snapshot")
    }
}
