// What a newcomer reads when the server has started: where it is and what to type next.

internal import Glibc
internal import Listeners
internal import Options
internal import TLS

struct Greeting {
    let program: ProgramOptions
    let server: Server
    let initialized: Initialization.Outcome?
    let arguments: CommonArguments

    func print() {
        let domain = program.domains.first ?? ""
        var rows: [(String, String)] = []
        for listener in server.listeners.bound where listener.name.hasPrefix("client") {
            let kind = listener.name == "client" ? "STARTTLS" : "TLS at once"
            rows.append(("clients", "port \(listener.port) (\(kind))"))
        }
        rows.append(
            ("metrics", "http://\(program.metricsAddress.value):\(server.metricsPort)/metrics"))
        let password = InitialPassword(file: program.files.initialPassword)
        if let initialized, let administrator = initialized.administrator {
            rows.append(("administrator", "\(administrator)"))
            if let text = initialized.password {
                rows.append(("password", "\(text)   (shown only now)"))
            }
        }
        if password.exists {
            rows.append(("password", "in \(program.files.initialPassword)"))
        }
        rows.append(("add a user", "\(command) user add alice@\(domain)"))
        let port = server.listeners.bound.first?.port ?? 5222
        let addresses = Self.networkAddresses
        rows.append(
            (
                "from a phone",
                addresses.isEmpty
                    ? "no network address found; connect this machine to the network"
                    : "log in as alice@\(domain); where the app asks for the server or host name "
                        + "(advanced settings): \(addresses.joined(separator: " or ")), port \(port)"
            ))
        if let certificate = server.certificates.first, certificate.issuedByLocalAuthority {
            rows.append(
                (
                    "certificate",
                    "this machine's own authority: \(program.files.authorityCertificate) "
                        + "(firmware-notes/certificates.md)"
                ))
            rows.append(("fingerprint", "SHA-256 \(certificate.fingerprint)"))
        }
        Terminal.say("\nKinglet serves \(program.domains.joined(separator: ", ")).\n")
        for (name, text) in rows {
            Terminal.say(
                "  " + name + String(repeating: " ", count: max(1, 15 - name.count)) + text)
        }
        Terminal.say("\nCtrl-C stops it.\n")
    }

    /// This program as it was called.
    private var command: String {
        let program = CommandLine.arguments.first ?? "kinglet"
        return arguments.config.map { "\(program) --config \($0)" } ?? program
    }

    /// IPv4 addresses of this machine in its networks.
    static var networkAddresses: [String] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var addresses: [String] = []
        var next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr, address.pointee.sa_family == sa_family_t(AF_INET),
                entry.ifa_flags & UInt32(IFF_LOOPBACK) == 0,
                entry.ifa_flags & UInt32(IFF_UP) != 0
            else { continue }
            var text = [CChar](repeating: 0, count: Int(1025))
            let length = socklen_t(MemoryLayout<sockaddr_in>.size)
            guard
                getnameinfo(
                    address, length, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
            else { continue }
            let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            addresses.append(String(decoding: bytes, as: UTF8.self))
        }
        return addresses
    }
}
