// What files do not tell and system calls do, and the seam through which they are asked.

import Glibc

/// Size and fill of one file system, from `statvfs`.
struct FilesystemStatistics: Sendable, Equatable {
    /// In bytes.
    var size: Double
    /// In bytes, for users other than root.
    var available: Double
    /// How many files it can hold; 0 where it knows no limit.
    var inodes: Double
    var inodesFree: Double
}

/// State of the kernel's clock, from `adjtimex`.
struct ClockState: Sendable, Equatable {
    /// Whether somebody disciplines it: without `STA_UNSYNC`.
    var isSynchronised: Bool
    /// What is left to be corrected, in seconds.
    var offset: Double
    /// In seconds.
    var maximumError: Double
}

/// One moment on two clocks, in seconds.
struct ClockTimes: Sendable, Equatable {
    /// Since 1970, as far as this machine knows: the clock that is set.
    var wall: Double
    /// Since the start of the machine, sleep included: the clock that nobody sets.
    var sinceBoot: Double
}

/// What the kernel answers. Nil stands for "this machine does not have it".
protocol MachineCalls: Sendable {
    /// Asks the file system that is mounted at `mountPoint`, below `root`. May hang with its medium.
    func filesystem(
        at mountPoint: String, below root: String
    ) throws(ReadingError) -> FilesystemStatistics?
    /// How long ago the file at `path` was written, in seconds; negative where the clock was set
    /// back since. `root` is the part of the path that is not the machine's own.
    func age(of path: String, below root: String) throws(ReadingError) -> Double?
    /// Asks the clock.
    func clock() throws(ReadingError) -> ClockState?
    /// Asks systemd whether somebody keeps the clock right; nil where there is no systemd.
    func timeServiceIsSynchronised() throws(ReadingError) -> Bool?
    /// Asks what time it is.
    func times() throws(ReadingError) -> ClockTimes?
    /// Runs `systemctl` with these arguments and returns what it printed; nil where there is none.
    func systemctl(_ arguments: [String]) throws(ReadingError) -> String?
}
