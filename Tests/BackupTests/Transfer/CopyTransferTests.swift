import Foundation
import Glibc
import Testing

@testable import Backup

/// How files come to a folder where rsync is not installed.
@Suite("Copying without rsync")
struct CopyTransferTests {
    private func request(
        _ installation: Installation, to name: String, sharing others: [String] = []
    ) throws -> TransferRequest {
        try Files.makeFolder(installation.base + "/\(name)")
        return TransferRequest(
            sources: [installation.base + "/uploads"],
            destination: installation.base + "/\(name)/",
            linkDestinations: others.map { installation.base + "/\($0)" },
            context: installation.context)
    }

    private func status(_ installation: Installation, _ path: String) throws -> stat {
        var status = stat()
        try #require(lstat(installation.base + "/\(path)", &status) == 0)
        return status
    }

    @Test("It never sends faster than it may, and tells how far it is")
    func bandwidth() throws {
        let installation = try Installation(bandwidth: 4 << 20)
        try installation.write("uploads/ab/large", [UInt8](repeating: 5, count: 2 << 20))
        var request = try request(installation, to: "one")
        request.expectedBytes = 2 << 20
        let began = ContinuousClock.now
        let report = try CopyTransfer().send(request)
        #expect(ContinuousClock.now - began >= .milliseconds(499))
        #expect(report.bytesSent == 2 << 20 && report.files == 1)
        #expect(installation.heard.progress.last?.ratio == 1)
    }

    @Test("Waiting for the bandwidth ends when the run is cancelled")
    func cancelled() throws {
        let cancellation = Cancellation()
        // A year for the rest.
        let installation = try Installation(bandwidth: 1, cancellation: cancellation)
        try installation.write("uploads/ab/large", [UInt8](repeating: 5, count: 1 << 20))
        let request = try request(installation, to: "one")
        let place = installation.base + "/one/uploads/ab/.kinglet-copy"
        let thread = Thread {
            var status = stat()
            let deadline = ContinuousClock.now + .seconds(60)
            while ContinuousClock.now < deadline {
                if lstat(place, &status) == 0, status.st_size > 0 { break }
                poll(nil, 0, 2)
            }
            cancellation.cancel("enough")
        }
        thread.start()
        let error = try failure { _ = try CopyTransfer().send(request) }
        #expect(error.code == .cancelled && error.message == "enough")
        #expect(try Files.names(in: installation.base + "/one/uploads/ab").isEmpty)
    }

    @Test(
        "Where no link can be made, a file is copied, and the next ones share the copy",
        .enabled(if: FullDiskTests.mayMount))
    func noLink() throws {
        let installation = try Installation()
        try installation.write("uploads/ab/same", Array("same".utf8))
        let transfer = CopyTransfer()
        // Another file system: as with as many links as there can be, the system says no.
        let one = try request(installation, to: "one")
        let elsewhere = installation.base + "/one"
        try #require(mount("tmpfs", elsewhere, "tmpfs", 0, "size=256k") == 0)
        defer { umount(elsewhere) }
        _ = try transfer.send(one)
        let report = try transfer.send(try request(installation, to: "two", sharing: ["one"]))
        #expect(report.files == 1 && report.literalBytes == 4 && report.matchedBytes == 0)
        let copied = try status(installation, "two/uploads/ab/same")
        #expect(copied.st_nlink == 1)
        let next = try transfer.send(try request(installation, to: "three", sharing: ["two"]))
        #expect(next.files == 0 && next.matchedBytes == 4)
        #expect(try status(installation, "three/uploads/ab/same").st_ino == copied.st_ino)
    }

    @Test(
        "A disk that fills up is told as full, and no part of a file stays",
        .enabled(if: FullDiskTests.mayMount))
    func full() throws {
        let installation = try Installation()
        try installation.write("uploads/ab/large", [UInt8](repeating: 5, count: 2 << 20))
        let request = try request(installation, to: "one")
        let small = installation.base + "/one"
        try #require(mount("tmpfs", small, "tmpfs", 0, "size=256k") == 0)
        defer { umount(small) }
        let error = try failure { _ = try CopyTransfer().send(request) }
        #expect(error.code == .full)
        #expect(try Files.names(in: small + "/uploads/ab").isEmpty)
    }
}
