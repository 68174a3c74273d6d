// The mailbox of the running machine, through the device nodes of its kernel.
//
// THREADS: `ioctl` may wait for the firmware for a second. Questions are serialised by `turn`; the
// one caller in the program is the monitor's own thread.

import Glibc
import Synchronization

/// Asks the firmware through `/dev/vcio_gencmd` (commands) and `/dev/vcio` (property tags).
///
/// The nodes are opened for each question: they belong to group `video`, and a change of their
/// mode takes effect without a restart.
public final class DeviceMailbox: FirmwareMailbox {
    private let dev: String
    private let turn = Mutex<Void>(())

    /// A mailbox on the device nodes below `dev`.
    public init(dev: String) {
        self.dev = dev
    }

    /// `_IOWR(100, 0, char *)`: direction in the top two bits, then size, type and number.
    static let propertyRequest: UInt =
        3 << 30 | UInt(MemoryLayout<UnsafeMutablePointer<CChar>>.size) << 16 | 100 << 8

    /// Sends a command to `vcio_gencmd`; nil when the kernel does not have that node.
    public func answer(to command: FirmwareCommand) throws(ReadingError) -> String? {
        let node = "\(dev)/vcio_gencmd"
        return try exchange(MailboxMessage(command), with: node)?
            .commandAnswer(subject: "\(node) \(command.rawValue)")
    }

    /// Asks `vcio`; nil when the machine does not have that node.
    public func answer(to property: PropertyTag) throws(ReadingError) -> [UInt32]? {
        let node = "\(dev)/vcio"
        return try exchange(MailboxMessage(property), with: node)?
            .propertyAnswer(subject: "\(node) \(property)")
    }

    private func exchange(
        _ message: MailboxMessage, with node: String
    ) throws(ReadingError) -> MailboxMessage? {
        try turn.withLock { (_) throws(ReadingError) -> MailboxMessage? in
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
