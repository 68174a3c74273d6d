// What an administrator can do about the pushes that wake phones.

internal import Addresses
internal import Engine
internal import PushRelay

extension Administrator {
    /// So much is listed if nobody says how much.
    private static let usualLimit = 100

    func push(_ request: AdministrationRequest) throws -> AdministrationAnswer {
        guard let push else {
            throw AdministrationError(message: "there is no push relay here")
        }
        let wish = request.push ?? PushWish()
        var report = PushReport()
        do {
            switch request.operation {
            case .addPush:
                guard let new = wish.new else {
                    throw AdministrationError(message: "which target?")
                }
                let added = try push.add(new, for: try pushAccount(request))
                report.target = added.target
                report.isReplaced = !added.isNew
            case .removePush:
                guard let target = wish.target else {
                    throw AdministrationError(message: "which target?")
                }
                report.target = try push.remove(target, of: try pushOwner(request))
            case .showPushQueue:
                report.queue = try push.queue(limit: wish.limit ?? Self.usualLimit)
            case .showDeadPushes:
                report.dead = try push.dead(limit: wish.limit ?? Self.usualLimit)
            case .dropDeadPushes: report.dropped = try push.dropDead(wish.letter)
            case .redrivePushes: report.redriven = try push.redrive(wish.letter)
            case .showPushProviders:
                report.providers = try push.providers(isRunning: isRunning)
            case .addToken, .listTokens, .revokeToken:
                try answerTokens(request.operation, wish, push, &report)
            case .testPush: return try startTest(request, wish, push)
            case .showPushTest:
                guard let number = request.run,
                    let progress = pushTests.progress(number, known: request.known ?? 0)
                else {
                    throw AdministrationError(message: "the server does not know of this test")
                }
                report.test = progress
            default:
                let account = try request.jid == nil ? nil : pushAccount(request)
                report.targets = try push.list(of: account)
            }
        } catch let error as PushRefused {
            throw AdministrationError(message: error.description)
        }
        return AdministrationAnswer(push: report)
    }

    private func answerTokens(
        _ operation: AdministrationRequest.Operation, _ wish: PushWish, _ push: PushService,
        _ report: inout PushReport
    ) throws {
        switch operation {
        case .addToken:
            guard let new = wish.newToken else {
                throw AdministrationError(message: "which token?")
            }
            let added = try push.add(new)
            report.tokens = [added.token]
            report.tokenText = added.text
        case .revokeToken:
            guard let name = wish.token else {
                throw AdministrationError(message: "which token?")
            }
            let revoked = try push.revokeToken(named: name, cancels: wish.cancels ?? false)
            report.tokens = [revoked.token]
            report.cancelled = revoked.cancelled
        default: report.tokens = try push.tokens()
        }
    }

    private func startTest(
        _ request: AdministrationRequest, _ wish: PushWish, _ push: PushService
    ) throws -> AdministrationAnswer {
        guard isRunning else {
            throw AdministrationError(
                message: "kinglet is not running; start it, for the test uses its connections")
        }
        let test = try push.makeTest(of: try pushAccount(request), target: wish.target)
        return AdministrationAnswer(run: try pushTests.start(test))
    }

    /// An account that there is.
    private func pushAccount(_ request: AdministrationRequest) throws -> BareJID {
        let jid = try account(request)
        guard try host.accounts.account(jid) != nil else {
            throw AdministrationError.noSuchUser(jid)
        }
        return jid
    }

    /// An account; or a domain, whose devices registered with our own app server.
    private func pushOwner(_ request: AdministrationRequest) throws -> BareJID {
        guard let text = request.jid, !text.contains("@"), let domain = try? BareJID(text),
            domain.isDomain
        else { return try account(request) }
        // A bare name means the first domain, if there is such a user.
        if !host.isLocal(domain.domain), let jid = try? account(request),
            try host.accounts.account(jid) != nil
        {
            return jid
        }
        return domain
    }
}
