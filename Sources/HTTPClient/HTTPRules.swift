// How a pool sends a request.

/// What holds for one request of an `HTTPPool`.
public struct HTTPRules: Sendable, Equatable {
    /// For all of it, from its being handed over to the body's last byte; also the time that it waits
    /// for a connection counts.
    public var timeLimit: Duration
    /// Bytes of the response's body; a larger one is an error.
    public var bodyLimit: Int
    /// Only HTTP/2 will do; a request to `http:` begins with it then.
    public var needsHTTP2: Bool
    /// Only addresses on the internet are connected to, whatever the host is or its name leads to: not
    /// this machine, nor its owner's network.
    public var forbidsPrivateAddresses: Bool

    /// Creates rules.
    public init(
        timeLimit: Duration = .seconds(30), bodyLimit: Int = 65_536, needsHTTP2: Bool = false,
        forbidsPrivateAddresses: Bool = false
    ) {
        self.timeLimit = timeLimit
        self.bodyLimit = bodyLimit
        self.needsHTTP2 = needsHTTP2
        self.forbidsPrivateAddresses = forbidsPrivateAddresses
    }
}
