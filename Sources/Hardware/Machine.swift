// The machine as readings see it: its files, its firmware, and whether it is a Raspberry Pi.

/// The machine that is read.
struct Machine: Sendable {
    /// Where its files are.
    let roots: HardwareRoots
    /// How its firmware is asked.
    let mailbox: any FirmwareMailbox
    /// What only system calls tell.
    let calls: any MachineCalls
    /// What is remembered across restarts and boots.
    let memory: MachineMemory

    /// Makes a machine; without a mailbox, one is chosen by `roots`: recorded answers when a
    /// recorded tree has them, the device nodes otherwise.
    init(roots: HardwareRoots, mailbox: (any FirmwareMailbox)? = nil) {
        self.roots = roots
        memory = MachineMemory(boot: MachineMemory.bootIdentifier(roots))
        if let recording = roots.callsRecording, RecordedCalls.exist(at: recording) {
            calls = RecordedCalls(path: recording)
        } else {
            calls = KernelCalls(asksSystemd: roots.prefix.isEmpty)
        }
        if let mailbox {
            self.mailbox = mailbox
        } else if let recording = roots.mailboxRecording, SystemFile.exists(recording) {
            self.mailbox = RecordedMailbox(path: recording)
        } else {
            self.mailbox = DeviceMailbox(dev: roots.dev)
        }
    }

    /// The model from the device tree when this is a Raspberry Pi; nil on any other machine.
    func raspberryPiModel() throws(ReadingError) -> String? {
        guard let model = try SystemFile.text("\(roots.proc)/device-tree/model"),
            model.hasPrefix("Raspberry Pi")
        else { return nil }
        return model
    }
}
