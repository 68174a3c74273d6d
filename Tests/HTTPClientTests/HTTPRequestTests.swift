import HTTPClient
import Testing

@Suite("Requests to other servers")
struct HTTPRequestTests {
    @Test("Two requests are the same when all their parts are")
    func equality() {
        let request = HTTPRequest("POST", "https://example.org/", headers: [("A", "b")], body: [1])
        var other = request
        #expect(request == other)
        other.headers[0].value = "c"
        #expect(request != other)
    }
}
