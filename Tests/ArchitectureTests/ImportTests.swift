import Foundation
import Testing

@Suite("Targets depend in one direction")
struct ImportTests {
    /// The order of the layers: a target may import what stands before it.
    static let order = [
        "COpenSSL", "CMicroHTTPD", "CUnicode", "CMalloc", "CTimex", "CSpawn", "CCurl", "CSync",
        "CAres", "XML",
        "Addresses", "XMPP", "Options", "Prometheus",
        "TLS", "SASL", "Storage", "DNS", "Engine", "Features", "Programs", "Hardware", "HTTPClient",
        "PushRelay", "Backup", "MetricsEndpoint", "Web", "Administration", "Listeners", "kinglet",
    ]

    /// Modules from outside, and the only targets that may import them.
    static let owners: [String: Set<String>] = [
        "COpenSSL": ["TLS"], "CMicroHTTPD": ["MetricsEndpoint"], "CUnicode": ["Addresses"],
        "CMalloc": ["Engine", "kinglet"], "CTimex": ["Hardware"],
        "CSpawn": ["Programs"], "CCurl": ["HTTPClient"], "CSync": ["Backup"],
        "CAres": ["DNS"],
        "GRDB": ["Storage"], "GRDBSQLite": ["Storage"], "Yams": ["Options"],
        "ArgumentParser": ["kinglet"],
        "NIOPosix": ["Web", "Listeners", "kinglet"], "NIOHTTP1": ["Web", "Listeners"],
        "NIOCore": ["TLS", "Engine", "Features", "PushRelay", "Web", "Listeners", "kinglet"],
        "Hummingbird": ["Web"], "HummingbirdCore": ["Web"], "HTTPTypes": ["Web"],
        "NIOHTTPTypes": ["Web"],
        "Logging": ["Engine", "Features", "PushRelay", "Web", "Listeners", "kinglet"],
    ]

    @Test("A target imports only targets before it")
    func layers() {
        #expect(Set(SourceTree.sources.map(\.target)).isSubset(of: Self.order))
        #expect(SourceTree.sources.count > 80)
        for file in SourceTree.sources {
            let own = Self.order.firstIndex(of: file.target) ?? -1
            for module in file.imports {
                guard let index = Self.order.firstIndex(of: module) else { continue }
                #expect(index < own, "\(file) imports \(module)")
            }
        }
    }

    @Test("Every module from outside has its few users")
    func owners() {
        for file in SourceTree.sources {
            for module in file.imports {
                guard let owners = Self.owners[module] else { continue }
                #expect(owners.contains(file.target), "\(file) imports \(module)")
            }
        }
    }

    @Test("Nothing else comes from outside")
    func foreigners() {
        let known =
            Set(Self.order).union(Self.owners.keys)
            .union(["Glibc", "Foundation", "Dispatch", "Synchronization"])
        for file in SourceTree.sources {
            for module in file.imports {
                #expect(known.contains(module), "\(file) imports \(module)")
            }
        }
    }

    @Test("No second TLS, JSON, XML or HTTP stack is a dependency")
    func dependencies() throws {
        let manifest = try SourceTree.text("Package.swift")
        for name in ["swift-nio-ssl", "swift-crypto", "async-http-client", "jwt-kit", "XMLCoder"] {
            #expect(!manifest.contains(name))
        }
    }

    @Test("A system library's folder holds a module map and a shim, nothing else")
    func systemLibraries() throws {
        let names = [
            "COpenSSL", "CMicroHTTPD", "CUnicode", "CMalloc", "CTimex", "CSpawn", "CCurl", "CSync",
            "CAres",
        ]
        for name in names {
            let folder = SourceTree.root.appendingPathComponent("Sources/\(name)").path
            let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            #expect(files == ["module.modulemap", "shim.h"])
        }
    }
}
