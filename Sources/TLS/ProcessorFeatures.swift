// Whether this machine's processor has AES instructions: it decides which cipher comes first.

import Glibc

/// What the kernel says about the processor.
enum ProcessorFeatures {
    /// The Pi 4's chip has none: there ChaCha20-Poly1305 is several times faster than AES.
    static let hasAES: Bool = {
        guard let file = fopen("/proc/cpuinfo", "re") else { return false }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        let count = fread(&buffer, 1, buffer.count, file)
        return listsAES(String(decoding: buffer[..<count], as: UTF8.self))
    }()

    /// Looks for `aes` among the words of `flags` (x86) or `Features` (Arm) of the first core.
    static func listsAES(_ cpuinfo: String) -> Bool {
        for line in cpuinfo.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            let key = parts[0].drop { $0 == " " }.prefix { $0 != "\t" && $0 != " " }
            guard key == "flags" || key == "Features" else { continue }
            return parts[1].split(separator: " ").contains("aes")
        }
        return false
    }
}
