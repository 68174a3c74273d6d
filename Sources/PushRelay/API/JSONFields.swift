// Reads the body of a request: each field by its type, and what is wrong is gathered, so that a program
// hears of all of it at once.

internal import Addresses
internal import Engine

/// The fields of an object, and what was found wrong with them.
struct JSONFields {
    private let fields: [String: JSONValue]
    private let place: String
    private(set) var faults: [APIProblem.Fault] = []

    /// - Parameters:
    ///   - place: where the object is (RFC 6901).
    ///   - names: what may stand in it.
    init(_ json: JSONValue, at place: String = "", allowing names: Set<String>) {
        if case .object(let fields) = json {
            self.fields = fields
            self.place = place
            for name in fields.keys.sorted() where !names.contains(name) {
                wrong(String(name.prefix(64)), "there is no such field")
            }
        } else {
            fields = [:]
            self.place = place
            faults.append(APIProblem.Fault(pointer: place, detail: "expected an object"))
        }
    }

    subscript(_ name: String) -> JSONValue? { fields[name] }

    func has(_ name: String) -> Bool { fields[name] != nil }

    mutating func wrong(_ name: String, _ detail: String) {
        let escaped = name.replacing("~", with: "~0").replacing("/", with: "~1")
        let pointer = name.isEmpty ? place : "\(place)/\(escaped)"
        faults.append(APIProblem.Fault(pointer: pointer, detail: detail))
    }

    mutating func add(_ other: [APIProblem.Fault]) { faults += other }

    /// The pointer of a field.
    func pointer(_ name: String) -> String { "\(place)/\(name)" }

    // MARK: Types

    /// A text of so many characters.
    mutating func text(_ name: String, _ range: ClosedRange<Int>) -> String? {
        guard let value = fields[name] else { return nil }
        guard let text = value.text, range.contains(text.unicodeScalars.count) else {
            wrong(
                name, "expected a text of \(range.lowerBound) to \(range.upperBound) characters")
            return nil
        }
        return text
    }

    /// A name: letters, digits and some signs.
    mutating func name(_ name: String) -> String? {
        guard let value = fields[name] else { return nil }
        guard let text = value.text, APIName.isName(text) else {
            wrong(name, APIName.advice)
            return nil
        }
        return text
    }

    mutating func number(_ name: String, _ range: ClosedRange<Int64>) -> Int64? {
        guard let value = fields[name] else { return nil }
        guard let number = value.whole, range.contains(number) else {
            wrong(
                name,
                "expected a whole number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    /// A list, each of whose elements `read` takes or finds fault with.
    mutating func list<Value>(
        _ name: String, _ range: ClosedRange<Int>,
        _ read: (JSONValue, String) -> Result<Value, ListFault>
    ) -> [Value] {
        guard let value = fields[name] else { return [] }
        guard case .array(let elements) = value, range.contains(elements.count) else {
            wrong(name, "expected a list of \(range.lowerBound) to \(range.upperBound)")
            return []
        }
        var values: [Value] = []
        for (index, element) in elements.enumerated() {
            let pointer = "\(place)/\(name)/\(index)"
            switch read(element, pointer) {
            case .success(let value): values.append(value)
            case .failure(.one(let detail)):
                faults.append(APIProblem.Fault(pointer: pointer, detail: detail))
            case .failure(.several(let inner)): faults += inner
            }
        }
        return values
    }

    /// What is wrong with an element.
    enum ListFault: Error {
        case one(String)
        case several([APIProblem.Fault])
    }

    /// An object as it is, of so many bytes.
    mutating func object(_ name: String, atMost most: Int) -> [String: JSONValue]? {
        guard let value = fields[name] else { return nil }
        guard case .object(let inner) = value, value.bytes.count <= most else {
            wrong(name, "expected an object of \(most) bytes at most")
            return nil
        }
        return inner
    }
}

/// Names of devices and tags.
enum APIName {
    static let advice = "expected 1 to 64 of A-Z, a-z, 0-9, ., _, : and -"

    static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."),
                    UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    /// A key that another program made: printable characters.
    static let keyAdvice = "expected 1 to 128 printable characters of ASCII"

    static func isKey(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }
}

extension JSONValue {
    /// A time, as RFC 3339 has it.
    static func time(milliseconds: Int64) -> JSONValue {
        .string(Clock.timestamp(milliseconds / 1000))
    }

    static func time(seconds: Int64) -> JSONValue { .string(Clock.timestamp(seconds)) }

    /// Leaves out what is not there.
    static func fields(_ fields: [String: JSONValue?]) -> JSONValue {
        .object(fields.compactMapValues { $0 })
    }
}
