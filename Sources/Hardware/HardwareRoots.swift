// Where the files of a machine are: on the machine itself, or in a recorded tree.

/// The directories and device nodes that readings look at.
public struct HardwareRoots: Sendable, Equatable {
    /// What stands before the machine's own paths; empty on the machine itself.
    public private(set) var prefix = ""
    /// The kernel's object tree.
    public var sys = "/sys"
    /// The kernel's process and device-tree files.
    public var proc = "/proc"
    /// Device nodes.
    public var dev = "/dev"
    /// The operating system's configuration.
    public var etc = "/etc"
    /// What other programs leave for this boot.
    public var run = "/run"
    /// What other programs keep.
    public var lib = "/var/lib"
    /// Path of a file with recorded mailbox answers (``RecordedMailbox``); nil on the machine
    /// itself, whose answers come from its firmware only.
    public var mailboxRecording: String?
    /// Path of a file with recorded answers of system calls (``RecordedCalls``); nil on the machine
    /// itself.
    public var callsRecording: String?

    /// The machine that this program runs on.
    public init() {}

    /// The same directories below `root`: a recorded tree, or another mount point of the same
    /// kernel (a container that sees its host under `/host`). An empty root and `/` mean the
    /// machine itself.
    public init(root: String) {
        var prefix = Substring(root)
        while prefix.hasSuffix("/") { prefix.removeLast() }
        guard !prefix.isEmpty else { return }
        self.prefix = String(prefix)
        sys = prefix + sys
        proc = prefix + proc
        dev = prefix + dev
        etc = prefix + etc
        run = prefix + run
        lib = prefix + lib
        mailboxRecording = prefix + "/mailbox"
        callsRecording = prefix + "/calls"
    }
}
