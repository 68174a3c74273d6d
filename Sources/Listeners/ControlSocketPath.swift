// Where the control socket is. A socket's address holds only 107 bytes, of which SwiftNIO takes 103,
// so in a deep directory it is reached through a descriptor of that directory.

internal import Glibc

/// The path to give to the kernel, and what keeps it valid.
struct ControlSocketPath: ~Copyable {
    static let longest = 103

    let text: String
    private let directory: CInt

    init(_ path: String) {
        guard path.utf8.count > Self.longest, let slash = path.lastIndex(of: "/") else {
            text = path
            directory = -1
            return
        }
        directory = open(String(path[..<slash]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        text = directory < 0 ? path : "/proc/self/fd/\(directory)\(path[slash...])"
    }

    deinit { if directory >= 0 { close(directory) } }
}
