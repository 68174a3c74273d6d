// Stands in for `RecoveryKey.seal` until that is there.

internal import TLS

extension RecoveryKey {
    func seal(_ bytes: [UInt8]) -> String {
        let algorithm = DigestAlgorithm.sha256
        let key = algorithm.hmac(key: secret, Array("kinglet seal".utf8))
        return ContentHash(algorithm.hmac(key: key, bytes))?.description ?? ""
    }
}
