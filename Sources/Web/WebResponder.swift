// Between Hummingbird's requests and our routes.

internal import HTTPTypes
internal import HummingbirdCore
internal import Logging
internal import NIOCore

/// Answers requests that the guard has let through.
struct WebResponder: Sendable {
    let routes: WebRoutes
    let admission: WebAdmission
    let metrics: WebMetrics
    let log: Logger

    /// Throws where the client is gone: there is nobody to answer.
    func respond(
        _ request: Request, _ writer: consuming ResponseWriter, _ channel: any Channel
    ) async throws {
        let isHead = request.method == .head
        let response = try await answer(request, WebPeer(channel.remoteAddress))
        // RFC 9110 section 8.6: these have no body, and no length of one.
        let hasBody = response.status != 204 && response.status != 304
        var head = HTTPResponse(status: .init(code: response.status))
        for (name, value) in response.headers {
            guard let name = HTTPField.Name(name) else { continue }
            head.headerFields.append(HTTPField(name: name, value: value))
        }
        if hasBody { head.headerFields[.contentLength] = "\(response.body.count)" }
        let body: ResponseBody =
            hasBody && !isHead && !response.body.isEmpty
            ? ResponseBody(byteBuffer: ByteBuffer(bytes: response.body)) : ResponseBody()
        try await writer.write(response: head, body: body)
    }

    private func answer(_ request: Request, _ peer: WebPeer) async throws -> WebResponse {
        if let wait = admission.take(peer) {
            return .problem(
                429, "too many requests from this address", headers: [("Retry-After", "\(wait)")])
        }
        guard let target = WebTarget(request.head.path ?? "") else {
            return .problem(400, "the target is none")
        }
        switch routes.judge(method: request.method.rawValue, path: target.path) {
        case .notFound:
            return .problem(404, "there is nothing here")
        case .options(let allow):
            return WebResponse(204, headers: [("Allow", allow)])
        case .methodNotAllowed(let allow):
            return .problem(405, "not with this method", headers: [("Allow", allow)])
        case .route(let route, let parameter, _):
            guard let body = try await body(of: request, limit: route.bodyLimit) else {
                metrics.refused(.body)
                return .problem(413, "at most \(route.bodyLimit) bytes")
            }
            let response = await route.handle(
                WebRequest(
                    method: route.method, path: target.path, parameter: parameter,
                    query: target.query,
                    headers: request.headers.map { ($0.name.rawName, $0.value) }, body: body,
                    remoteAddress: peer.text))
            let status = (200...599).contains(response.status) ? response.status : 500
            // Never the path: it may be a secret.
            log.debug("web: \(route.name) \(status)")
            return WebResponse(status, headers: response.headers, body: response.body)
        }
    }

    /// Nil when it is too large.
    private func body(of request: Request, limit: Int) async throws -> [UInt8]? {
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit {
            return nil
        }
        do {
            return Array(buffer: try await request.body.collect(upTo: limit))
        } catch is NIOTooManyBytesError {
            return nil
        }
    }
}
