// Whether this machine's processor has AES instructions: it decides which cipher comes first.

import COpenSSL

/// What OpenSSL found of the processor when the program started, and goes by.
enum ProcessorFeatures {
    /// The Pi 4's chip has none: there ChaCha20-Poly1305 is several times faster than AES.
    static let hasAES: Bool = {
        guard let settings = OPENSSL_info(OPENSSL_INFO_CPU_SETTINGS) else { return false }
        return saysAES(String(cString: settings))
    }()

    /// Looks for AES in `OPENSSL_armcap=0x…` (Arm) or `OPENSSL_ia32cap=0x…:0x…` (x86), which may be
    /// followed by what a variable of that name changed. The bits are those of OPENSSL_ia32cap(3)
    /// and of OpenSSL's arm_arch.h.
    static func saysAES(_ settings: String) -> Bool {
        let bits = ["OPENSSL_armcap": 2, "OPENSSL_ia32cap": 57]
        let parts = settings.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, let bit = bits[String(parts[0])], parts[1].hasPrefix("0x") else {
            return false
        }
        let digits = parts[1].dropFirst(2).prefix { $0.isHexDigit }
        return (UInt64(digits, radix: 16) ?? 0) >> bit & 1 == 1
    }
}
