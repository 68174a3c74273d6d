// The two messages of a SCRAM client, read strictly (RFC 5802 sections 5.1 and 7).

/// The client-first-message.
struct SCRAMClientFirst: Sendable {
    /// What the client says about channel binding (gs2-cbind-flag).
    enum ChannelBindingFlag: Sendable, Equatable {
        /// `n`: the client cannot bind.
        case notSupported
        /// `y`: the client can, and believes that the server cannot.
        case notOffered
        /// `p=`: the client binds, with this type.
        case required(type: String)
    }

    let flag: ChannelBindingFlag
    let authorizationID: String?
    let username: String
    let nonce: [UInt8]
    /// gs2-header, which the client repeats in its final message.
    let gs2Header: [UInt8]
    /// client-first-message-bare, a part of what both sides sign.
    let bare: [UInt8]

    init(parsing message: [UInt8]) throws(SASLFailure) {
        let fields = try SCRAMAttribute.split(message)
        // gs2-cbind-flag "," [authzid] "," username "," nonce ["," extensions]
        guard fields.count >= 4 else {
            throw .malformed("The first message is incomplete")
        }
        flag = try Self.flag(fields[0])
        authorizationID =
            fields[1].isEmpty
            ? nil : try Self.decodeName(SCRAMAttribute.value("a", of: fields[1]))
        username = try Self.decodeName(SCRAMAttribute.value("n", of: fields[2]))
        let nonceField = try SCRAMAttribute.value("r", of: fields[3])
        guard nonceField.allSatisfy(Self.isNonceByte) else {
            throw .malformed("The nonce has characters that are not printable")
        }
        nonce = Array(nonceField)
        try SCRAMAttribute.checkExtensions(fields.dropFirst(4))
        gs2Header = Array(message[..<fields[2].startIndex])
        bare = Array(message[fields[2].startIndex...])
    }

    /// Whether a nonce may contain `byte`: printable = %x21-2B / %x2D-7E, that is without comma.
    static func isNonceByte(_ byte: UInt8) -> Bool {
        (0x21...0x7E).contains(byte) && byte != UInt8(ascii: ",")
    }

    private static func flag(
        _ field: ArraySlice<UInt8>
    ) throws(SASLFailure) -> ChannelBindingFlag {
        switch field {
        case [UInt8(ascii: "n")]: return .notSupported
        case [UInt8(ascii: "y")]: return .notOffered
        default: break
        }
        let type = try SCRAMAttribute.value("p", of: field)
        // cb-name = 1*(ALPHA / DIGIT / "." / "-")
        guard type.allSatisfy({ SCRAMAttribute.isChannelBindingNameByte($0) }) else {
            throw .malformed("The channel binding type is not a name")
        }
        return .required(type: String(decoding: type, as: UTF8.self))
    }

    /// Decodes a saslname: `=2C` is a comma, `=3D` an equals sign, and no other `=` may appear.
    private static func decodeName(_ name: ArraySlice<UInt8>) throws(SASLFailure) -> String {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(name.count)
        var rest = name
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "=") else {
                decoded.append(byte)
                continue
            }
            switch rest.prefix(2) {
            case [UInt8(ascii: "2"), UInt8(ascii: "C")]: decoded.append(UInt8(ascii: ","))
            case [UInt8(ascii: "3"), UInt8(ascii: "D")]: decoded.append(UInt8(ascii: "="))
            default: throw .malformed("A name has an '=' that is neither =2C nor =3D")
            }
            rest = rest.dropFirst(2)
        }
        return String(decoding: decoded, as: UTF8.self)
    }
}

/// The client-final-message.
struct SCRAMClientFinal: Sendable {
    /// The decoded cbind-input: gs2-header and channel binding data.
    let channelBinding: [UInt8]
    let nonce: [UInt8]
    let proof: [UInt8]
    /// client-final-message-without-proof, a part of what both sides sign.
    let withoutProof: [UInt8]

    init(parsing message: [UInt8]) throws(SASLFailure) {
        let fields = try SCRAMAttribute.split(message)
        // channel-binding "," nonce ["," extensions] "," proof
        guard fields.count >= 3, let proofField = fields.last else {
            throw .malformed("The final message is incomplete")
        }
        channelBinding = try SCRAMAttribute.decodedValue("c", of: fields[0])
        nonce = Array(try SCRAMAttribute.value("r", of: fields[1]))
        proof = try SCRAMAttribute.decodedValue("p", of: proofField)
        try SCRAMAttribute.checkExtensions(fields.dropFirst(2).dropLast())
        withoutProof = Array(message[..<(proofField.startIndex - 1)])
    }
}

/// The `name=value` fields that SCRAM messages are made of.
private enum SCRAMAttribute {
    /// The attributes of RFC 5802 section 5.1. An extension may not take their place, and `m` is
    /// reserved for mandatory extensions, of which we know none and so must refuse all.
    static let reserved = Array("anmrcsipve".utf8)

    /// Cuts a message at its commas. The fields keep their place in `message`.
    static func split(_ message: [UInt8]) throws(SASLFailure) -> [ArraySlice<UInt8>] {
        guard message.count <= SCRAMExchange.maximumMessageLength else {
            throw .malformed(
                "The message is longer than \(SCRAMExchange.maximumMessageLength) bytes")
        }
        guard !message.contains(0), String(validating: message, as: UTF8.self) != nil else {
            throw .malformed("The message is not UTF-8 without NUL")
        }
        return message.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
    }

    /// The value of `field`, which must be `name=value` with a value that is not empty.
    static func value(
        _ name: Unicode.Scalar, of field: ArraySlice<UInt8>
    ) throws(SASLFailure) -> ArraySlice<UInt8> {
        guard field.first != UInt8(ascii: "m") else {
            throw .malformed("The message asks for a mandatory extension")
        }
        guard field.count > 2, field.starts(with: [UInt8(ascii: name), UInt8(ascii: "=")]) else {
            throw .malformed("There is no attribute '\(name)' where it belongs")
        }
        return field.dropFirst(2)
    }

    /// The value of `field`, decoded from base64.
    static func decodedValue(
        _ name: Unicode.Scalar, of field: ArraySlice<UInt8>
    ) throws(SASLFailure) -> [UInt8] {
        guard let bytes = Base64.decode(Array(try value(name, of: field))) else {
            throw .malformed("The attribute '\(name)' is not base64")
        }
        return bytes
    }

    /// Accepts optional extensions, which are ignored (RFC 5802 section 5.1), when well-formed.
    static func checkExtensions(_ fields: ArraySlice<ArraySlice<UInt8>>) throws(SASLFailure) {
        for field in fields {
            guard field.count > 2, let name = field.first, isLetter(name),
                field.dropFirst().first == UInt8(ascii: "="), !reserved.contains(name)
            else {
                throw .malformed("An extension is malformed, mandatory or out of its place")
            }
        }
    }

    static func isChannelBindingNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"): true
        default: isLetter(byte)
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}

extension SASLFailure {
    fileprivate static func malformed(_ text: String) -> SASLFailure {
        SASLFailure(.malformedRequest, text)
    }
}
