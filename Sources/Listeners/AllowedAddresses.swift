// Which of a name's addresses may be connected to. A stranger chooses where a name leads: without
// this, it could be what only this machine or its owner's network should reach.

internal import DNS
internal import Engine

enum AllowedAddresses {
    /// Those that may be connected to, in their order; at least one.
    static func of(
        _ addresses: [ResolvedAddress], host: String, allowsPrivate: Bool
    ) throws(FederationFailure) -> [ResolvedAddress] {
        let allowed = addresses.filter { isAllowed($0.reach, allowsPrivate: allowsPrivate) }
        guard allowed.isEmpty else { return allowed }
        guard let first = addresses.first else {
            throw FederationFailure(.noAddress, "\(host) has no address")
        }
        let subject = first.text == host ? host : "\(host) has the address \(first.text), which"
        switch first.reach {
        case .privateNetwork, .loopback, .linkLocal:
            throw FederationFailure(
                .forbiddenAddress,
                "\(subject) is not on the internet; federation.allow_private_addresses would "
                    + "allow it")
        case .global, .other:
            throw FederationFailure(
                .forbiddenAddress, "\(subject) is no address of a single machine")
        }
    }

    private static func isAllowed(_ reach: AddressReach, allowsPrivate: Bool) -> Bool {
        switch reach {
        case .global: true
        case .privateNetwork, .loopback, .linkLocal: allowsPrivate
        // Multicast, reserved, unspecified: nobody's server.
        case .other: false
        }
    }
}
