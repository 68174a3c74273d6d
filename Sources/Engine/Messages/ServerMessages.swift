// Messages of the server's own, such as that a backup failed. They take the way of every other
// message: they are archived, and they wait for who is not there.

internal import Addresses
public import Storage
internal import XML
internal import XMPP

extension Host {
    /// Characters of such a message at most; the rest is cut off.
    private static let longestNotice = 4096

    /// Sends a chat message from each administrator's domain to each administrator whose account
    /// is enabled. Waits for the database: never on an event loop.
    public func notifyAdministrators(_ text: String) throws(StorageError) {
        let administrators = try accounts.list(domain: nil).filter {
            $0.isAdministrator && !$0.isDisabled && isLocal($0.jid.domain)
        }
        for account in administrators {
            guard let stanza = notice(text, to: account.jid) else { continue }
            let to = JID(bare: account.jid)
            if hooks.isKept?(stanza, to) ?? false {
                store(Message(again: stanza, to: to, domains: domainSet), from: nil)
            } else {
                redeliver(stanza, nil, to: to)
            }
        }
    }

    private func notice(_ text: String, to account: BareJID) -> Stanza? {
        let body = String(text.unicodeScalars.prefix(Self.longestNotice))
        let message = Element(
            "message", Namespaces.client,
            [
                ("from", account.domain), ("to", account.description), ("type", "chat"),
                ("id", nextIdentifier()),
            ], [Element("body", Namespaces.client, text: body)])
        return Stanza(
            routed: XMLWriter.bytes(message, contentNamespace: Namespaces.client))
    }
}
