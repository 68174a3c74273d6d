// The description of the interface for programs (OpenAPI 3.1). It is written by hand, in JSON, and put
// together once; the tests hold it against what the interface answers.

internal import HTTPClient

/// The document, as it is served.
enum OpenAPIDocument {
    /// The whole; empty if one of its parts were no JSON, which a test would see.
    static let json: JSONValue = {
        func part(_ text: String) -> [String: JSONValue] {
            guard case .object(let fields)? = JSONValue(Array(text.utf8)) else { return [:] }
            return fields
        }
        var components = part(head)["components"] ?? .object([:])
        components = components.merged(with: [
            "responses": .object(part(responses)),
            "schemas": .object(part(taskSchemas).merging(part(deviceSchemas)) { $1 }),
        ])
        let paths = part(tasks).merging(part(registrations)) { $1 }
        return JSONValue.object(part(head)).merged(with: [
            "paths": .object(paths.mapValues(withCommonResponses)), "components": components,
        ])
    }()

    /// Answers that every operation can give.
    private static let common = [
        "400": "Malformed", "413": "TooLarge", "414": "TooLong", "429": "Rate", "431": "TooLong",
    ]
    /// Those that one can give too that needs a credential.
    private static let commonOfUsers = ["401": "Unauthorized", "503": "Unavailable"]

    private static func withCommonResponses(_ path: JSONValue) -> JSONValue {
        guard case .object(let operations) = path else { return path }
        return .object(
            operations.mapValues { operation in
                guard operation["responses"] != nil else { return operation }
                let isOpen = operation["security"]?.elements.isEmpty ?? false
                let names = isOpen ? common : common.merging(commonOfUsers) { $1 }
                let references = names.mapValues { name -> JSONValue in
                    .object(["$ref": .string("#/components/responses/\(name)")])
                }
                return operation.merged(with: ["responses": .object(references)])
            })
    }
}

extension APIAnswer {
    /// `GET /api/openapi.json`
    static let document = APIAnswer(
        200, OpenAPIDocument.json, [("Cache-Control", "max-age=3600")])
}
