// XEP-0115: Entity Capabilities, of the server itself: a hash of what it can in its stream
// features, so that a client that knows this hash need not ask. What clients say of themselves
// passes through in their presence.

internal import Engine
internal import SASL
internal import Synchronization
internal import TLS
internal import XML
internal import XMPP

struct EntityCapabilities: Feature {
    static let specifications = [
        Specification("XEP-0115", version: "1.6.0", "Entity Capabilities")
    ]
    static let namespace = "http://jabber.org/protocol/caps"

    init(in host: HostBuilder) {
        // Known once all have declared what they can, which is when the host starts.
        let version = Version()
        host.advertise(Self.namespace)
        host.hooks.started.append { host in
            version.value.withLock { $0 = Self.version(of: host.serverInfo) }
        }
        host.hooks.streamFeatures.append { context, _ in
            guard context.account != nil else { return nil }
            let version = version.value.withLock { $0 }
            return Element(
                "c", Self.namespace,
                [("hash", "sha-1"), ("node", Software.uri), ("ver", version)])
        }
        host.hooks.serverNodes.append { node, host in
            let version = version.value.withLock { $0 }
            return node == "\(Software.uri)#\(version)" ? host.serverInfo : nil
        }
    }

    /// Section 5.1; SHA-1 because clients know nothing else.
    private static func version(of info: DiscoveryInfo) -> String {
        Base64.encode(DigestAlgorithm.sha1.hash(Array(info.verificationText.utf8)))
    }

    private final class Version: Sendable {
        let value = Mutex("")
    }
}
