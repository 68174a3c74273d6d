// What is told with a push: made when it is sent, so that it says what is true then.

internal import Addresses
internal import Engine
internal import Options

extension PushDispatcher {
    /// The notification of an item for a target.
    func notification(_ item: DeliveryItem, _ target: PushTarget) -> PushNotification {
        let name = item.account?.description ?? "\(item.target)"
        var notification = PushNotification(
            item.kind,
            identifier: Array(
                keys.name("notification", "\(item.target)", "\(item.version)").prefix(16)),
            account: target.parameters[PushRegistration.account]
                ?? keys.hexName("account", name, bytes: 16),
            channel: target.parameters[PushRegistration.channel],
            collapse: keys.name("collapse", "\(item.target)", item.isUrgent ? "call" : "message"),
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
