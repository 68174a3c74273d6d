// systemd's units as `systemctl` prints them, and the running of such a program.

import Glibc
import Prometheus
import Testing

@testable import Hardware

private func read(
    _ printed: String?, units: [String] = HardwareSettings.defaultUnits
) -> (samples: [Sample], failure: ReadingError?) {
    let tree = ScratchTree()
    if let printed { tree.write("systemctl", printed) }
    var samples: [Sample] = []
    do throws(ReadingError) {
        let settings = HardwareSettings(units: units)
        try SystemdUnits(settings).read(Machine(roots: tree.roots), into: &samples)
        return (samples, nil)
    } catch {
        return (samples, error)
    }
}

/// What `systemctl` prints of a unit.
private func block(
    _ id: String, _ active: String, load: String = "loaded", restarts: String? = "0"
) -> String {
    (restarts.map { "NRestarts=\($0)\n" } ?? "")
        + "Id=\(id)\nLoadState=\(load)\nActiveState=\(active)\n"
}

private func sample(_ family: String, _ unit: String, _ value: Double) -> Sample {
    Sample("kinglet_machine_unit_\(family)", labels: [("unit", unit)], value: value)
}

private func failedUnits(_ value: Double) -> Sample {
    Sample("kinglet_machine_failed_units", value: value)
}

@Suite("systemd units")
struct SystemdUnitsTests {
    @Test("A machine without systemd shows nothing")
    func absent() {
        #expect(read(nil).samples.isEmpty)
        #expect(read(nil).failure == nil)
    }

    @Test("A unit is active, failed, or neither; a timer has no restarts")
    func states() {
        let printed =
            "NFailedUnits=1\n\n" + block("ssh.service", "active") + "\n"
            + block("nut.service", "failed", restarts: "5") + "\n"
            + block("new.service", "activating") + "\n"
            + block("a.timer", "active", restarts: nil)
        #expect(
            read(printed).samples == [
                failedUnits(1),
                sample("active", "ssh.service", 1), sample("failed", "ssh.service", 0),
                sample("restarts_total", "ssh.service", 0),
                sample("active", "nut.service", 0), sample("failed", "nut.service", 1),
                sample("restarts_total", "nut.service", 5),
                sample("active", "new.service", 0), sample("failed", "new.service", 0),
                sample("restarts_total", "new.service", 0),
                sample("active", "a.timer", 1), sample("failed", "a.timer", 0),
            ])
    }

    @Test("Units that are not installed or masked are absent")
    func notInstalled() {
        let printed =
            "NFailedUnits=0\n\n" + block("a.service", "inactive", load: "not-found") + "\n"
            + block("b.service", "inactive", load: "masked")
        #expect(read(printed).samples == [failedUnits(0)])
        #expect(read(printed).failure == nil)
    }

    @Test("Two names of one unit are one series")
    func alias() {
        let unit = block("ssh.service", "active")
        #expect(read("NFailedUnits=0\n\n\(unit)\n\(unit)").samples.count == 4)
    }

    @Test("Without units only the number of failed ones is asked")
    func noUnits() {
        let printed = "NFailedUnits=3\n\n" + block("ssh.service", "active")
        #expect(read(printed, units: []).samples == [failedUnits(3)])
    }

    @Test(
        "What cannot be understood is a failure, and hides no other unit",
        arguments: [
            block("a.service", "dancing"), block("a.service", "active", restarts: "-1"),
            block("a.service", "active", restarts: "99999999999"), block("-a b", "active"),
            "Id=a.service\nLoadState=loaded\n",
        ])
    func garbage(_ broken: String) {
        let result = read("NFailedUnits=0\n\n\(broken)\n" + block("b.service", "active"))
        #expect(result.failure?.code == .malformed)
        #expect(result.samples.contains(sample("active", "b.service", 1)))
    }

    @Test(
        "A number of failed units that is none is a failure",
        arguments: ["", "hello\n", "NFailedUnits=\n", "NFailedUnits=-1\n", "NFailedUnits=9e9\n"])
    func garbageCount(_ printed: String) {
        #expect(read(printed).failure?.code == .malformed)
        #expect(read(printed).samples.isEmpty)
    }

    @Test("There are never more units than may be configured")
    func bounded() {
        let blocks = (0..<500).map { "\n" + block("u\($0).service", "active", restarts: nil) }
        let samples = read("NFailedUnits=0\n" + blocks.joined()).samples
        #expect(samples.count == 1 + 2 * HardwareSettings.unitLimit)
    }

    @Test("A unit's name is no option, no pattern and no path")
    func names() {
        for name in HardwareSettings.defaultUnits + ["getty@tty1.service", "dev-sda\\x2d1.device"] {
            #expect(SystemdUnits.isUnitName(name))
        }
        for name in [
            "", "ssh", "--version.x", "*.service", "a b.service", "/etc/x.service", "a.",
            ".service", "ä.service", "a\n.service", String(repeating: "a", count: 200) + ".service",
        ] {
            #expect(!SystemdUnits.isUnitName(name), "\(name)")
        }
    }
}

