// Encrypts a file for the recovery key, in the format of age (age-encryption.org/v1).

internal import TLS

/// Takes a file in pieces and gives its encrypted form in pieces; needs memory for two chunks.
final class AgeEncryptor {
    private let output: ([UInt8]) throws(BackupError) -> Void
    private var payload: AgePayload
    /// What may be the last chunk: not more than one.
    private var waiting: [UInt8] = []
    private var isFinished = false

    /// Writes the header at once.
    init(
        recipient key: RecoveryKey, output: @escaping ([UInt8]) throws(BackupError) -> Void
    ) throws(BackupError) {
        self.output = output
        let fileKey = SecureRandom.bytes(AgeHeader.fileKeyLength)
        let nonce = SecureRandom.bytes(AgePayload.nonceLength)
        let recipient = try key.publicKey
        let header: [UInt8]
        do {
            header = try AgeHeader.make(
                fileKey: fileKey, for: recipient,
                ephemeral: SecureRandom.bytes(X25519.keyLength))
            payload = try AgePayload(fileKey: fileKey, nonce: nonce)
        } catch {
            throw Self.failed(error)
        }
        waiting.reserveCapacity(AgePayload.chunkLength)
        try output(header + nonce)
    }

    /// Encrypts more.
    func write(_ bytes: UnsafeRawBufferPointer) throws(BackupError) {
        precondition(!isFinished, "the file is finished")
        var rest = bytes[...]
        while !rest.isEmpty {
            if waiting.count == AgePayload.chunkLength { try sealWaiting(isLast: false) }
            // Whole chunks that something follows need not wait.
            if waiting.isEmpty, rest.count > AgePayload.chunkLength {
                let chunk = UnsafeRawBufferPointer(rebasing: rest.prefix(AgePayload.chunkLength))
                try seal(chunk, isLast: false)
                rest = rest.dropFirst(AgePayload.chunkLength)
            } else {
                let part = rest.prefix(AgePayload.chunkLength - waiting.count)
                waiting.append(contentsOf: part)
                rest = rest.dropFirst(part.count)
            }
        }
    }

    /// Encrypts more.
    func write(_ bytes: ArraySlice<UInt8>) throws(BackupError) {
        try bytes.withUnsafeBytes { raw in
            Result { () throws(BackupError) in try write(raw) }
        }.get()
    }

    /// Encrypts what is left; without it the file does not open.
    func finish() throws(BackupError) {
        try sealWaiting(isLast: true)
        isFinished = true
    }

    private func sealWaiting(isLast: Bool) throws(BackupError) {
        try waiting.withUnsafeBytes { raw in
            Result { () throws(BackupError) in try seal(raw, isLast: isLast) }
        }.get()
        waiting.removeAll(keepingCapacity: true)
    }

    private func seal(_ chunk: UnsafeRawBufferPointer, isLast: Bool) throws(BackupError) {
        let sealed: [UInt8]
        do {
            sealed = try payload.seal(chunk, isLast: isLast)
        } catch {
            throw Self.failed(error)
        }
        try output(sealed)
    }

    private static func failed(_ error: TLSError) -> BackupError {
        BackupError(.temporary, subject: "encryption", error.description)
    }
}
