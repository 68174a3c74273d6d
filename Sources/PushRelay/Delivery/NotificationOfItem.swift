// What is told with a push: made when it is sent, so that it says what is true then.

internal import Addresses
internal import Engine
internal import Options

extension PushDispatcher {
    /// The notification of an item for a target.
    func notification(_ item: DeliveryItem, _ target: PushTarget) -> PushNotification {
        let name = item.account?.description ?? "\(item.target)"
        let collapse = keys.name(
            "collapse", "\(item.target)", item.isUrgent ? "call" : "message")
        var notification = PushNotification(
            item.kind,
            // The same for each try, and another one for the next push.
            identifier: collapse.prefix(8)
                + withUnsafeBytes(of: item.version.bigEndian) { Array($0) },
            account: target.parameters[PushRegistration.account]
                ?? keys.hexName("account", name, bytes: 16),
            channel: target.parameters[PushRegistration.channel],
            collapse: collapse,
            unread: item.unread > 0 ? item.unread : nil,
            lifetime: Int(clamping: lifetime(item) / 1000))
        wakeups.addDetails(item.details, to: &notification)
        return notification
    }

    /// Milliseconds for which an item is of use; a clock that was wrong may have written any time.
    private func lifetime(_ item: DeliveryItem) -> Int64 {
        let longest =
            item.isUrgent ? Wakeups.ringTime : Deliveries.milliseconds(options.lifetime.value)
        return min(max(0, item.expires - now.wall), longest)
    }
}