@Suite("Child processes", .timeLimit(.minutes(10)))
struct ChildProcessTests {
    private func shell(
        _ script: String, outputLimit: Int = 64 * 1024, timeLimit: Duration = .seconds(120)
    ) -> ChildProcess {
        ChildProcess(
            path: "/bin/sh", arguments: ["-c", script], outputLimit: outputLimit,
            timeLimit: timeLimit)
    }

    @Test("Arguments are handed over as they are, and the output comes back whole")
    func output() throws {
        let echo = ChildProcess(path: "/bin/echo", arguments: ["a b", "$HOME", "*", "\"'"])
        #expect(try echo.output() == "a b $HOME * \"'\n")
        let long = try shell("i=0; while [ $i -lt 2000 ]; do echo 0123456789; i=$((i+1)); done")
            .output()
        #expect(long.utf8.count == 22_000)
    }

    @Test("More than the pipe takes at once waits until it is read")
    func fullPipe() throws {
        let size = 300_000
        let output = try shell("head -c \(size) /dev/zero", outputLimit: size).output()
        #expect(output.utf8.count == size)
    }

    @Test("It gets no environment but a language and a path")
    func environment() throws {
        setenv("KINGLET_SECRET", "secret", 1)
        defer { unsetenv("KINGLET_SECRET") }
        let lines = try ChildProcess(path: "/usr/bin/env", arguments: []).output()
            .split(separator: "\n").sorted()
        #expect(lines == ["LANG=C", "PATH=/usr/bin:/bin"])
    }

    @Test("It gets no descriptor of ours, not even one that forgot to close itself")
    func descriptors() throws {
        let descriptor = open("/dev/null", O_RDONLY)
        defer { close(descriptor) }
        try #require(descriptor > 2)
        let links = try shell("for f in /proc/$$/fd/*; do readlink $f; done; cat").output()
            .split(separator: "\n")
        // Its input, output and complaints; the shell may hold a script of its own, not here.
        #expect(links.count == 3)
        #expect(links.first == "/dev/null" && links.last == "/dev/null")
    }

    @Test("It is not deaf to signals, as the threads that read are")
    func signals() async throws {
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        try ReadingThread.start {
            let child = shell("grep -E '^Sig(Blk|Ign)' /proc/self/status")
            continuation.yield((try? child.output()) ?? "failed")
        }
        for await printed in lines {
            let masks = printed.split(separator: "\n").compactMap {
                UInt64($0.split(separator: "\t").last ?? "", radix: 16)
            }
            // Signals 32 and 33 are the C library's own.
            #expect(masks.map { $0 & ~(3 << 31) } == [0, 0], "\(printed)")
            break
        }
    }

    @Test("One that fails or is missing is a failure")
    func fails() {
        #expect(throws: ReadingError.self) { try shell("echo fine; exit 3").output() }
        #expect(throws: ReadingError.self) { try shell("kill -9 $$").output() }
        let missing = ChildProcess(path: "/nonexistent/systemctl", arguments: [])
        #expect(throws: ReadingError.self) { try missing.output() }
    }

    @Test(
        "One that never ends is killed, and its remains are taken away",
        arguments: ["exec sleep 1000", "exec >&-; exec sleep 1000"])
    func endless(_ script: String) throws {
        let tree = ScratchTree()
        let child = shell(
            "echo $$ > \(tree.path)/pid; \(script)", timeLimit: .seconds(3))
        do throws(ReadingError) {
            _ = try child.output()
            Issue.record("it ended")
        } catch {
            #expect(error.code == .timeout)
        }
        let process = try #require(try SystemFile.integer("\(tree.path)/pid"))
        #expect(kill(pid_t(process), 0) == -1)
    }

    @Test("One that writes without end is killed")
    func writesTooMuch() {
        #expect(throws: ReadingError.self) {
            try shell("while :; do echo 0123456789; done", outputLimit: 4096).output()
        }
    }
}
