// Whether a certificate is another server's (RFC 6120 section 13.7, RFC 6125 section 6): by its
// alternative names only. A common name is no proof.

import COpenSSL

extension Certificate {
    /// Whether it vouches for an XMPP server of a domain.
    ///
    /// - Parameters:
    ///   - domain: in ASCII (A-labels), lower case.
    ///   - unicode: the same domain in U-labels, where that is another text.
    func vouchesForServer(of domain: String, unicode: String?) -> Bool {
        withAlternativeNames { name in
            var type: Int32 = -1
            guard let value = GENERAL_NAME_get0_value(name, &type) else { return false }
            if type == GEN_DNS {
                let text = UnsafePointer(value.assumingMemoryBound(to: ASN1_STRING.self))
                return Self.isName(Self.text(text), for: domain)
            }
            if let text = kinglet_GENERAL_NAME_other(name, NID_SRVName, V_ASN1_IA5STRING) {
                return Self.text(text)?.asciiLowercased == "_xmpp-server." + domain
            }
            if let text = kinglet_GENERAL_NAME_other(name, NID_XmppAddr, V_ASN1_UTF8STRING) {
                let address = Self.text(text)?.asciiLowercased
                return address == domain || unicode != nil && address == unicode
            }
            return false
        }
    }

    /// A wildcard is the whole leftmost label, stands for one label, and not for those directly
    /// below a top-level domain.
    private static func isName(_ name: String?, for domain: String) -> Bool {
        guard let name = name?.asciiLowercased else { return false }
        if name == domain { return true }
        guard name.hasPrefix("*."), let dot = domain.firstIndex(of: "."), dot != domain.startIndex
        else { return false }
        let parent = name.dropFirst(2)
        return parent.contains(".") && parent == domain[domain.index(after: dot)...]
    }

    /// The text; nil where it is no UTF-8 or has a zero in it, which would end it early elsewhere.
    private static func text(_ string: UnsafePointer<ASN1_STRING>) -> String? {
        let bytes = bytes(of: string)
        guard !bytes.isEmpty, !bytes.contains(0) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }
}
