// Names, order and conditions: what a client reads on the wire.

import SASL
import TLS
import Testing

@Suite struct SASLMechanismTests {
    @Test("Mechanisms are in order of preference: bound first, stronger first, PLAIN last")
    func order() {
        #expect(
            SASLMechanism.allCases.map(\.rawValue) == [
                "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS",
                "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN",
            ])
    }

    @Test("A mechanism's properties agree with its name", arguments: SASLMechanism.allCases)
    func properties(_ mechanism: SASLMechanism) {
        #expect(mechanism.isPlus == mechanism.rawValue.hasSuffix("-PLUS"))
        #expect(mechanism.usesPassword == (mechanism.rawValue == "PLAIN"))
        guard let hash = mechanism.hash else {
            #expect(mechanism == .plain)
            return
        }
        let plus = mechanism.isPlus ? "-PLUS" : ""
        #expect(mechanism.rawValue == "SCRAM-\(hash.rawValue)\(plus)")
    }

    @Test("Every SCRAM digest has its algorithm")
    func digests() {
        #expect(SCRAMHash.allCases.map(\.digest) == [.sha1, .sha256, .sha512])
    }

    @Test("The conditions are the eleven of RFC 6120 section 6.5")
    func conditions() {
        #expect(
            SASLCondition.allCases.map(\.rawValue) == [
                "aborted", "account-disabled", "credentials-expired", "encryption-required",
                "incorrect-encoding", "invalid-authzid", "invalid-mechanism",
                "malformed-request", "mechanism-too-weak", "not-authorized",
                "temporary-auth-failure",
            ])
    }

    @Test("Channel binding types are announced the strongest first (XEP-0440)")
    func bindingTypes() {
        #expect(TestServer.bindings.types == ["tls-exporter", "tls-server-end-point"])
        #expect(!TestServer.bindings.isEmpty)
    }

    @Test("A type without data is not offered")
    func emptyBindings() {
        #expect(ChannelBindings(offered: [:]).isEmpty)
        let bindings = ChannelBindings(offered: ["tls-exporter": []])
        #expect(bindings.isEmpty)
        #expect(bindings.types.isEmpty)
    }
}
