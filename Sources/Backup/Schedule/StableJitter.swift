// Machines with the same schedule shall not all call at the same second.

/// A delay that differs between machines and jobs and stays as it is.
enum StableJitter {
    /// What tells this machine from others.
    static var machine: String {
        let bytes = (try? Files.read("/etc/machine-id", limit: 256)) ?? nil
        return bytes.map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// Uniform in `0..<jitter`, in seconds; 0 for no jitter.
    ///
    /// - Parameters:
    ///   - machine: what tells machines apart: /etc/machine-id, or the installation's own name.
    ///   - job: the job's name.
    static func seconds(machine: String, job: String, jitter: Int64) -> Int64 {
        guard jitter > 0 else { return 0 }
        // FNV-1a, stirred (murmur3) because its high bits alone are poor for short names.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in Array(machine.utf8) + [0] + Array(job.utf8) {
            hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
        }
        hash = (hash ^ (hash >> 33)) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ (hash >> 33)) &* 0xC4CE_B9FE_1A85_EC53
        hash ^= hash >> 33
        return Int64(hash.multipliedFullWidth(by: UInt64(jitter)).high)
    }
}
