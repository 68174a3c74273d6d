// The functions that libmicrohttpd calls for every request and connection, and the translation
// between its types and ours.
//
// THREADS: libmicrohttpd calls them on its own thread, one at a time. The context is a
// `RequestService`, retained by the server until the daemon has stopped and its thread has ended.
// Nothing here may be isolated to an actor: the call would trap.

import CMicroHTTPD
import Glibc

/// A request's body is read and thrown away up to this many bytes, then the connection is closed.
private let bodyLimit = 64 * 1024

/// What the callbacks need.
final class RequestService: Sendable {
    let responder: Responder
    let connections: ConnectionGuard

    init(responder: Responder, connections: ConnectionGuard) {
        self.responder = responder
        self.connections = connections
    }

    fileprivate static func from(_ context: UnsafeMutableRawPointer) -> RequestService {
        Unmanaged.fromOpaque(context).takeUnretainedValue()
    }
}

/// Answers one request; libmicrohttpd calls it several times for each.
///
/// The first call only marks the request. Later ones bring the body piece by piece, and must take it
/// before a response may be given. `state` is ours: nil at first, then the number of body bytes seen
/// plus one, which needs no memory.
func answerConnection(
    context: UnsafeMutableRawPointer?, connection: OpaquePointer?,
    url: UnsafePointer<CChar>?, method: UnsafePointer<CChar>?, version: UnsafePointer<CChar>?,
    body: UnsafePointer<CChar>?, bodySize: UnsafeMutablePointer<Int>?,
    state: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    guard let context, let connection, let url, let method, let bodySize, let state else {
        return .NO
    }
    let service = RequestService.from(context)
    let descriptor = kinglet_mhd_descriptor(connection)
    guard let mark = state.pointee else {
        service.connections.receivedHeaders(descriptor)
        state.pointee = UnsafeMutableRawPointer(bitPattern: 1)
        return .YES
    }
    if bodySize.pointee > 0 {
        let seen = Int(bitPattern: mark) + min(bodySize.pointee, bodyLimit)
        guard seen <= bodyLimit else {
            service.connections.refuseBody(descriptor)
            return .NO
        }
        state.pointee = UnsafeMutableRawPointer(bitPattern: seen)
        bodySize.pointee = 0
        return .YES
    }
    service.connections.beginAnswer(descriptor)
    let request = Request(
        method: String(cString: method), path: String(cString: url),
        headerSize: kinglet_mhd_header_size(connection),
        client: kinglet_mhd_client(connection).flatMap(IPAddress.init),
        accept: header("Accept", of: connection),
        authorization: header("Authorization", of: connection),
        host: header("Host", of: connection), reached: { IPAddress(socket: descriptor) })
    return send(service.responder.respond(to: request), on: connection)
}

/// An answer was sent, or given up.
func requestCompleted(
    context: UnsafeMutableRawPointer?, connection: OpaquePointer?,
    state: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, reason: MHD_RequestTerminationCode
) {
    guard let context, let connection else { return }
    RequestService.from(context).connections.endAnswer(kinglet_mhd_descriptor(connection))
}

/// A connection was opened, or is about to be closed.
func connectionChanged(
    context: UnsafeMutableRawPointer?, connection: OpaquePointer?,
    state: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    change: MHD_ConnectionNotificationCode
) {
    guard let context, let connection else { return }
    let connections = RequestService.from(context).connections
    let descriptor = kinglet_mhd_descriptor(connection)
    switch change {
    case .CONNECTION_NOTIFY_STARTED:
        connections.opened(
            descriptor, from: kinglet_mhd_client(connection).flatMap(IPAddress.init))
    default: connections.closed(descriptor)
    }
}

private func header(_ name: String, of connection: OpaquePointer) -> String? {
    MHD_lookup_connection_value(connection, .HEADER_KIND, name).map { String(cString: $0) }
}

private func send(_ response: Response, on connection: OpaquePointer) -> MHD_Result {
    var body = response.body
    let made = body.withUnsafeMutableBytes {
        MHD_create_response_from_buffer($0.count, $0.baseAddress, .RESPMEM_MUST_COPY)
    }
    guard let made else { return .NO }
    defer { MHD_destroy_response(made) }
    for (name, value) in response.allHeaders {
        guard MHD_add_response_header(made, name, value) == .YES else { return .NO }
    }
    return MHD_queue_response(connection, response.status, made)
}
