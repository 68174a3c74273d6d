// A message out of the archive on its way to the client (XEP-0313 section 4.2): the stored bytes
// in an envelope, without reading them again.

internal import Addresses
internal import XML
internal import XMPP

/// The envelopes of one query's results; what they share is written once.
struct ArchiveResultEnvelope: Sendable {
    /// Up to the opening quote of the archive id.
    private let opening: [UInt8]

    /// - Parameters:
    ///   - client: who asked.
    ///   - archive: whose archive it is.
    ///   - queryID: the client's name for the query.
    init(to client: JID, from archive: BareJID, queryID: String?) {
        var writer = XMLWriter(contentNamespace: Namespaces.client)
        writer.raw("<message")
        writer.attribute("from", archive.description)
        writer.attribute("to", client.description)
        writer.raw("><result xmlns='urn:xmpp:mam:2'")
        if let queryID { writer.attribute("queryid", queryID) }
        writer.raw(" id='")
        opening = writer.bytes
    }

    /// The whole stanza.
    ///
    /// - Parameters:
    ///   - id: the message's archive id.
    ///   - time: when it was received, in milliseconds since 1970.
    ///   - message: as stored: one element that declares its namespace.
    func bytes(id: String, time: Int64, message: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(opening.count + message.count + 224)
        func append(_ text: StaticString) {
            text.withUTF8Buffer { output.append(contentsOf: $0) }
        }
        output.append(contentsOf: opening)
        output.append(contentsOf: escapedAttribute(id))
        append("'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='")
        output.append(contentsOf: Timestamp.utf8(time))
        append("'/>")
        output.append(contentsOf: message)
        append("</forwarded></result></message>")
        return output
    }
}
