// Agreement on keys over P-256 (NIST SP 800-56A; RFC 8291 uses it).

import COpenSSL

/// Diffie-Hellman on P-256: a secret has 32 bytes, a public key the 65 of an uncompressed point, and
/// what two agree on is the 32 of its first coordinate. Safe on any thread.
public enum P256 {
    /// Bytes of a secret, and of what two agree on.
    public static let secretLength = 32
    /// Bytes of a public key.
    public static let publicKeyLength = 65

    /// A new secret and its public key.
    public static func generate() throws(TLSError) -> (secret: [UInt8], publicKey: [UInt8]) {
        ERR_clear_error()
        let number = try Number()
        guard let order = EC_GROUP_get0_order(try group()) else { throw .openSSL(operation) }
        repeat {
            guard BN_priv_rand_range(number.pointer, order) == 1 else { throw .openSSL(operation) }
        } while BN_is_zero(number.pointer) == 1
        var secret = [UInt8](repeating: 0, count: secretLength)
        guard BN_bn2binpad(number.pointer, &secret, Int32(secretLength)) == Int32(secretLength)
        else { throw .openSSL(operation) }
        return (secret, try publicKey(of: number))
    }

    /// The public key that belongs to a secret.
    public static func publicKey(of secret: [UInt8]) throws(TLSError) -> [UInt8] {
        try publicKey(of: number(of: secret))
    }

    /// What the owner of a secret shares with the owner of a public key. One that is no point of the
    /// curve is refused: what is agreed on with it would tell of the secret.
    public static func agree(secret: [UInt8], with publicKey: [UInt8]) throws(TLSError) -> [UInt8] {
        let number = try number(of: secret)
        let group = try group()
        let other = try Point(group)
        // 4: both coordinates follow (SEC 1 section 2.3.4). It also says whether they are a point's.
        guard publicKey.count == publicKeyLength, publicKey[0] == 4,
            EC_POINT_oct2point(group, other.pointer, publicKey, publicKey.count, nil) == 1
        else { throw malformed("the public key is no point of the curve P-256") }
        let shared = try Point(group)
        guard EC_POINT_mul(group, shared.pointer, nil, other.pointer, number.pointer, nil) == 1
        else { throw .openSSL(operation) }
        return Array(try bytes(of: shared, group)[1...secretLength])
    }

    // MARK: OpenSSL's numbers and points

    private static let operation = "agree on a key"

    /// The numbers that OpenSSL computes with are freed with their values gone.
    private struct Number: ~Copyable {
        let pointer: OpaquePointer

        init() throws(TLSError) {
            guard let pointer = BN_secure_new() else { throw .openSSL(operation) }
            // The time that a computation takes does not tell of it.
            BN_set_flags(pointer, BN_FLG_CONSTTIME)
            self.pointer = pointer
        }

        deinit { BN_clear_free(pointer) }
    }

    private struct Point: ~Copyable {
        let pointer: OpaquePointer

        init(_ group: OpaquePointer) throws(TLSError) {
            guard let pointer = EC_POINT_new(group) else { throw .openSSL(operation) }
            self.pointer = pointer
        }

        deinit { EC_POINT_clear_free(pointer) }
    }

    /// The curve, made once and kept, for making it costs as much as using it.
    ///
    /// Unchecked because the pointer has no Sendable conformance of its own. It is sound: those who
    /// compute with an `EC_GROUP` take it as constant, and nobody changes or frees it.
    private struct Curve: @unchecked Sendable {
        let pointer: OpaquePointer?
        static let p256 = Curve(pointer: EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1))
    }

    private static func group() throws(TLSError) -> OpaquePointer {
        guard let pointer = Curve.p256.pointer else { throw .openSSL(operation) }
        return pointer
    }

    /// A secret as a number from 1 to the order of the curve less 1.
    private static func number(of secret: [UInt8]) throws(TLSError) -> Number {
        ERR_clear_error()
        guard secret.count == secretLength else {
            throw malformed("a secret must have \(secretLength) bytes")
        }
        let number = try Number()
        guard BN_bin2bn(secret, Int32(secretLength), number.pointer) != nil else {
            throw .openSSL(operation)
        }
        guard BN_is_zero(number.pointer) == 0,
            BN_cmp(number.pointer, EC_GROUP_get0_order(try group())) < 0
        else { throw malformed("the secret is no number below the curve's order") }
        return number
    }

    private static func publicKey(of number: borrowing Number) throws(TLSError) -> [UInt8] {
        let group = try group()
        let point = try Point(group)
        guard EC_POINT_mul(group, point.pointer, number.pointer, nil, nil, nil) == 1 else {
            throw .openSSL(operation)
        }
        return try bytes(of: point, group)
    }

    private static func bytes(
        of point: borrowing Point, _ group: OpaquePointer
    ) throws(TLSError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: publicKeyLength)
        // It cannot be the point at infinity, for the curve's order is prime.
        guard
            EC_POINT_point2oct(
                group, point.pointer, POINT_CONVERSION_UNCOMPRESSED, &bytes, bytes.count, nil)
                == publicKeyLength
        else { throw .openSSL(operation) }
        return bytes
    }

    private static func malformed(_ message: String) -> TLSError {
        ERR_clear_error()
        return TLSError(code: .malformed, operation: operation, message: message)
    }
}
