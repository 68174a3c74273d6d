// Which certificates are shown for which domain, and the local authority's, which renews by
// itself.

internal import Addresses
internal import Engine
internal import Options
internal import TLS

/// The identities of the configuration.
struct Certificates {
    /// A local certificate is renewed when it has less than this left.
    private static let renewal: Int64 = 30 * 86_400

    let program: ProgramOptions

    /// Whether any domain relies on the certificate that `init` made.
    var usesLocalAuthority: Bool { program.certificate.value == nil }

    func identities() throws -> [TLSIdentity] {
        let ascii = try program.domains.map { try Preparation.domainASCII($0) }
        var identities: [TLSIdentity] = []
        var served: Set<String> = []
        for record in program.certificates.value {
            let domains = try record.strings("domains").map {
                try Preparation.domainASCII(try Preparation.domain($0))
            }
            served.formUnion(domains)
            identities.append(
                TLSIdentity(
                    domains: domains,
                    certificateFile: program.path(record.string("certificate") ?? ""),
                    keyFile: program.path(record.string("key") ?? "")))
        }
        let rest = ascii.filter { !served.contains($0) }
        switch (program.certificate.value, program.certificateKey.value) {
        case (let certificate?, let key?):
            let identity = TLSIdentity(
                domains: rest, certificateFile: program.path(certificate),
                keyFile: program.path(key))
            identities.insert(identity, at: 0)
        case (nil, nil):
            guard !rest.isEmpty else { break }
            let files = program.files
            let components = try componentDomains().filter { !served.contains($0) }
            identities.insert(
                TLSIdentity(
                    domains: rest + components, certificateFile: files.serverCertificate,
                    keyFile: files.serverKey), at: 0)
        case (_?, nil):
            throw Failure("tls.certificate is set and tls.key is not; add the file of its key")
        case (nil, _?):
            throw Failure("tls.key is set and tls.certificate is not; add the certificate's file")
        }
        return identities
    }

    /// Components and services below one of the domains, which other servers find here: the local
    /// certificate covers them, too. For others the authority may not vouch.
    private func componentDomains() throws -> [String] {
        let ascii = try program.domains.map { try Preparation.domainASCII($0) }
        return try (program.components.domains + program.serviceDomains)
            .map { try Preparation.domainASCII($0) }
            .filter { component in ascii.contains { component.hasSuffix("." + $0) } }
    }

    /// Makes the local authority and its certificate if they are needed and not there, and renews
    /// a certificate that runs out or lacks a domain. True if something was written.
    @discardableResult
    func prepareLocal(now: Int64) throws -> Bool {
        guard usesLocalAuthority else { return false }
        let files = program.files
        let domains =
            try program.domains.map { try Preparation.domainASCII($0) } + (try componentDomains())
        let authority = try readFile(files.authorityCertificate)
        let authorityKey = try readFile(files.authorityKey)
        guard let authority, let authorityKey else {
            guard authority == nil, authorityKey == nil else {
                let missing = authority == nil ? files.authorityCertificate : files.authorityKey
                throw Failure(
                    "\(missing) is missing, but the other half of the local authority is there; "
                        + "restore both from a backup, or remove both to make a new authority "
                        + "that phones must trust anew")
            }
            let made = try LocalAuthority.create(
                domains: domains, authorityName: "Kinglet \(domains.first ?? "")", now: now)
            try writeFile(files.authorityKey, Array(made.authorityKeyPEM.utf8), mode: 0o600)
            try writeFile(
                files.authorityCertificate, Array(made.authorityCertificatePEM.utf8), mode: 0o644)
            try writeServer(made.serverKeyPEM, made.serverCertificatePEM)
            return true
        }
        guard try needsRenewal(domains, now: now) else { return false }
        do {
            let issued = try LocalAuthority.issue(
                domains: domains, authorityKeyPEM: String(decoding: authorityKey, as: UTF8.self),
                authorityCertificatePEM: String(decoding: authority, as: UTF8.self), now: now)
            try writeServer(issued.keyPEM, issued.certificatePEM)
        } catch let error as TLSError where error.code == .domainRefused {
            throw Failure(
                "the local authority vouches only for the domains that it was made for, and not "
                    + "for all of \(program.domains.joined(separator: ", ")); remove "
                    + "\(files.authorityCertificate) and \(files.authorityKey) to make a new one "
                    + "that phones must trust anew, or set tls.certificate and tls.key")
        }
        return true
    }

    private func needsRenewal(_ domains: [String], now: Int64) throws -> Bool {
        let files = program.files
        guard try readFile(files.serverCertificate) != nil, try readFile(files.serverKey) != nil
        else { return true }
        let identity = TLSIdentity(
            domains: domains, certificateFile: files.serverCertificate, keyFile: files.serverKey)
        do {
            let summary = try TLSServerContext([identity]).certificates[0]
            return summary.notAfter - now < Self.renewal
                || !Set(domains).isSubset(of: summary.domains)
        } catch {
            guard error.code == .certificateExpired else { throw error }
            return true
        }
    }

    private func writeServer(_ key: String, _ certificate: String) throws {
        let files = program.files
        try writeFile(files.serverKey, Array(key.utf8), mode: 0o600)
        try writeFile(files.serverCertificate, Array(certificate.utf8), mode: 0o644)
    }
}
