// What an owner can do about each reason for which a target is not woken.

internal import PushRelay

extension PushTestStep {
    /// What to do; nil when the step did not fail.
    var advice: String? {
        guard !ok, let reason else { return nil }
        return Self.advice(reason, provider, step)
    }

    private static func advice(
        _ reason: PushReason, _ provider: ProviderKind, _ step: Name
    ) -> String {
        let isOwn = [.ntfy, .gotify, .unifiedPush, .webPush].contains(provider)
        switch reason {
        case .accepted: return "nothing"
        case .unregistered:
            return provider == .xmpp || step == .registration
                ? "the device has to register again: open its app"
                : "the app is gone from the device, or its endpoint is old: register or add it "
                    + "again"
        case .badToken:
            return "what was registered is no token or URL of this provider: register it again"
        case .otherApp:
            return "the token belongs to another app: see which app of push.apps it should be"
        case .rate: return "too many in a short time: wait, and see whether something is in a loop"
        case .quota: return "nothing more is taken on this day: wait, or raise the provider's quota"
        case .unavailable:
            return provider == .ntfy || provider == .unifiedPush
                ? "nobody listens there just now, or it is out of order: open the app, and try again "
                    + "later"
                : "it is out of order: try again later"
        case .timeout:
            return
                "it is slow, or a firewall drops what goes there: see that this machine may "
                + "connect to it"
        case .connection:
            return isOwn
                ? "see that it runs, and that this machine may connect to it"
                : "see that this machine has a way to the internet, and was not started with "
                    + "--isolated"
        case .name:
            return "the name has no address: see that it is spelt right, and that DNS works here"
        case .tls:
            return
                "no secure connection: see its certificate and this machine's clock; name an own "
                + "authority in push.authorities"
        case .garbage: return "what answers there is something else: see the URL"
        case .redirection: return "it sends elsewhere: use the URL that it sends to"
        case .forbiddenAddress:
            return
                "it is on this machine or in a private network: set push.allow_private_targets to "
                + "allow that"
        case .credentialExpired:
            return isOwn
                ? "see this machine's clock (timedatectl), and set push.contact, for some take "
                    + "nothing from a server without one"
                : "see this machine's clock (timedatectl); otherwise make a new key or token"
        case .credentialRefused:
            return isOwn
                ? "the token is wrong or may not publish: add the target again with another one"
                : provider == .xmpp
                    ? "the app server does not take it from this account: register again"
                    : "see the key, its team and its environment in push.apps"
        case .tooLarge: return "what is sent is too large for it: report this"
        case .request: return "it understood us and refused: see the code in its documentation"
        case .clock: return "this machine's clock is not right yet: see timedatectl"
        case .noAnswer:
            return "the app server did not answer: see kinglet federation test with its domain"
        case .expired: return "it came too late"
        case .noApp: return "its app is not in push.apps any more: add it, or remove the target"
        }
    }
}
