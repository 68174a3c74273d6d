// XEP-0050: Ad-Hoc Commands. What any part of the server declares with `HostBuilder.command` is
// listed and run at the server's own address, and for its owner at an account's.

internal import Engine
internal import XML
internal import XMPP

struct AdHocCommands: Feature {
    static let specifications = [
        Specification("XEP-0050", version: "1.3.0", "Ad-Hoc Commands")
    ]

    init(in host: HostBuilder) {
        let commands = host.commands
        host.advertise(Command.namespace)
        host.answerAnybody("command", Command.namespace, for: [.server, .ownAccount]) {
            request, _, host in
            .later { done in commands.answer(request, host, then: done) }
        }
        host.hooks.discoveryNodes.append { request, host in
            guard commands.concerns(request) else { return nil }
            return .later { done in commands.answer(request, host, then: done) }
        }
    }
}
