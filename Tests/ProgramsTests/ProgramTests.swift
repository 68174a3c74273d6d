import Foundation
import Programs
import Testing

@Suite("Programs are run within bounds")
struct ProgramTests {
    private func shell(_ script: String) -> Program { Program("/bin/sh", ["-c", script]) }

    private func text(
        _ program: Program, input: (() -> [UInt8]?)? = nil, isWanted: () -> Bool = { true }
    ) throws -> (end: Program.End, output: String, errors: String) {
        var output: [UInt8] = []
        var errors: [UInt8] = []
        let end = try program.run(
            input: input, isWanted: isWanted, output: { output += $0 }, errors: { errors += $0 })
        return (
            end, String(decoding: output, as: UTF8.self), String(decoding: errors, as: UTF8.self)
        )
    }

    @Test("Output, complaints and status are told apart")
    func output() throws {
        let result = try text(shell("echo one; echo two >&2; exit 23"))
        #expect(result.end == .exited(23))
        #expect(result.output == "one\n")
        #expect(result.errors == "two\n")
    }

    @Test("More input and output than a pipe holds goes through")
    func largeInput() throws {
        var left = 100
        let result = try text(
            Program("/usr/bin/wc", ["-c"]),
            input: {
                left -= 1
                return left >= 0 ? [UInt8](repeating: 65, count: 50_000) : nil
            })
        #expect(result.output.filter(\.isNumber) == "5000000")
        let echoed = try text(
            Program("/bin/cat", []),
            input: {
                left += 2
                return left < 100 ? [UInt8](repeating: 66, count: 50_000) : nil
            })
        #expect(echoed.output.utf8.count % 50_000 == 0)
        #expect(echoed.output.utf8.count > 1_000_000)
    }

    @Test("One that reads nothing of its input ends with its own status")
    func unreadInput() throws {
        signal(SIGPIPE, SIG_IGN)
        let result = try text(shell("exit 7"), input: { [UInt8](repeating: 0, count: 65_536) })
        #expect(result.end == .exited(7))
    }

    @Test("Input that is held neither ends nor gives anything while the program runs")
    func heldInput() throws {
        var held = shell("timeout 0.3 cat; echo $?")
        held.holdsInput = true
        #expect(try text(held).output == "124\n")
        #expect(try text(shell("timeout 600 cat; echo $?")).output == "0\n")
    }

    @Test("One that is no longer wanted ends with all that it started")
    func stopped() throws {
        let began = ContinuousClock.now
        let result = try text(shell("sleep 600 & sleep 600"), isWanted: { false })
        #expect(result.end == .stopped)
        #expect(ContinuousClock.now - began < .seconds(300))
    }

    @Test("What one leaves running is neither waited for nor ended, and its own words are read")
    func daemon() throws {
        let began = ContinuousClock.now
        let result = try text(
            shell("sleep 600 & echo $!; yes | head -c 60000; echo words >&2; exit 4"))
        #expect(ContinuousClock.now - began < .seconds(300))
        #expect(result.end == .exited(4) && result.errors == "words\n")
        let lines = result.output.split(separator: "\n")
        #expect(lines.count == 30_001)
        let child = try #require(lines.first.flatMap { pid_t($0) })
        #expect(kill(child, SIGTERM) == 0, "it still runs")
    }

    @Test("One that leaves a child which writes and writes has ended all the same")
    func chattyDaemon() throws {
        var count = 0
        // It ends when it writes to what nobody reads any more.
        let end = try shell("yes & exit 0").run { count += $0.count }
        #expect(end == .exited(0) && count > 1_000_000)
    }

    @Test("One that is to stand still takes no more of the CPU than it may, and goes on afterwards")
    func paused() throws {
        var seen: [Double] = []
        var stops = 0
        var output: [UInt8] = []
        let end = try shell("i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; echo $i").run(
            pause: { cpu in
                seen.append(cpu)
                guard cpu > 0, stops < 3 else { return 0 }
                stops += 1
                return 0.05
            }, output: { output += $0 })
        #expect(end == .exited(0))
        #expect(String(decoding: output, as: UTF8.self) == "300000\n")
        #expect(seen == seen.sorted())
        // What stands still takes nothing: each of the questions in a row has the same answer.
        #expect(stops == 3)
    }

    @Test("One that stands still is ended as soon as it is no longer wanted")
    func stoppedInPause() throws {
        var questions = 0
        let end = try shell("while true; do :; done").run(
            isWanted: {
                questions += 1
                return questions < 5
            }, pause: { _ in 0.05 }, output: { _ in })
        #expect(end == .stopped)
    }

    @Test("One that ignores SIGTERM is killed")
    func stubborn() throws {
        var program = shell("trap '' TERM; while true; do sleep 0.1; done")
        program.timeLimit = .milliseconds(300)
        program.grace = .milliseconds(300)
        #expect(try text(program).end == .timedOut)
    }

    @Test("It has our environment only where it was given, and no descriptors but one")
    func inheritance() throws {
        var program = shell("env | sort; ls /proc/$$/fd")
        program.environment["TOKEN"] = "secret"
        let plain = try text(program)
        #expect(plain.output.contains("TOKEN=secret"))
        #expect(!plain.output.contains("HOME="))
        #expect(!plain.output.split(separator: "\n").contains("3"))
        let file = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { close(file) }
        program.inherited = file
        program.arguments = ["-c", "readlink /proc/$$/fd/3"]
        #expect(try text(program).output == "/dev/null\n")
    }

    @Test("What cannot be started says why")
    func missing() {
        #expect(throws: Program.Failure.self) { try text(Program("/nonexistent", [])) }
        #expect(Program.find("no-such-program-here") == nil)
        #expect(Program.find("sh")?.hasSuffix("/sh") == true)
    }
}
