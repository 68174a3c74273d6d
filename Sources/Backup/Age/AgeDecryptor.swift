// Decrypts a file in the format of age (age-encryption.org/v1), from whomever it comes: nothing is
// handed out that the owner of a file key for us has not written.

internal import TLS

/// Takes an encrypted file in any pieces and gives its content; needs memory for two chunks.
///
/// What it gives is genuine, but only after `finish` is it known to be all.
final class AgeDecryptor {
    private enum State {
        /// The header has not ended.
        case header
        /// The header has ended, the nonce has not.
        case nonce(fileKey: [UInt8])
        /// Chunks.
        case payload(AgePayload)
        /// It failed or is finished.
        case over
    }

    private let key: RecoveryKey
    private let subject: String
    private let output: ([UInt8]) throws(BackupError) -> Void
    private var state = State.header
    private var waiting: [UInt8] = []

    /// - Parameter subject: what errors are about, such as the name of the file.
    init(
        key: RecoveryKey, subject: String = "encrypted file",
        output: @escaping ([UInt8]) throws(BackupError) -> Void
    ) {
        self.key = key
        self.subject = subject
        self.output = output
    }

    /// Decrypts more.
    func write(_ bytes: ArraySlice<UInt8>) throws(BackupError) {
        try bytes.withUnsafeBytes { raw in
            Result { () throws(BackupError) in try write(raw) }
        }.get()
    }

    /// Decrypts more.
    func write(_ bytes: UnsafeRawBufferPointer) throws(BackupError) {
        var rest = bytes[...]
        do {
            // One chunk and a byte of the next one is all that ever waits.
            while !rest.isEmpty {
                let part = rest.prefix(AgePayload.sealedLength + 1 - waiting.count)
                waiting.append(contentsOf: part)
                rest = rest.dropFirst(part.count)
                try work()
            }
        } catch {
            state = .over
            waiting = []
            throw error
        }
    }

    /// Decrypts what is left. Throws `damaged` when the end is missing.
    func finish() throws(BackupError) {
        defer {
            state = .over
            waiting = []
        }
        switch state {
        case .header where waiting.isEmpty: throw damaged("it is empty")
        case .header, .nonce: throw damaged("its end is missing")
        case .payload(var payload):
            guard let plain = try open(&payload, waiting[...], isLast: true) else {
                throw damaged("its end is missing or damaged")
            }
            // An empty chunk stands for an empty file only.
            guard !plain.isEmpty || payload.count == 1 else {
                throw damaged("it has an empty end")
            }
            if !plain.isEmpty { try output(plain) }
        case .over: throw damaged("it is damaged")
        }
    }

    /// Does what the waiting bytes allow.
    private func work() throws(BackupError) {
        while true {
            switch state {
            case .header:
                guard try readHeader() else { return }
            case .nonce(let fileKey):
                guard waiting.count >= AgePayload.nonceLength else { return }
                let nonce = Array(waiting.prefix(AgePayload.nonceLength))
                waiting.removeFirst(AgePayload.nonceLength)
                do {
                    state = .payload(try AgePayload(fileKey: fileKey, nonce: nonce))
                } catch {
                    throw BackupError(.temporary, subject: subject, error.description)
                }
            case .payload(var payload):
                // Only when more follows is it known that a chunk is not the last.
                guard waiting.count > AgePayload.sealedLength else { return }
                let chunk = waiting.prefix(AgePayload.sealedLength)
                guard let plain = try open(&payload, chunk, isLast: false) else {
                    throw damaged("a part of it is damaged")
                }
                waiting.removeFirst(AgePayload.sealedLength)
                state = .payload(payload)
                try output(plain)
            case .over:
                throw damaged("it is damaged")
            }
        }
    }

    /// Whether the header was there to be read.
    private func readHeader() throws(BackupError) -> Bool {
        guard let end = AgeHeader.end(in: waiting) else {
            guard waiting.count < AgeHeader.largest else {
                throw damaged("it does not begin as an encrypted file does")
            }
            // What is certainly something else need not be read on.
            let start = Array("age-encryption.org/".utf8)
            guard start.starts(with: waiting.prefix(start.count)) else {
                throw damaged("it does not begin as an encrypted file does")
            }
            return false
        }
        guard end <= AgeHeader.largest, let header = AgeHeader(Array(waiting.prefix(end))) else {
            throw damaged("its header is damaged")
        }
        guard let fileKey = try header.fileKey(for: key) else {
            throw BackupError(
                .key, subject: subject, "it was encrypted for another recovery key",
                advice: "give the key that was printed when these backups began")
        }
        guard header.isGenuine(fileKey) else { throw damaged("its header is damaged") }
        waiting.removeFirst(end)
        state = .nonce(fileKey: fileKey)
        return true
    }

    private func open(
        _ payload: inout AgePayload, _ chunk: ArraySlice<UInt8>, isLast: Bool
    ) throws(BackupError) -> [UInt8]? {
        var opened = payload
        defer { payload = opened }
        let result = chunk.withUnsafeBytes { raw in
            Result { () throws(TLSError) in try opened.open(raw, isLast: isLast) }
        }
        do {
            return try result.get()
        } catch {
            throw BackupError(.temporary, subject: subject, error.description)
        }
    }

    private func damaged(_ message: String) -> BackupError {
        BackupError(
            .damaged, subject: subject, message, advice: "use another copy or an older snapshot")
    }
}
