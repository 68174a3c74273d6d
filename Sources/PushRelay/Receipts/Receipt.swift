// What makers of telephones say later of a notification: that the device has it, or that there is no
// such device. Each has a form of its own. They are known from the makers' documents and from clients
// of theirs only; what is not understood is passed over, and the next one is read.

internal import HTTPClient

/// What is said of one device.
struct Receipt: Sendable, Equatable {
    enum Event: Sendable, Equatable {
        case delivered
        case gone
    }

    /// How a provider is told where to say it.
    enum Way: Sendable, Equatable {
        /// With each message.
        case perMessage
        /// Once, in its console.
        case console
    }

    /// Receipts that are read of one body at most.
    static let most = 1000

    var token: String
    /// What was given with the notification.
    var reference: String
    var event: Event

    /// How a provider gives receipts; nil if it gives none.
    static func way(of kind: ProviderKind) -> Way? {
        switch kind {
        case .xiaomi, .oppo, .vivo, .meizu: .perMessage
        case .huawei, .honor: .console
        case .xmpp, .apns, .fcm, .webPush, .unifiedPush, .ntfy, .gotify: nil
        }
    }

    /// Everything that a body says; nil if it is none of this provider's.
    static func read(_ body: [UInt8], of kind: ProviderKind) -> [Receipt]? {
        let receipts: [Receipt]?
        switch kind {
        case .xiaomi: receipts = field("data", body).flatMap { byMessage($0, xiaomi) }
        case .meizu: receipts = field("cb", body).flatMap { byMessage($0, meizu) }
        case .vivo: receipts = JSONValue(body).flatMap { byMessage($0, vivo) }
        case .oppo: receipts = JSONValue(body).flatMap(oppo)
        case .huawei, .honor: receipts = JSONValue(body).flatMap(statuses)
        case .xmpp, .apns, .fcm, .webPush, .unifiedPush, .ntfy, .gotify: receipts = nil
        }
        return receipts.map { Array($0.prefix(most)) }
    }

    // MARK: Forms

    /// An object of messages, each of which has a word that came back and its devices.
    private static func byMessage(
        _ json: JSONValue, _ event: (JSONValue) -> Event?
    ) -> [Receipt]? {
        guard case .object(let messages) = json else { return nil }
        return messages.values.flatMap { message -> [Receipt] in
            guard let event = event(message), let reference = message["param"]?.text else {
                return []
            }
            let listed = message["targets"]?.text.map { $0.split(separator: ",").map(String.init) }
            return (listed ?? message["targets"]?.texts ?? []).map {
                Receipt(token: $0, reference: reference, event: event)
            }
        }
    }

    /// Bits: 1 delivered, 2 clicked, 16 no such device.
    private static func xiaomi(_ message: JSONValue) -> Event? {
        guard let type = message["type"]?.whole else { return nil }
        return type & 16 != 0 ? .gone : type & 3 != 0 ? .delivered : nil
    }

    /// 1 delivered, 2 clicked.
    private static func meizu(_ message: JSONValue) -> Event? {
        message["type"]?.whole.flatMap { (1...2).contains($0) ? .delivered : nil }
    }

    /// Whoever is listed has it.
    private static func vivo(_ message: JSONValue) -> Event? { .delivered }

    private static func oppo(_ json: JSONValue) -> [Receipt]? {
        guard case .array(let events) = json else { return nil }
        return events.flatMap { event -> [Receipt] in
            guard event["eventType"]?.text == "push_arrive", let reference = event["param"]?.text
            else { return [] }
            return (event["registrationIds"]?.text ?? "").split(separator: ",").map {
                Receipt(token: String($0), reference: reference, event: .delivered)
            }
        }
    }

    /// 0 delivered; 2 and 5: the app is gone, and the token with it.
    private static func statuses(_ json: JSONValue) -> [Receipt]? {
        guard case .array(let statuses)? = json["statuses"] else { return nil }
        return statuses.compactMap { status -> Receipt? in
            guard let token = status["token"]?.text, let reference = status["biTag"]?.text else {
                return nil
            }
            switch status["status"]?.whole {
            case 0: return Receipt(token: token, reference: reference, event: .delivered)
            case 2, 5: return Receipt(token: token, reference: reference, event: .gone)
            default: return nil
            }
        }
    }

    /// The JSON in a field of a form.
    private static func field(_ name: String, _ body: [UInt8]) -> JSONValue? {
        FormText.value(of: name, in: body).flatMap { JSONValue(Array($0.utf8)) }
    }
}
