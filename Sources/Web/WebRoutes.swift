// Which route a request is for. No sockets here.

/// A request's target: a path and what follows the `?` (RFC 9112 section 3.2).
struct WebTarget: Equatable {
    let path: String
    let query: String

    /// Reads the origin form, `/path?query`, or the absolute form, `https://host/path?query`; nil
    /// for anything else.
    init?(_ text: String) {
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        var rest = text[...]
        for scheme in ["https://", "http://"] where rest.lowercased().hasPrefix(scheme) {
            rest = rest.dropFirst(scheme.count)
            rest = rest.drop { $0 != "/" && $0 != "?" }
            if !rest.hasPrefix("/") { rest = "/" + rest }
            break
        }
        guard rest.hasPrefix("/"), !rest.contains("#") else { return nil }
        let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(parts.first ?? "/")
        query = parts.count > 1 ? String(parts[1]) : ""
    }

    var text: String { query.isEmpty ? path : "\(path)?\(query)" }
}

/// All routes of a listener.
struct WebRoutes: Sendable {
    /// What a request gets.
    enum Judgement {
        /// This route's answer, without the body for HEAD.
        case route(WebRoute, parameter: String, isHead: Bool)
        /// 204, with the methods that there are.
        case options(allow: String)
        /// 405, with the methods that there are.
        case methodNotAllowed(allow: String)
        /// 404.
        case notFound
    }

    private let routes: [WebRoute.Path: [WebRoute]]

    init(_ routes: [WebRoute]) {
        self.routes = Dictionary(grouping: routes, by: \.path)
    }

    func judge(method: String, path: String) -> Judgement {
        guard let (candidates, parameter) = find(path) else { return .notFound }
        let wanted = method == "HEAD" ? "GET" : method
        if let route = candidates.first(where: { $0.method.rawValue == wanted }) {
            return .route(route, parameter: parameter, isHead: method == "HEAD")
        }
        var allowed = candidates.map(\.method.rawValue)
        if allowed.contains("GET") { allowed.append("HEAD") }
        allowed.append("OPTIONS")
        let allow = allowed.sorted().joined(separator: ", ")
        return method == "OPTIONS" ? .options(allow: allow) : .methodNotAllowed(allow: allow)
    }

    /// Whether a body of so many bytes, nil for an unknown number, is worth sending.
    func takesBody(method: String, path: String, length: Int?) -> Bool {
        guard case .route(let route, _, _) = judge(method: method, path: path) else {
            return false
        }
        return (length ?? 0) <= route.bodyLimit
    }

    private func find(_ path: String) -> ([WebRoute], String)? {
        if let exact = routes[.exact(path)] { return (exact, "") }
        guard let slash = path.lastIndex(of: "/") else { return nil }
        if let found = routes[.parameter(after: String(path[...slash]))] {
            return Self.parameter(path[path.index(after: slash)...]).map { (found, $0) }
        }
        guard let first = path[..<slash].lastIndex(of: "/"),
            let found = routes[
                .inner(after: String(path[...first]), before: String(path[slash...]))]
        else { return nil }
        return Self.parameter(path[path.index(after: first)..<slash]).map { (found, $0) }
    }

    private static func parameter(_ segment: Substring) -> String? {
        segment.isEmpty ? nil : decoded(segment)
    }

    /// Takes percent-encoding away (RFC 3986 section 2.1); nil where it is wrong or no text.
    static func decoded(_ text: Substring) -> String? {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(digit),
                let low = rest.popFirst().flatMap(digit)
            else { return nil }
            bytes.append(high << 4 | low)
        }
        guard !bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
