// What the exit status of rsync, or of the ssh that carried it, means for a backup: whether to
// retry, skip or ask a person, and what that person can do.

internal import Programs

/// How a run of rsync ended.
enum RsyncExit {
    /// What follows from it.
    enum Outcome: Sendable, Equatable {
        case success
        /// Everything is there but for what vanished while it was being read.
        case warning(String)
        case failure(BackupError)
    }

    private typealias Meaning = (code: BackupError.Code, message: String, advice: String)

    /// - Parameters:
    ///   - errors: the last lines that it wrote to its standard error.
    ///   - subject: the target, or what was being done.
    static func outcome(
        of end: Program.End, errors: [String], subject: String
    ) -> Outcome {
        let status: Int
        switch end {
        case .exited(0): return .success
        case .exited(24):
            return .warning("\(subject): some files vanished before they could be sent")
        case .exited(let other): status = other
        case .killed(let signal):
            // Only the kernel (out of memory) and people send this one.
            let advice =
                signal == 9 ? "was the memory full? see the kernel log" : "see the kernel log"
            return .failure(
                BackupError(
                    .temporary, subject: subject, "rsync was killed by signal \(signal)",
                    advice: advice))
        case .stopped:
            return .failure(BackupError(.cancelled, subject: subject, "rsync was asked to end"))
        case .timedOut:
            return .failure(
                BackupError(
                    .temporary, subject: subject, "rsync took longer than it may",
                    advice: "does the other side answer?"))
        }
        // What it wrote says more than the status, which is 12 for nearly everything remote.
        let meaning = meaning(ofText: errors, status: status) ?? meaning(of: status)
        let said = errors.suffix(4).joined(separator: " | ")
        return .failure(
            BackupError(
                meaning.code, subject: subject,
                meaning.message + " (rsync's status \(status)"
                    + (said.isEmpty ? ")" : ": \(said))"),
                advice: meaning.advice, exitStatus: status))
    }

    /// By the table of rsync's manual, section EXIT VALUES; 126 to 128 and 255 are of the remote
    /// shell.
    private static func meaning(of status: Int) -> Meaning {
        switch status {
        case 1: (.permanent, "rsync does not know one of the options", newer)
        case 2: (.permanent, "the two rsyncs speak no common protocol", newer)
        case 3:
            (
                .permanent, "a path that was to be read or written is not there",
                "check the path of the target"
            )
        case 4: (.permanent, "the other side cannot do what was asked", newer)
        case 5:
            (
                .temporary, "the other side did not begin the transfer",
                "is its daemon overloaded, or does it refuse this machine?"
            )
        case 6:
            (
                .permanent, "the daemon cannot write its log",
                "look at the rsync daemon of the other side"
            )
        case 10: (.temporary, "the connection failed", network)
        case 11:
            (
                .temporary, "reading or writing a file failed",
                "is the disk full or dying? see the kernel log of both machines"
            )
        case 12: (.temporary, "the connection broke", network)
        case 13: (.permanent, "rsync reported an error", "see what it says")
        case 14: (.temporary, "rsync's processes lost each other", "it is tried again")
        case 15, 16: (.temporary, "one of rsync's processes crashed", newer)
        case 19, 20: (.cancelled, "rsync was asked to end by a signal", "")
        case 21: (.temporary, "rsync lost one of its processes", "it is tried again")
        case 22:
            (
                .temporary, "rsync had not enough memory",
                "free some memory on this machine or on the other"
            )
        case 23:
            (
                .temporary, "some files could not be transferred",
                "see which; the snapshot is not published"
            )
        case 25:
            (
                .suspicious, "more would have been deleted than may be",
                "look whether the source is complete"
            )
        case 30: (.temporary, "no data came for too long", network)
        case 35: (.temporary, "the daemon did not answer in time", network)
        case 124: (.temporary, "the command on the other side failed", "try it by hand with ssh")
        case 125: (.temporary, "the command on the other side was killed", "it is tried again")
        case 126:
            (
                .permanent, "rsync cannot be run on the other side",
                "look at its permissions there"
            )
        case 127:
            (
                .permanent, "rsync is not installed on the other side",
                "install rsync (and rrsync) there"
            )
        case 255: (.temporary, "ssh lost or refused the connection", network)
        case 129...159:
            (.temporary, "the other side was ended by signal \(status - 128)", "it is tried again")
        default:
            // What nobody knows is a failure, and a person should see it.
            (.permanent, "rsync ended in a way that is not known", "see what it says")
        }
    }

    private static let newer = "install the same new version of rsync (3.4.4 or newer) on both"
    private static let network = "is the other machine on, and is the network right?"

