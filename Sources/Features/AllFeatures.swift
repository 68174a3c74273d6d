// The one list of what is built in. A feature is added by its file and its line here.

public import Engine

/// Every feature of this server, in the order of their declarations.
public enum AllFeatures {
    /// The list.
    public static let list: [any Feature.Type] = [
        SessionEstablishment.self,
        Roster.self,
        Presence.self,
        OfflineMessages.self,
        MessageArchive.self,
        BlockingCommand.self,
        ServiceDiscovery.self,
        EntityCapabilities.self,
        Ping.self,
        SoftwareVersion.self,
        EntityTime.self,
        LastActivity.self,
        MessageCarbons.self,
        ClientStateIndication.self,
        AdHocCommands.self,
        InBandRegistration.self,
        ContactAddresses.self,
    ]
}
