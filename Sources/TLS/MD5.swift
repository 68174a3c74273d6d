// MD5, which nothing should rest on any more, and which services of others still ask for.

import COpenSSL

/// MD5 (RFC 1321), only where a protocol demands it.
public enum MD5 {
    /// Bytes of a digest.
    private static let length = 16

    /// The digest; nil where the system's OpenSSL does not offer it.
    public static func hash(_ data: [UInt8]) -> [UInt8]? {
        ERR_clear_error()
        var digest = [UInt8](repeating: 0, count: length)
        var count = 0
        guard EVP_Q_digest(nil, "MD5", nil, data, data.count, &digest, &count) == 1,
            count == length
        else {
            ERR_clear_error()
            return nil
        }
        return digest
    }
}
