// What the services of telephones' makers have in common: one credential for an app, one server, and
// an answer whose code says what became of a message, whatever the status is.

internal import HTTPClient

/// The service of a telephones' maker.
protocol MakerProvider: ConfiguredProvider {
    /// The app's name in the configuration.
    var app: String { get }
    /// The name of the code in an answer.
    static var codeName: String { get }
    /// What a code means for those it was sent to.
    func judge(
        _ code: String, _ json: JSONValue, _ response: HTTPResponse, to targets: [PushTarget],
        at time: PushTime
    ) -> PushAnswers
}

extension MakerProvider {
    static var codeName: String { "code" }

    var kind: ProviderKind { Self.kind }

    func circuit(of target: PushTarget) -> String { app }

    func problem(of target: PushTarget) -> String? { VendorFields.problem(ofToken: target.token) }

    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard problem(of: target) == nil else {
            throw PushFault(.invalidToken(.token, since: nil), .badToken)
        }
        return try request(notification, to: [target], at: time)
    }

    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        judge(response, to: [target], at: time)[0]
    }

    func judge(
        _ response: HTTPResponse, to targets: [PushTarget], at time: PushTime
    ) -> PushAnswers {
        let json = JSONValue(response.body)
        guard let json, let code = json[Self.codeName]?.code else {
            return PushAnswers(
                response.isSuccess ? .garbage(response) : PushAnswer(status: response, at: time))
        }
        return judge(code, json, response, to: targets, at: time)
    }
}

extension PushAnswer {
    /// What a code means that nobody knows: what the status says, and a success that is none is
    /// refused.
    static func unknown(
        _ code: String, _ response: HTTPResponse, at time: PushTime
    ) -> PushAnswer {
        response.isSuccess
            ? PushAnswer(.rejected, .request, code: code)
            : PushAnswer(status: response, at: time, code: code)
    }
}

extension PushAnswers {
    /// The same for all but those with one of these tokens.
    init(
        _ rest: PushAnswer, except tokens: some Sequence<some StringProtocol>,
        _ other: PushAnswer, of targets: [PushTarget]
    ) {
        self.init(rest)
        let tokens = Set(tokens.map { String($0) })
        guard !tokens.isEmpty else { return }
        for (index, target) in targets.enumerated() where tokens.contains(target.token) {
            others[index] = other
        }
    }
}

extension JSONValue {
    /// The texts of a list.
    var texts: [String] { elements.compactMap(\.text) }

    /// The same with what a program wants besides: objects are merged, all else is replaced.
    ///
    /// - Parameter names: those that are not its business.
    func merged(with extras: [String: JSONValue]?, except names: Set<String> = []) -> JSONValue {
        guard let extras, case .object(var fields) = self else { return self }
        for (name, value) in extras where !names.contains(name) {
            if case .object(let inner) = value, let known = fields[name], known.isObject {
                fields[name] = known.merged(with: inner)
            } else {
                fields[name] = value
            }
        }
        return .object(fields)
    }
}

extension PushNotification {
    /// What is wrong with it for a service that only shows; nil when there is something to show.
    func checkIsVisible() throws(PushFault) {
        guard isVisible else { throw PushFault(.rejected, .request, code: "nothing to show") }
    }
}
