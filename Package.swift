// swift-tools-version: 6.2
import PackageDescription

// What a target may import stands above it in this list (CONTRIBUTING.md, ArchitectureTests).

let nio = Package.Dependency.package(
    url: "https://github.com/apple/swift-nio", from: "2.101.0")
let grdb = Package.Dependency.package(
    url: "https://github.com/groue/GRDB.swift", from: "7.10.0")
let log = Package.Dependency.package(
    url: "https://github.com/apple/swift-log", from: "1.16.0")
let argumentParser = Package.Dependency.package(
    url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")
let yams = Package.Dependency.package(
    url: "https://github.com/jpsim/Yams", from: "6.2.0")

let hummingbird = Package.Dependency.package(
    url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0")

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

func target(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(
    _ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []
) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, exclude: exclude, swiftSettings: settings)
}

let package = Package(
    name: "kinglet",
    products: [.executable(name: "kinglet", targets: ["kinglet"])],
    dependencies: [nio, grdb, log, argumentParser, yams, hummingbird],
    targets: [
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl"),
        .systemLibrary(name: "CMicroHTTPD", pkgConfig: "libmicrohttpd"),
        .systemLibrary(name: "CUnicode"),
        .systemLibrary(name: "CMalloc"),
        .systemLibrary(name: "CTimex"),
        .systemLibrary(name: "CSpawn"),
        .systemLibrary(name: "CSync"),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl"),
        .systemLibrary(name: "CAres", pkgConfig: "libcares"),
        target("XML"),
        target("Addresses", ["CUnicode"]),
        target("XMPP", ["XML", "Addresses"]),
        target("Options", [.product(name: "Yams", package: "Yams")]),
        target("Prometheus"),
        target("TLS", ["COpenSSL", nioCore]),
        target("SASL", ["TLS"]),
        target(
            "Storage",
            [
                "Prometheus", .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
            ]),
        target("DNS", ["CAres"]),
        target(
            "Engine",
            [
                "CMalloc", "XML", "Addresses", "XMPP", "Options", "Prometheus", "TLS", "SASL",
                "Storage",
                nioCore, logging,
            ]),
        target(
            "Features",
            [
                "XML", "Addresses", "XMPP", "Options", "Prometheus", "TLS", "SASL", "Storage",
                "Engine", nioCore, logging,
            ]),
        target("Programs", ["CSpawn"]),
        target("Hardware", ["CTimex", "Prometheus", "Storage", "Programs"]),
        target("HTTPClient", ["CCurl", "DNS"]),
        target(
            "PushRelay",
            [
                "XML", "Addresses", "XMPP", "Options", "Prometheus", "TLS", "Storage", "DNS",
                "Engine", "Features", "HTTPClient", nioCore, logging,
            ]),
        target(
            "Backup",
            [
                "CSync", "XML", "Options", "Prometheus", "TLS", "SASL", "Storage", "Programs",
                "HTTPClient",
            ]),
        target("MetricsEndpoint", ["CMicroHTTPD", "Prometheus"]),
        target(
            "Web",
            [
                "Options", "Prometheus", "TLS", "Engine", "MetricsEndpoint", nioCore, nioPosix,
                nioHTTP1, logging, .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Hummingbird", package: "hummingbird"),
            ]),
        target(
            "Administration",
            [
                "Addresses", "Options", "Prometheus", "Storage", "Engine", "PushRelay", "Backup",
            ]),
        target(
            "Listeners",
            [
                "Addresses", "XMPP", "Options", "Prometheus", "TLS", "SASL", "DNS", "Engine",
                "Administration", nioCore, nioPosix, nioHTTP1, logging,
            ]),
        .executableTarget(
            name: "kinglet",
            dependencies: [
                "CMalloc", "XML", "Addresses", "XMPP", "Options", "Prometheus", "TLS", "SASL",
                "Storage", "DNS", "Engine", "Features", "Programs", "Hardware", "HTTPClient",
                "PushRelay", "Backup",
                "MetricsEndpoint", "Web", "Administration", "Listeners",
                nioCore, nioPosix, logging,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),

        tests("XMLTests", ["XML"]),
        tests("AddressesTests", ["Addresses"]),
        tests("XMPPTests", ["XMPP", "XML", "Addresses"]),
        tests("OptionsTests", ["Options"]),
        tests("PrometheusTests", ["Prometheus"]),
        tests("TLSTests", ["TLS", "Programs", nioCore, nioEmbedded]),
        tests("SASLTests", ["SASL", "TLS"]),
        tests("StorageTests", ["Storage", "Prometheus"]),
        tests("DNSTests", ["DNS", "Programs"]),
        tests(
            "EngineTests",
            [
                "Engine", "Features", "XML", "Addresses", "XMPP", "Options", "Prometheus", "TLS",
                "SASL", "Storage", nioCore, nioEmbedded, logging,
            ]),
        tests("ProgramsTests", ["Programs"]),
        tests("HTTPClientTests", ["HTTPClient", "Programs"]),
        tests(
            "PushRelayTests",
            [
                "PushRelay", "XML", "Addresses", "XMPP", "Options", "Prometheus", "TLS", "SASL",
                "Storage", "Engine", "Features", "HTTPClient", "Programs", nioCore, nioEmbedded,
                logging,
            ]),
        tests(
            "WebTests",
            [
                "Web", "Options", "Prometheus", "TLS", "Engine", "Features", "Programs",
                "MetricsEndpoint", nioCore, nioPosix, logging,
            ]),
        tests(
            "BackupTests",
            [
                "Backup", "XML", "Options", "Prometheus", "TLS", "SASL", "Storage", "Programs",
                "HTTPClient",
            ]),
        tests("HardwareTests", ["Hardware", "Prometheus", "Storage"]),
        tests("MetricsEndpointTests", ["MetricsEndpoint", "Prometheus"]),
        tests(
            "AdministrationTests",
            [
                "Administration", "Engine", "Features", "Options", "Prometheus", "Storage",
                "Addresses", logging,
            ]),
        tests("ListenersTests", ["Listeners", "DNS", "Engine", nioCore, nioPosix]),
        tests("ArchitectureTests"),

        .target(
            name: "FuzzTargets",
            dependencies: [
                "XML", "Addresses", "XMPP", "Options", "Prometheus", "TLS", "SASL", "Storage",
                "DNS", "Engine", "Features", "Backup", nioCore, nioEmbedded, logging,
            ], path: "Tests/FuzzTargets", swiftSettings: settings),
        tests("FuzzTests", ["FuzzTargets"]),
    ],
    swiftLanguageModes: [.v6]
)

// Links only with -sanitize=fuzzer, so it is there for `make fuzz` alone.
if Context.environment["KINGLET_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "fuzz", dependencies: ["FuzzTargets"], path: "Tests/FuzzDriver",
            swiftSettings: settings))
}
