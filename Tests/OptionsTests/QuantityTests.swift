// Numbers, sizes, durations and truth values: what each type takes, and the words with which it
// refuses the rest.

import Options
import Testing

@Suite struct QuantityTests {
    @Test("An optional number is nil until it is set, and has bounds")
    func optionalInteger() throws {
        func result(_ yaml: String) throws -> Result<Int?, ConfigurationErrors> {
            try read(yaml) { $0.optionalInteger("port", in: 0...65_535, help: "Port.") }
        }
        #expect(try result("").value == .some(nil))
        #expect(try result("port: ~").value == .some(nil))
        #expect(try result("port: 0").value == 0)
        #expect(try result("port: 5270").value == 5270)
        #expect(
            try result("port: 65536").message
                == "kinglet.yaml:1: port: expected a whole number between 0 and 65535; "
                + "found \"65536\"")
    }

    @Test(
        "A whole number is read from decimal digits",
        arguments: [
            ("1", 1), ("-5", -5), ("0", 0), ("100", 100), ("\"42\"", 42), ("'7'", 7),
        ])
    func integers(text: String, expected: Int) throws {
        let result = try read("count: \(text)") {
            $0.integer("count", default: 3, in: -5...100, help: "Count.")
        }
        #expect(result.value == expected)
    }

    @Test(
        "Anything else is not a whole number",
        arguments: [
            ("many", #"found "many""#),
            ("101", #"found "101""#),
            ("-6", #"found "-6""#),
            ("5.0", #"found "5.0""#),
            ("1e1", #"found "1e1""#),
            ("+5", #"found "+5""#),
            ("1:30", #"found "1:30""#),
            ("99999999999999999999", #"found "99999999999999999999""#),
            ("\"\"", #"found """#),
            ("1_0", #"found "1_0"; write the number without underscores"#),
            ("010", #"found "010"; write the number in decimal digits without leading zeros"#),
            ("0x10", #"found "0x10"; write the number in decimal digits without leading zeros"#),
            ("0o17", #"found "0o17""#),
            ("[1]", "found a list"),
            ("{a: 1}", "found a group of keys"),
        ])
    func notIntegers(text: String, found: String) throws {
        let result = try read("count: \(text)") {
            $0.integer("count", default: 3, in: -5...100, help: "Count.")
        }
        #expect(
            result.message
                == "kinglet.yaml:1: count: expected a whole number between -5 and 100; \(found)")
    }

    @Test(
        "A size is a number of bytes, or a number with a binary unit",
        arguments: [
            ("0", 0), ("1000", 1_000), ("512B", 512), ("256KiB", 262_144), ("1MiB", 1_048_576),
            ("3GiB", 3_221_225_472), ("1TiB", 1_099_511_627_776), ("\"2KiB\"", 2_048),
        ])
    func sizes(text: String, expected: Int) throws {
        let result = try read("size: \(text)") {
            $0.size("size", default: 1_024, in: 0...(1 << 40), help: "Size.")
        }
        #expect(result.value == expected)
    }

    @Test(
        "Anything else is not a size",
        arguments: [
            ("many", #"found "many""#),
            ("512", #"found "512""#),
            ("17MiB", #"found "17MiB""#),
            ("-1KiB", #"found "-1KiB""#),
            ("1.5MiB", "found \"1.5MiB\"; \(Self.sizeUnits)"),
            ("256KB", "found \"256KB\"; \(Self.sizeUnits)"),
            ("256 KiB", "found \"256 KiB\"; \(Self.sizeUnits)"),
            ("256kib", "found \"256kib\"; \(Self.sizeUnits)"),
            ("1_024KiB", #"found "1_024KiB"; write the number without underscores"#),
            ("9999999999999999TiB", #"found "9999999999999999TiB""#),
            ("9999999TiB", #"found "9999999TiB""#),
            ("[1KiB]", "found a list"),
        ])
    func notSizes(text: String, found: String) throws {
        let result = try read("size: \(text)") {
            $0.size("size", default: 256 << 10, in: (1 << 10)...(16 << 20), help: "Size.")
        }
        #expect(
            result.message
                == "kinglet.yaml:1: size: expected a size between 1KiB and 16MiB, "
                + "such as 256KiB; \(found)")
    }

    @Test(
        "A duration is a number with its unit",
        arguments: [
            ("250ms", Duration.milliseconds(250)), ("90s", .seconds(90)), ("10m", .seconds(600)),
            ("2h", .seconds(7_200)), ("7d", .seconds(604_800)), ("0", .zero), ("0s", .zero),
        ])
    func durations(text: String, expected: Duration) throws {
        let result = try read("wait: \(text)") {
            $0.duration("wait", default: .zero, in: .zero ... .seconds(864_000), help: "Wait.")
        }
        #expect(result.value == expected)
    }

    @Test(
        "Anything else is not a duration",
        arguments: [
            ("soon", #"found "soon""#),
            ("0", #"found "0""#),
            ("25h", #"found "25h""#),
            ("90", "found \"90\"; \(Self.durationUnits)"),
            ("1w", "found \"1w\"; \(Self.durationUnits)"),
            ("1h30m", "found \"1h30m\"; \(Self.durationUnits)"),
            ("1.5h", "found \"1.5h\"; \(Self.durationUnits)"),
            ("-5s", #"found "-5s""#),
            ("010s", #"found "010s"; write the number in decimal digits without leading zeros"#),
            ("9223372036854775807d", #"found "9223372036854775807d""#),
        ])
    func notDurations(text: String, found: String) throws {
        let result = try read("wait: \(text)") {
            $0.duration(
                "wait", default: .seconds(90), in: .seconds(1) ... .seconds(86_400),
                help: "Wait.")
        }
        #expect(
            result.message
                == "kinglet.yaml:1: wait: expected a duration between 1s and 1d, "
                + "such as 90s; \(found)")
    }

    @Test(
        "A number may have a fraction and an exponent",
        arguments: [
            ("1", 1), ("0.5", 0.5), ("-2.25", -2.25), ("1e2", 100), ("25E-1", 2.5), ("1.5e+1", 15),
        ])
    func numbers(text: String, expected: Double) throws {
        let result = try read("load: \(text)") {
            $0.number("load", default: 0, in: -10...100, help: "Load.")
        }
        #expect(result.value == expected)
    }

    @Test(
        "Anything else is not a number",
        arguments: [
            ("much", #"found "much""#),
            (".5", #"found ".5""#),
            ("5.", #"found "5.""#),
            ("1e", #"found "1e""#),
            ("1e+-1", #"found "1e+-1""#),
            (".inf", #"found ".inf""#),
            ("nan", #"found "nan""#),
            ("1e999", #"found "1e999""#),
            ("1.01", #"found "1.01""#),
            ("1,0", #"found "1,0""#),
            ("0_1", #"found "0_1"; write the number without underscores"#),
            ("00.5", #"found "00.5"; write the number in decimal digits without leading zeros"#),
        ])
    func notNumbers(text: String, found: String) throws {
        let result = try read("load: \(text)") {
            $0.number("load", default: 0.5, in: 0...1, help: "Load.")
        }
        #expect(
            result.message == "kinglet.yaml:1: load: expected a number between 0 and 1; \(found)")
    }

    @Test(
        "A boolean takes all of YAML's words, in any case",
        arguments: [
            ("true", true), ("yes", true), ("on", true), ("True", true), ("ON", true),
            ("false", false), ("no", false), ("off", false), ("No", false), ("\"off\"", false),
        ])
    func booleans(text: String, expected: Bool) throws {
        let result = try read("flag: \(text)") {
            $0.boolean("flag", default: !expected, help: "Flag.")
        }
        #expect(result.value == expected)
    }

    @Test(
        "Anything else is not a boolean",
        arguments: [
            ("maybe", #"found "maybe""#), ("1", #"found "1""#), ("y", #"found "y""#),
            ("[true]", "found a list"),
        ])
    func notBooleans(text: String, found: String) throws {
        let result = try read("flag: \(text)") { $0.boolean("flag", default: true, help: "Flag.") }
        #expect(result.message == "kinglet.yaml:1: flag: expected true or false; \(found)")
    }

    @Test("A key without a value has its default", arguments: ["", "~", "null", "Null", "NULL"])
    func null(text: String) throws {
        let result = try read("count: \(text)") {
            $0.integer("count", default: 3, in: 0...9, help: "Count.")
        }
        #expect(result.value == 3)
    }

    private static let sizeUnits =
        "the units are B, KiB, MiB, GiB and TiB, directly behind the number"
    private static let durationUnits =
        "the units are ms, s, m, h and d, directly behind the number"
}
