// XEP-0157: Contact Addresses for XMPP Services. Whom to write to about this server, told to
// whoever asks what it is. None unless given: naming the administrator without being told to
// would say that this account exists.

internal import Engine
internal import Options
internal import XMPP

struct ContactAddresses: Feature {
    static let specifications = [
        Specification("XEP-0157", version: "1.1.1", "Contact Addresses for XMPP Services")
    ]
    private static let formType = "http://jabber.org/network/serverinfo"

    private static let purposes = [
        ("admin", "The administrators"), ("abuse", "Reports of abuse"),
        ("support", "Help for users"), ("security", "Reports of weaknesses"),
        ("feedback", "What users think"), ("sales", "Sales"),
        ("status", "Where it says whether the service works"),
    ]

    init(in host: HostBuilder) {
        host.options.section(
            "features.contact",
            help: "Whom to write to about this server (XEP-0157): URIs that every user can read, "
                + "such as mailto:admin@example.org or xmpp:admin@example.org.")
        let fields = Self.purposes.compactMap { purpose, help -> DataForm.Field? in
            let addresses = host.options.list(
                "features.contact.\(purpose)", default: [], maximumCount: 10, check: Self.problem,
                help: "\(help).")
            guard !addresses.value.isEmpty else { return nil }
            return DataForm.Field(
                "\(purpose)-addresses", type: "list-multi", addresses.value)
        }
        guard !fields.isEmpty else { return }
        host.advertise(DataForm(.result, formType: Self.formType, fields))
    }

    /// What is wrong with a URI (RFC 3986 section 3): a scheme, then characters that a URI may
    /// hold. Letters beyond ASCII pass, as in `xs:anyURI`.
    private static let problem: @Sendable (String) -> String? = { text in
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let first = parts[0].first, first.isASCII, first.isLetter,
            parts[0].allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "+-.".contains($0)) }
            )
        else { return "expected a URI such as mailto:\(text) or xmpp:\(text)" }
        let forbidden = "<>\"{}|\\^`"
        guard !parts[1].isEmpty,
            !parts[1].unicodeScalars.contains(where: {
                $0.value <= 0x20 || $0.value == 0x7F || forbidden.unicodeScalars.contains($0)
            })
        else { return "expected a URI, which has no spaces, quotes or brackets" }
        return nil
    }
}