    /// Texts of rsync, rrsync, ssh and the C library in the plain locale. The first that fits
    /// counts.
    private static let texts: [(text: String, meaning: Meaning)] = [
        (
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            (
                .permanent, "the other machine is not the one that it was: another host key",
                "if it was installed anew, run `kinglet backup target add` again"
            )
        ),
        (
            "Host key verification failed",
            (
                .permanent, "the other machine's host key is not the one that was confirmed",
                "run `kinglet backup target add` and compare the fingerprint"
            )
        ),
        (
            "Too many authentication failures",
            (.permanent, "the other machine refuses our key", "look at authorized_keys there")
        ),
        (
            "bad permissions",
            (.permanent, "ssh does not use a key that others can read", "chmod 600 the key")
        ),
        (
            "@ERROR: auth failed",
            (
                .permanent, "the daemon refuses the user or the password",
                "look at password_file here, and at auth users and secrets file there"
            )
        ),
        (
            "@ERROR: Unknown module",
            (.permanent, "the daemon has no such module", "look at rsyncd.conf there")
        ),
        (
            "@ERROR: access denied",
            (.permanent, "the daemon refuses this machine", "look at hosts allow there")
        ),
        (
            "@ERROR: max connections",
            (.temporary, "the daemon has as many connections as it may", "it is tried again")
        ),
        (
            "module is read only",
            (.permanent, "the daemon's module is read-only", "set read only = no there")
        ),
        (
            "module is write only",
            (
                .permanent, "the daemon's module is write-only",
                "set write only = no there: what cannot be read cannot be verified or restored"
            )
        ),
        (
            "Another instance of rrsync",
            (.busy, "another rsync is still at work there", "it is tried again")
        ),
        (
            "has been disabled on this server",
            (
                .permanent, "the restricted key does not allow this",
                "see the line in authorized_keys there"
            )
        ),
        (
            "write-only server",
            (
                .permanent, "the restricted key does not allow reading",
                "take -wo out of the line in authorized_keys there"
            )
        ),
        (
            "to read-only server is not allowed",
            (
                .permanent, "the restricted key does not allow writing",
                "take -ro out of the line in authorized_keys there"
            )
        ),
        (
            "FileNotFoundError",
            (
                .absent, "the folder of the restricted key is not there",
                "is the disk mounted there? on a new target make the folder first"
            )
        ),
        (
            "Restricted directory does not exist",
            (
                .absent, "the folder of the restricted key is not there",
                "is the disk mounted there?"
            )
        ),
        ("No space left on device", full), ("Disk quota exceeded", full),
        (
            "Read-only file system",
            (
                .permanent, "the file system of the target is read-only",
                "check the disk there, then mount it again"
            )
        ),
        (
            "Input/output error",
            (
                .temporary, "a disk reports errors",
                "the medium may be dying; see the kernel log of both machines"
            )
        ),
        ("Could not resolve hostname", away), ("getaddrinfo", away),
        ("Connection refused", away), ("No route to host", away),
        ("Connection timed out", away), ("Network is unreachable", away),
        ("Host is down", away), ("timeout waiting for daemon", away),
        (
            "rsync: command not found",
            (
                .permanent, "rsync is not installed on the other side",
                "install rsync (and rrsync) there"
            )
        ),
        (
            "rsync: not found",
            (
                .permanent, "rsync is not installed on the other side",
                "install rsync (and rrsync) there"
            )
        ),
        (
            "unknown option",
            (.permanent, "the other side's rsync does not know an option", newer)
        ),
    ]
    private static let full: Meaning = (
        .full, "there is no space left at the target", "free some space there, or keep less"
    )
    private static let keyRefused: Meaning = (
        .permanent, "the other machine refuses our key",
        "put the line that `kinglet backup target add` prints into authorized_keys there"
    )
    private static let accessDenied: Meaning = (
        .permanent, "rsync may not read or write a file or a folder",
        "give the user that kinglet runs as here, or the one that rsync runs as there, access to it"
    )
    private static let away: Meaning = (
        .absent, "the other machine does not answer", network
    )

    private static func meaning(ofText errors: [String], status: Int) -> Meaning? {
        // These have one meaning whatever was written.
        if [19, 20, 25].contains(status) { return nil }
        for (text, meaning) in texts where errors.contains(where: { $0.contains(text) }) {
            return meaning
        }
        // ssh says in brackets which ways it tried, rsync the number of the error.
        let denied = errors.first { $0.contains("Permission denied (") }
        guard let denied else { return nil }
        // What rsync makes of ssh's end, 255 or 12, is a matter of which of its processes sees it first.
        let isOfSSH = ["publickey", "password", "keyboard-interactive", "hostbased", "gssapi"]
            .contains { denied.contains("Permission denied (\($0)") }
        return status != 23 && isOfSSH ? keyRefused : accessDenied
    }
}
