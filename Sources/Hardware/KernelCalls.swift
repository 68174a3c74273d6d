// The system calls of the running machine.

import CTimex
import Glibc

/// Asks the kernel, and systemd through its own program.
struct KernelCalls: MachineCalls {
    /// Whether the service manager that can be asked is the one of the machine that is read.
    var asksSystemd = true

    func filesystem(
        at mountPoint: String, below root: String
    ) throws(ReadingError) -> FilesystemStatistics? {
        let path = root + mountPoint
        var answer = statvfs()
        guard statvfs(path, &answer) == 0 else {
            let code = errno
            if [ENOENT, ENOTDIR, ENOSYS].contains(code) { return nil }
            throw ReadingError(systemError: code, subject: path)
        }
        let block = Double(answer.f_frsize)
        return FilesystemStatistics(
            size: Double(answer.f_blocks) * block, available: Double(answer.f_bavail) * block,
            inodes: Double(answer.f_files), inodesFree: Double(answer.f_favail))
    }

    func age(of path: String, below root: String) throws(ReadingError) -> Double? {
        var file = stat()
        guard stat(path, &file) == 0 else {
            let code = errno
            if [ENOENT, ENOTDIR].contains(code) { return nil }
            throw ReadingError(systemError: code, subject: path)
        }
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Double(now.tv_sec) - Double(file.st_mtim.tv_sec)
    }

    func clock() throws(ReadingError) -> ClockState? {
        var answer = kernel_timex()  // No modes: nothing is set.
        guard adjtimex(&answer) >= 0 else {
            throw ReadingError(systemError: errno, subject: "adjtimex")
        }
        func has(_ bit: Int) -> Bool { Int(answer.status) & bit != 0 }
        return ClockState(
            isSynchronised: !has(TIMEX_UNSYNCHRONISED),
            offset: Double(answer.offset) * (has(TIMEX_NANO) ? 1e-9 : 1e-6),
            maximumError: Double(answer.maximum_error) * 1e-6)
    }

    func times() throws(ReadingError) -> ClockTimes? {
        // A thread that is held up between the two clocks would see a step that nobody made.
        for _ in 0..<8 {
            let before = Self.seconds(CLOCK_BOOTTIME)
            let wall = Self.seconds(CLOCK_REALTIME)
            let after = Self.seconds(CLOCK_BOOTTIME)
            if after - before < 0.1 {
                return ClockTimes(wall: wall, sinceBoot: (before + after) / 2)
            }
        }
        return nil
    }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    func systemctl(_ arguments: [String]) throws(ReadingError) -> String? {
        try output("/usr/bin/systemctl", arguments)
    }

    func timeServiceIsSynchronised() throws(ReadingError) -> Bool? {
        let program = "/usr/bin/timedatectl"
        guard let answer = try output(program, ["show", "--property=NTPSynchronized", "--value"])
        else { return nil }
        switch answer {
        case "yes\n": return true
        case "no\n": return false
        default:
            throw ReadingError(
                .malformed, subject: program,
                message: "cannot understand \(SystemFile.quoted(answer))",
                advice: "try it by hand: '\(program) show'")
        }
    }

    /// What a program of systemd's prints; nil where systemd does not run.
    private func output(_ path: String, _ arguments: [String]) throws(ReadingError) -> String? {
        // What the programs themselves ask before they say that systemd does not run here.
        guard asksSystemd, SystemFile.exists("/run/systemd/system"), SystemFile.exists(path)
        else { return nil }
        return try ChildProcess(path: path, arguments: arguments).output()
    }
}
