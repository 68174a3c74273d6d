// The mailbox of the running machine, through the device nodes of its kernel.
//
// THREADS: any. `ioctl` may wait for the firmware for a second; `MailboxTurn` lets one question
// through at a time and bounds the wait of the others.

import Glibc

/// Asks the firmware through `/dev/vcio_gencmd` (commands) and `/dev/vcio` (property tags, and
/// commands for which there is no tag).
///
/// The nodes are opened for each question: they belong to group `video`, and a change of their
/// mode takes effect without a restart.
final class DeviceMailbox: FirmwareMailbox {
    private let dev: String
    private let turn = MailboxTurn()

    /// A mailbox on the device nodes below `dev`.
    init(dev: String) {
        self.dev = dev
    }

    /// `_IOWR(100, 0, char *)`: direction in the top two bits, then size, type and number.
    static let propertyRequest: UInt =
        3 << 30 | UInt(MemoryLayout<UnsafeMutablePointer<CChar>>.size) << 16 | 100 << 8

    /// Sends a command to `vcio_gencmd`, and to `vcio` if no tag tells the same; nil when the
    /// kernel does not have the nodes, or the firmware does not know the command.
    func answer(to command: FirmwareCommand) throws(ReadingError) -> String? {
        let message = MailboxMessage(command)
        var ways = IndependentParts()
        for node in command.equalProperty == nil ? ["vcio_gencmd", "vcio"] : ["vcio_gencmd"] {
            var answered: MailboxMessage?
            ways.attempt { () throws(ReadingError) in
                answered = try exchange(message, with: "\(dev)/\(node)")
            }
            // The same firmware is behind both nodes, so what it answers to one is the answer.
            if let answered {
                return try answered.commandAnswer(subject: "\(dev)/\(node) \(command.text)")
            }
        }
        try ways.finish()
        return nil
    }

    /// Asks `vcio`; nil when the machine does not have that node.
    func answer(to property: PropertyTag) throws(ReadingError) -> [UInt32]? {
        let node = "\(dev)/vcio"
        return try exchange(MailboxMessage(property), with: node)?
            .propertyAnswer(subject: "\(node) \(property)")
    }

    private func exchange(
        _ message: MailboxMessage, with node: String
    ) throws(ReadingError) -> MailboxMessage? {
        try turn.take(subject: node) { () throws(ReadingError) -> MailboxMessage? in
            // O_NONBLOCK: opening a FIFO that stands where the node is expected must not wait.
            let descriptor = open(node, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
            guard descriptor >= 0 else {
                let code = errno
                if [ENOENT, ENOTDIR, ENODEV, ENXIO].contains(code) { return nil }
                throw ReadingError(systemError: code, subject: node)
            }
            defer { close(descriptor) }
            var message = message
            // The kernel reads and writes as many bytes as word 0 says: the size of `words`.
            let failure: Int32 = message.words.withUnsafeMutableBytes { buffer in
                guard let address = buffer.baseAddress else { return EINVAL }
                return ioctl(descriptor, Self.propertyRequest, address) < 0 ? errno : 0
            }
            guard failure == 0 else { throw ReadingError(systemError: failure, subject: node) }
            return message
        }
    }
}
