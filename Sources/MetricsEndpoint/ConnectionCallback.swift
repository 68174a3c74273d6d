// The function that libmicrohttpd calls for every request, and the translation between its types
// and ours.
//
// THREADS: libmicrohttpd calls it on its own thread, one request at a time. The context is a
// `Responder`, retained by the server until the daemon has stopped and its thread has ended. Nothing
// here may be isolated to an actor: the call would trap.

import CMicroHTTPD
import Glibc

/// A request's body is read and thrown away up to this many bytes, then the connection is closed.
private let bodyLimit = 64 * 1024

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
    guard let mark = state.pointee else {
        state.pointee = UnsafeMutableRawPointer(bitPattern: 1)
        return .YES
    }
    if bodySize.pointee > 0 {
        let seen = Int(bitPattern: mark) + min(bodySize.pointee, bodyLimit)
        guard seen <= bodyLimit else { return .NO }
        state.pointee = UnsafeMutableRawPointer(bitPattern: seen)
        bodySize.pointee = 0
        return .YES
    }
    let request = Request(
        method: String(cString: method), path: String(cString: url),
        client: kinglet_mhd_client(connection).flatMap(IPAddress.init),
        accept: header("Accept", of: connection),
        authorization: header("Authorization", of: connection))
    let responder = Unmanaged<Responder>.fromOpaque(context).takeUnretainedValue()
    return send(responder.respond(to: request), on: connection)
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
