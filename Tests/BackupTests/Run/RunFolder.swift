// A folder of a test's own, removed with it.

import Glibc
import Testing

@testable import Backup

final class RunFolder {
    let path: String

    init() throws {
        var template = "/tmp/kinglet-run-XXXXXX".utf8CString
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) } != nil
        }
        try #require(made)
        path = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? Files.remove(path) }
}
