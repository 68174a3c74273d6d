// A registration of a device, as an app writes it.

internal import Addresses
internal import Engine
internal import TLS

/// What a body asks for.
struct DeviceRequest: Sendable {
    /// Tokens of a device, tags, and bytes of a token and of what belongs to it, at most.
    static let mostTokens = 8
    static let mostTags = 100
    static let longestToken = 4096
    static let longestParameter = 512
    static let parameters: Set = ["p256dh", "auth", "environment", "voip_token", "secret"]

    struct Token: Sendable {
        var provider: ProviderKind
        var app: String?
        var token: String
        var parameters: [String: String]
        /// Where it stands in the body.
        var pointer: String
    }

    var tokens: [Token]
    var resource: String?
    var alias: String?
    var tags: [String]
    var badge: Int64

    /// Those that a device can be woken by.
    static let kinds = ProviderKind.allCases.filter { $0 != .xmpp }

    /// Reads a body.
    init(_ json: JSONValue) throws(APIProblem) {
        var fields = JSONFields(
            json, allowing: ["tokens", "resource", "alias", "tags", "badge"])
        tokens = fields.list("tokens", 1...Self.mostTokens, Self.token)
        if tokens.isEmpty, fields.faults.isEmpty {
            fields.wrong("tokens", "give at least one, in the order in which they are to be tried")
        }
        resource = fields.text("resource", 1...1023)
        if let text = resource, (try? JID("a@example.org/\(text)")) == nil {
            fields.wrong("resource", "this is no resource of an address")
        }
        alias = nil
        if let value = fields["alias"] {
            if let text = value.text, APIName.isKey(text) {
                alias = text
            } else {
                fields.wrong("alias", APIName.keyAdvice)
            }
        }
        tags = fields.list("tags", 0...Self.mostTags) { value, _ in
            value.text.flatMap { APIName.isName($0) ? .success($0) : nil }
                ?? .failure(.one(APIName.advice))
        }
        badge = fields.number("badge", 0...TaskRequest.mostBadge) ?? 0
        if !fields.faults.isEmpty {
            throw APIProblem(.invalid, "see errors for what is wrong", fields.faults)
        }
    }

    private static func token(
        _ value: JSONValue, _ pointer: String
    ) -> Result<Token, JSONFields.ListFault> {
        var fields = JSONFields(
            value, at: pointer, allowing: ["provider", "app", "token", "parameters"])
        let kind = fields["provider"]?.text.flatMap(ProviderKind.init(rawValue:))
        if kind == nil || kind == .xmpp {
            fields.wrong(
                "provider",
                "expected one of " + kinds.map(\.rawValue).joined(separator: ", "))
        }
        let app = fields.text("app", 1...64)
        let text = fields.text("token", 1...longestToken)
        if !fields.has("token") { fields.wrong("token", "the token is missing") }
        var parameters: [String: String] = [:]
        if let value = fields["parameters"] {
            var inner = JSONFields(
                value, at: fields.pointer("parameters"), allowing: Self.parameters)
            for name in Self.parameters.sorted() {
                parameters[name] = inner.text(name, 1...longestParameter)
            }
            fields.add(inner.faults)
        }
        guard fields.faults.isEmpty, let kind, let text else {
            return .failure(.several(fields.faults))
        }
        return .success(
            Token(
                provider: kind, app: app, token: text, parameters: parameters, pointer: pointer))
    }
}
