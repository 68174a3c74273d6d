// Pages of results (XEP-0059).

import Testing
import XML
import XMPP

@Suite struct ResultSetTests {
    private func request(_ content: String) throws -> ResultSetRequest {
        let set = "<set xmlns='http://jabber.org/protocol/rsm'>\(content)</set>"
        let query = try element(Array("<query xmlns='urn:q'>\(set)</query>".utf8))
        return try ResultSetRequest(in: query)
    }

    @Test(
        "Each kind of request (sections 2.1 to 2.7)",
        arguments: [
            ("", ResultSetRequest()),
            ("<max>10</max>", ResultSetRequest(max: 10)),
            ("<max>0</max>", ResultSetRequest(max: 0)),
            ("<max>2147483647</max>", ResultSetRequest(max: 2_147_483_647)),
            ("<max>10</max><after>a&lt;b</after>", ResultSetRequest(max: 10, after: "a<b")),
            ("<before>x</before><max>7</max>", ResultSetRequest(max: 7, before: "x")),
            ("<max>10</max><before/>", ResultSetRequest(max: 10, before: "")),
            ("<max>10</max><index>371</index>", ResultSetRequest(max: 10, index: 371)),
            ("<after>a</after><before>b</before>", ResultSetRequest(after: "a", before: "b")),
            ("<after/>", ResultSetRequest()),
            ("\n <max>1</max> <other xmlns='urn:x'/>\n", ResultSetRequest(max: 1)),
            ("<max xmlns='urn:x'>z</max><count>z</count>", ResultSetRequest()),
        ])
    func reads(content: String, expected: ResultSetRequest) throws {
        #expect(try request(content) == expected)
    }

    @Test("A query without a result set asks for everything")
    func none() throws {
        let query = try element(
            Array("<query xmlns='urn:q'><set><max>1</max></set><max>2</max></query>".utf8))
        #expect(try ResultSetRequest(in: query) == ResultSetRequest())
    }

    @Test(
        "What is no request is a bad one",
        arguments: [
            "<max/>", "<max>-1</max>", "<max>+1</max>", "<max>1.0</max>", "<max>ten</max>",
            "<max> 1</max>", "<max>2147483648</max>", "<max>99999999999999999999999</max>",
            "<max>١</max>", "<max>1</max><max>1</max>", "<index/>", "<index>-1</index>",
            "<before/><before/>", "<after>a</after><after>a</after>",
            "<index>1</index><after>a</after>", "<index>1</index><before/>",
            "<after>\(String(repeating: "a", count: 1025))</after>",
            "<before>\(String(repeating: "é", count: 513))</before>",
        ])
    func refuses(content: String) throws {
        let error = try #require(throws: StanzaError.self) { try request(content) }
        #expect(error.condition == .badRequest)
    }

    @Test("Two result sets in a query are a bad request")
    func twoSets() throws {
        let set = Element("set", ResultSetRequest.namespace)
        let error = try #require(throws: StanzaError.self) {
            try ResultSetRequest(in: Element("query", "urn:q", [], [set, set]))
        }
        #expect(error.condition == .badRequest)
    }

    @Test("The longest id is taken")
    func longestID() throws {
        let id = String(repeating: "a", count: ResultSetRequest.longestID)
        #expect(try request("<before>\(id)</before>").before == id)
    }

    @Test(
        "The page of an answer (section 2.2)",
        arguments: [
            (
                ResultSetPage(.init(first: "<a", firstIndex: 0, last: "b"), count: 800),
                "<first index='0'>&lt;a</first><last>b</last><count>800</count>"
            ),
            (
                ResultSetPage(.init(first: "a", last: "a")),
                "<first>a</first><last>a</last>"
            ),
            (ResultSetPage(count: 790), "<count>790</count>"),
        ])
    func page(page: ResultSetPage, content: String) {
        let bytes = XMLWriter.bytes(page.element, contentNamespace: Namespaces.client)
        #expect(text(bytes) == "<set xmlns='http://jabber.org/protocol/rsm'>\(content)</set>")
    }

    @Test("A page with nothing to say is an empty element (section 2.2)")
    func emptyPage() {
        #expect(ResultSetPage().element == Element("set", ResultSetRequest.namespace))
    }
}
