// Preparation of each part of an address (RFC 7622 section 3) and of passwords (RFC 8265).

/// Turns a part of an address as somebody wrote it into the one form that is compared and stored.
///
/// ASCII takes a short way without a library call; everything else goes through the full rules,
/// which give the same answer for ASCII. Nothing here has state: call it from any thread.
public enum Preparation {
    /// The greatest length of a prepared part in bytes (RFC 7622 sections 3.2 to 3.4).
    public static let limit = 1023
    /// The greatest length of a prepared password in bytes.
    public static let passwordLimit = 1024

    /// Prepares a localpart (RFC 7622 section 3.3: UsernameCaseMapped without eight characters).
    public static func local(_ text: String) throws(JIDError) -> String {
        try withUTF8Bytes(of: text) { bytes throws(JIDError) in try local(utf8: bytes) }
    }

    /// Prepares a domainpart (RFC 7622 section 3.2): lower-case U-labels without a trailing dot,
    /// an IPv4 address or a bracketed IPv6 address.
    public static func domain(_ text: String) throws(JIDError) -> String {
        try withUTF8Bytes(of: text) { bytes throws(JIDError) in try domain(utf8: bytes) }
    }

    /// The domain as DNS, TLS server names and certificates have it: A-labels (RFC 5890).
    ///
    /// Address literals stay as they are.
    public static func domainASCII(_ text: String) throws(JIDError) -> String {
        try withUTF8Bytes(of: text) { bytes throws(JIDError) in
            try refusing(.domain, bytes) { () throws(Refusal) in
                try DomainName(bytes).ascii
            }
        }
    }

    /// Prepares a resourcepart (RFC 7622 section 3.4: OpaqueString).
    public static func resource(_ text: String) throws(JIDError) -> String {
        try withUTF8Bytes(of: text) { bytes throws(JIDError) in try resource(utf8: bytes) }
    }

    /// Prepares a password (RFC 8265 section 4.2: OpaqueString).
    ///
    /// SCRAM asks for SASLprep (RFC 5802 section 5.1), which OpaqueString replaces; the two agree
    /// on ASCII and on nearly all that people type.
    public static func password(_ text: String) throws(JIDError) -> String {
        try withUTF8Bytes(of: text) { bytes throws(JIDError) in
            try refusing(.password, bytes) { () throws(Refusal) in
                try opaqueString(bytes, limit: passwordLimit)
            }
        }
    }
}

// The same on raw bytes, for addresses that stand in a stanza.
extension Preparation {
    static func local(utf8 bytes: UnsafeBufferPointer<UInt8>) throws(JIDError) -> String {
        try refusing(.local, bytes) { () throws(Refusal) in
            if let prepared = try ASCIIPreparation.prepare(
                bytes, allowed: localASCII, lowercases: true, limit: limit)
            {
                return prepared
            }
            return try localByFullRules(bytes)
        }
    }

    static func domain(utf8 bytes: UnsafeBufferPointer<UInt8>) throws(JIDError) -> String {
        try refusing(.domain, bytes) { () throws(Refusal) in try DomainName(bytes).unicode }
    }

    static func resource(utf8 bytes: UnsafeBufferPointer<UInt8>) throws(JIDError) -> String {
        try refusing(.resource, bytes) { () throws(Refusal) in
            try opaqueString(bytes, limit: limit)
        }
    }

    /// UsernameCaseMapped without the characters that RFC 7622 section 3.3.1 takes out. They are
    /// looked for afterwards, because width mapping makes them of their fullwidth forms.
    static func localByFullRules(_ bytes: UnsafeBufferPointer<UInt8>) throws(Refusal) -> String {
        let prepared = try PRECISProfile.usernameCaseMapped.enforce(bytes, limit: limit)
        for byte in prepared.utf8 where localExcluded.contains(byte) {
            throw Refusal(.disallowedCharacter)
        }
        return prepared
    }

    private static func opaqueString(
        _ bytes: UnsafeBufferPointer<UInt8>, limit: Int
    ) throws(Refusal) -> String {
        if let prepared = try ASCIIPreparation.prepare(
            bytes, allowed: opaqueASCII, lowercases: false, limit: limit)
        {
            return prepared
        }
        return try PRECISProfile.opaqueString.enforce(bytes, limit: limit)
    }

    private static let localExcluded = ASCIISet(of: "\"&'/:<>@")
    private static let localASCII = ASCIISet(0x21...0x7E, excluding: "\"&'/:<>@")
    private static let opaqueASCII = ASCIISet(0x20...0x7E)

    /// Says of which part of whose text a refusal is.
    private static func refusing(
        _ part: JIDError.Part, _ bytes: UnsafeBufferPointer<UInt8>,
        _ body: () throws(Refusal) -> String
    ) throws(JIDError) -> String {
        do {
            return try body()
        } catch {
            throw JIDError(part: part, reason: error.reason, subject: bytes)
        }
    }
}
