// What the interface for programs takes and gives, apart from HTTP: requests, answers, and errors as
// RFC 9457 has them.

internal import Engine

/// A request to the interface.
public struct APIRequest: Sendable {
    /// What stands in the path.
    public var parameter: String
    /// What follows the `?`.
    public var query: String
    /// The header `Authorization`.
    public var authorization: String?
    /// The header `Content-Type`.
    public var contentType: String?
    /// The body.
    public var body: [UInt8]
    /// Where it comes from: those of one network are one client.
    public var network: String

    /// Creates one.
    public init(
        parameter: String = "", query: String = "", authorization: String? = nil,
        contentType: String? = nil, body: [UInt8] = [], network: String = ""
    ) {
        self.parameter = parameter
        self.query = query
        self.authorization = authorization
        self.contentType = contentType
        self.body = body
        self.network = network
    }
}

/// An answer of the interface.
public struct APIAnswer: Sendable {
    /// 200...599.
    public var status: Int
    /// Without those that describe the transfer.
    public var headers: [(String, String)]
    /// The body.
    public var body: [UInt8]

    init(_ status: Int, _ json: JSONValue, _ headers: [(String, String)] = []) {
        self.status = status
        self.headers = [("Content-Type", "application/json")] + headers
        body = json.bytes
    }

    /// Nothing to say.
    static let noContent: APIAnswer = {
        var answer = APIAnswer(204, .null)
        answer.headers = []
        answer.body = []
        return answer
    }()
}

/// One thing that the interface does.
public struct APIRoute: Sendable {
    /// The method of HTTP.
    public enum Method: String, Sendable {
        case get = "GET"
        case post = "POST"
        case put = "PUT"
        case delete = "DELETE"
    }

    /// Its method.
    public let method: Method
    /// What stands before the parameter, or all of the path.
    public let path: String
    /// What stands behind the parameter; nil where there is none.
    public let rest: String?
    /// Bytes of a body at most.
    public let bodyLimit: Int
    /// Answers.
    public let handle: @Sendable (APIRequest) async -> APIAnswer
}

/// An error of the interface (RFC 9457).
struct APIProblem: Error, Sendable, Equatable {
    /// Which kind, as the last part of its `type`.
    enum Kind: String, Sendable, CaseIterable {
        case malformed
        case invalid
        case unauthorized
        case forbidden
        case notFound = "not-found"
        case nobody
        case conflict
        case unsupportedType = "unsupported-type"
        case rate
        case tooMany = "too-many"
        case unavailable

        var status: Int {
            switch self {
            case .malformed: 400
            case .unauthorized: 401
            case .forbidden: 403
            case .notFound, .nobody: 404
            case .conflict, .tooMany: 409
            case .unsupportedType: 415
            case .invalid: 422
            case .rate: 429
            case .unavailable: 503
            }
        }

        var title: String {
            switch self {
            case .malformed: "The request cannot be read"
            case .invalid: "The request says something that is not possible"
            case .unauthorized: "A credential is needed"
            case .forbidden: "The credential does not allow this"
            case .notFound: "There is no such thing"
            case .nobody: "Nobody would be reached"
            case .conflict: "This is taken"
            case .tooMany: "There are too many already"
            case .unsupportedType: "The body is no JSON"
            case .rate: "Too many requests"
            case .unavailable: "Not at the moment"
            }
        }
    }

    /// What is wrong with a part of the body.
    struct Fault: Sendable, Equatable {
        /// Where (RFC 6901).
        var pointer: String
        var detail: String
    }

    /// What is shown of them at most.
    private static let mostFaults = 20

    var kind: Kind
    var detail: String
    var faults: [Fault] = []
    var headers: [(name: String, value: String)] = []

    init(_ kind: Kind, _ detail: String, _ faults: [Fault] = []) {
        self.kind = kind
        self.detail = detail
        self.faults = faults
    }

    static func == (left: APIProblem, right: APIProblem) -> Bool {
        left.kind == right.kind && left.detail == right.detail && left.faults == right.faults
    }

    /// Comes again after so many seconds.
    func retrying(after seconds: Int) -> APIProblem {
        var problem = self
        problem.headers.append(("Retry-After", String(seconds)))
        return problem
    }

    var answer: APIAnswer {
        var fields: [String: JSONValue] = [
            "type": .string("urn:kinglet:problem:\(kind.rawValue)"),
            "title": .string(kind.title), "status": .integer(Int64(kind.status)),
            "detail": .string(detail),
        ]
        if !faults.isEmpty {
            fields["errors"] = .array(
                faults.prefix(Self.mostFaults).map {
                    .object(["pointer": .string($0.pointer), "detail": .string($0.detail)])
                })
        }
        var answer = APIAnswer(kind.status, .object(fields))
        answer.headers = [("Content-Type", "application/problem+json")]
        answer.headers += headers.map { ($0.name, $0.value) }
        return answer
    }
}

extension APIRequest {
    /// The body as JSON.
    func json() throws(APIProblem) -> JSONValue {
        let type = (contentType ?? "").split(separator: ";").first ?? ""
        guard type.trimmingSpaces.lowercased() == "application/json" else {
            throw APIProblem(.unsupportedType, "send it as application/json")
        }
        guard let json = JSONValue(body), json.isObject else {
            throw APIProblem(.malformed, "the body is no object of JSON")
        }
        return json
    }

    /// The fields of the query, of which only these may be.
    func fields(_ names: Set<String>) throws(APIProblem) -> [String: String] {
        var fields: [String: String] = [:]
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = FormText.decoded(Array(parts[0].utf8)[...]),
                let value = FormText.decoded(Array((parts.count > 1 ? parts[1] : "").utf8)[...])
            else { throw APIProblem(.malformed, "the query cannot be read") }
            guard names.contains(name), fields[name] == nil else {
                throw APIProblem(
                    .malformed,
                    names.isEmpty
                        ? "no query is expected"
                        : "in the query, each of \(names.sorted().joined(separator: ", ")) may stand once"
                )
            }
            fields[name] = value
        }
        return fields
    }

    /// Where a list goes on: what a number of JSON can be everywhere (RFC 8259 section 6).
    static let places: ClosedRange<Int64> = 0...9_007_199_254_740_991

    /// A number of the query.
    static func number(
        _ text: String?, _ name: String, in range: ClosedRange<Int64>, default usual: Int64
    ) throws(APIProblem) -> Int64 {
        guard let text else { return usual }
        guard let number = Int64(text), range.contains(number), !text.hasPrefix("+") else {
            throw APIProblem(
                .malformed, "\(name): expected \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}

extension StringProtocol {
    fileprivate var trimmingSpaces: SubSequence {
        var text = self[...]
        while text.last == " " || text.last == "\t" { text = text.dropLast() }
        return text.drop { $0 == " " || $0 == "\t" }
    }
}
