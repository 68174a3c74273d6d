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
        return JSONValue.object(part(head)).merged(with: [
            "paths": .object(part(tasks).merging(part(registrations)) { $1 }),
            "components": components,
        ])
    }()
}

extension APIAnswer {
    /// `GET /api/openapi.json`
    static let document = APIAnswer(
        200, OpenAPIDocument.json, [("Cache-Control", "max-age=3600")])
}
