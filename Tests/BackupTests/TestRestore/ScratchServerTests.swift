// The second server as the test sees it: its log, and its end.

import Glibc
import Programs
import Testing

@testable import Backup

@Suite("The server of a test restore")
struct ScratchServerTests {
    private static let line =
        #"{"certificates":"AA:BB","level":"notice","listeners":"client=1 client_tls=40001","#
        + #""metrics":"2","msg":"ready","time":"x"}"#

    @Test("The line that says it is ready is read, and no other")
    func lines() {
        #expect(
            ScratchServer.ready(Array(Self.line.utf8))
                == ReadyServer(port: 40001, fingerprints: ["AA:BB"]))
        for text in [
            "", "ready", "{}", #"{"msg":"ready"}"#, #"{"msg":"ready","listeners":"client_tls=0"}"#,
            #"{"msg":"ready","listeners":"client_tls=99999"}"#,
            #"{"msg":"other","listeners":"client_tls=1"}"#,
            #"{"msg":"ready","listeners":"client_tls=-1"}"#,
        ] { #expect(ScratchServer.ready(Array(text.utf8)) == nil, "\(text)") }
    }

    private func shell(_ script: String) -> ScratchServer {
        var program = Program("/bin/sh", ["-c", script])
        program.grace = .seconds(1)
        return ScratchServer(program)
    }

    @Test("It is waited for, and ends when it is asked to")
    func start() throws {
        let server = shell("echo noise >&2; echo '\(Self.line)' >&2; exec sleep 600")
        #expect(try server.awaitReady(.seconds(120), Cancellation()).port == 40001)
        #expect(server.stop())
        // Twice is once.
        #expect(server.stop())
    }

    @Test("One that does not start is a fault of the snapshot, in its own words")
    func failure() throws {
        let server = shell("echo 'kinglet: no such thing' >&2; exit 1")
        #expect { _ = try server.awaitReady(.seconds(120), Cancellation()) } throws: { error in
            let error = error as? BackupError
            return error?.code == .damaged && error?.message.contains("no such thing") == true
        }
        #expect(!server.stop())
    }

    @Test("One that does not come to an end is killed, and one that says nothing is given up")
    func silence() throws {
        let server = shell("trap '' TERM; while :; do sleep 1; done")
        #expect { _ = try server.awaitReady(.milliseconds(300), Cancellation()) } throws: {
            ($0 as? BackupError)?.code == .temporary
        }
        server.stop()
    }

    @Test("Who cancels does not wait")
    func cancellation() throws {
        let server = shell("exec sleep 600")
        defer { server.stop() }
        let cancellation = Cancellation()
        cancellation.cancel("enough")
        #expect { _ = try server.awaitReady(.seconds(600), cancellation) } throws: {
            ($0 as? BackupError)?.code == .cancelled
        }
    }

    private struct FakeServer: TestRestoreServer {
        let script: String
        var messages = 3
        func makeProbe(configuration: String) throws(BackupError) -> ProbeAccount {
            guard Files.exists(configuration) else {
                throw BackupError(.damaged, subject: configuration, "is not there")
            }
            return ProbeAccount(
                name: "probe", domain: "a", password: "b", messages: 1, storedAccounts: 1,
                storedMessages: messages)
        }
        func program(configuration: String) -> Program {
            Program("/bin/sh", ["-c", script])
        }
    }

    private func test(_ folder: RestoreFolder, _ target: FakeTarget, _ script: String) throws {
        let test = TestRestore(
            parts: FakeParts(), server: FakeServer(script: script), scratch: folder.path,
            patience: .seconds(120))
        _ = try test.run(try target.manifest(), try target.list(), from: target, folder.context)
    }

    @Test("Whatever happens, nothing is left")
    func scratch() throws {
        let folder = try RestoreFolder()
        var broken = FakeTarget.example()
        broken.failure = BackupError(.temporary, subject: "target", "is gone")
        #expect(throws: BackupError.self) { try test(folder, broken, "exit 1") }
        #expect(try folder.names().isEmpty)
        // Nobody listens at this port.
        let line = Self.line.replacing("40001", with: "1")
        #expect(throws: BackupError.self) {
            try test(folder, .example(), "echo '\(line)' >&2; exec sleep 600")
        }
        #expect(try folder.names().isEmpty)
        try folder.write("restore-test/data/kinglet.db", "left")
        try TestRestore.cleanUp(scratch: folder.path)
        #expect(try folder.names().isEmpty)
    }

    @Test("A server that has opened other data than what was restored is a failure")
    func otherData() throws {
        let folder = try RestoreFolder()
        let test = TestRestore(
            parts: FakeParts(), server: FakeServer(script: "exit 1", messages: 0),
            scratch: folder.path, patience: .seconds(120))
        let target = FakeTarget.example()
        #expect {
            _ = try test.run(try target.manifest(), try target.list(), from: target, folder.context)
        } throws: { error in
            let error = error as? BackupError
            return error?.code == .damaged
                && error?.message.contains("1 accounts and 0 messages in place of 1 and 3") == true
        }
    }

    @Test("A server that is ready and then says nothing in time may be right: it is tried again")
    func silentServer() throws {
        let folder = try RestoreFolder()
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                #expect(bind(listener, $0, size) == 0 && listen(listener, 1) == 0)
                #expect(getsockname(listener, $0, &size) == 0)
            }
        }
        let line = Self.line.replacing("40001", with: "\(UInt16(bigEndian: address.sin_port))")
        let server = FakeServer(script: "echo '\(line)' >&2; exec sleep 600")
        let test = TestRestore(
            parts: FakeParts(), server: server, scratch: folder.path, patience: .seconds(1))
        let target = FakeTarget.example()
        #expect {
            _ = try test.run(try target.manifest(), try target.list(), from: target, folder.context)
        } throws: { error in
            let error = error as? BackupError
            return error?.code == .temporary && error?.message.contains("in time") == true
        }
    }

    @Test("Too little space is no fault of the snapshot's")
    func space() throws {
        let folder = try RestoreFolder()
        var target = FakeTarget.example()
        target.databases[0].pageCount = 1 << 50
        #expect { try test(folder, target, "exit 1") } throws: {
            ($0 as? BackupError)?.code == .absent
        }
    }
}
