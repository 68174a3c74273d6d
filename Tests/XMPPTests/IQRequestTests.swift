// Requests are read strictly.

import Testing
import XML
import XMPP

@Suite struct IQRequestTests {
    @Test("A get or set has its one payload (RFC 6120 section 8.2.3)")
    func reads() throws {
        let request = try #require(
            try IQRequest(stanza("<iq type='set' id='1'><q xmlns='urn:q'><a/></q></iq>")))
        #expect(request.isSet)
        #expect(request.payload == Element("q", "urn:q", [], [Element("a", "urn:q")]))
        let get = try #require(try IQRequest(stanza("<iq type='get' id='1'><q/></iq>")))
        #expect(!get.isSet)
    }

    @Test("Answers are no requests (RFC 6120 section 8.2.3)", arguments: ["result", "error"])
    func answers(type: String) throws {
        #expect(try IQRequest(stanza("<iq type='\(type)'/>")) == nil)
    }

    @Test(
        "A request that breaks the rules is a bad request (RFC 6120 section 8.2.3)",
        arguments: [
            "<iq id='1'><q/></iq>", "<iq type='fetch' id='1'><q/></iq>",
            "<iq type='get'><q/></iq>", "<iq type='get' id='1'/>",
            "<iq type='set' id='1'><q/><q/></iq>", "<iq type='GET' id='1'><q/></iq>",
        ])
    func refuses(xml: String) throws {
        let iq = try stanza(xml)
        let error = try #require(throws: StanzaError.self) { try IQRequest(iq) }
        #expect(error.condition == .badRequest)
        #expect(error.kind == .modify)
    }

    @Test("A payload may use a prefix that the stanza declares")
    func payloadWithOuterPrefix() throws {
        let request = try #require(
            try IQRequest(stanza("<iq type='get' id='1' xmlns:x='urn:x'><x:q x:a='1'/></iq>")))
        #expect(request.payload.namespace == "urn:x")
        #expect(request.payload.attributes == [Attribute("a", "1", namespace: "urn:x")])
    }

    @Test("A result goes back with the request's id and addresses (RFC 6120 section 8.2.3)")
    func result() throws {
        let request = try #require(
            try IQRequest(stanza("<iq type='get' id=\"a'b\" to='capulet.example'><q/></iq>")))
        let result = try element(request.resultBytes(Element("q", "urn:q")))
        #expect(result["type"] == "result")
        #expect(result["id"] == "a'b")
        #expect(result["from"] == "capulet.example")
        #expect(result["to"] == "juliet@capulet.example/balcony")
        #expect(result.elements == [Element("q", "urn:q")])
        #expect(try element(request.resultBytes()).elements.isEmpty)
    }
}
