// Data forms (XEP-0004), and FORM_TYPE (XEP-0068).

import Testing
import XML
import XMPP

@Suite struct DataFormTests {
    private func form(_ xml: String) throws -> DataForm? { DataForm(try element(Array(xml.utf8))) }

    @Test(
        "A form reads back as it was written, through its bytes (XEP-0004 section 3)",
        arguments: DataForm.Kind.allCases)
    func roundTrip(kind: DataForm.Kind) throws {
        let form = DataForm(
            kind, formType: "urn:example",
            [
                .init("one", type: "text-single", ["a < b & \"c\" 'd' ]]> é"]),
                .init("none", []), .init("empty", [""]), .init("several", ["2", "1", "2"]),
            ])
        let bytes = XMLWriter.bytes(form.element, contentNamespace: Namespaces.client)
        #expect(DataForm(try element(bytes)) == form)
        #expect(form.formType == "urn:example")
    }

    @Test("What a client may write is read (XEP-0004 section 3.2)")
    func reads() throws {
        let form = try form(
            """
            <x xmlns='jabber:x:data' type='submit'><title>T</title>
              <field type='fixed'><value>for the eye</value></field>
              <field var='a' label='A'><required/><value>1</value>
                <option label='L'><value>2</value></option></field>
              <field var='b'/><other xmlns='urn:x' var='c'/></x>
            """)
        #expect(form == DataForm(.submit, [.init("a", ["1"]), .init("b", [])]))
    }

    @Test("Only a hidden FORM_TYPE names the fields (XEP-0068 section 3)")
    func formType() {
        #expect(DataForm(.result, [.init("FORM_TYPE", ["urn:x"])]).formType == nil)
        #expect(DataForm(.result, []).formType == nil)
    }

    @Test(
        "What is no form is none",
        arguments: [
            "<x xmlns='jabber:x:data'/>", "<x xmlns='jabber:x:data' type='Form'/>",
            "<x xmlns='jabber:x:dat' type='form'/>", "<y xmlns='jabber:x:data' type='form'/>",
        ])
    func noForm(xml: String) throws {
        #expect(try form(xml) == nil)
    }
}
