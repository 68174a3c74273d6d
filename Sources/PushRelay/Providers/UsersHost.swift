// What holds for all URLs that users give.

/// Checks them. That a name does not lead into this network is seen when it is resolved.
enum UsersHost {
    /// What is wrong with a URL; nil when it may be used.
    static func problem(_ text: String, longest: Int, allowsHTTP: Bool) -> String? {
        guard let url = EndpointURL(text, longest: longest) else {
            return "expected a URL of \(longest) bytes at most, without a user or a fragment"
        }
        return url.isSecure || allowsHTTP ? nil : "expected a URL that begins with https://"
    }
}
