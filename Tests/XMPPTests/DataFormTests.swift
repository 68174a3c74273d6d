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
              <instructions>I</instructions><instructions/><title>U</title>
              <field type='fixed'><value>for the eye</value></field>
              <field var='a' label='A'><required/><value>1</value>
                <option label='L'><value>2</value></option><option><value/></option>
                <option label='none'/></field>
              <field var='b'/><other xmlns='urn:x' var='c'/></x>
            """)
        let field = DataForm.Field(
            "a", label: "A", isRequired: true, options: [.init("2", label: "L"), .init("")], ["1"])
        #expect(
            form
                == DataForm(.submit, title: "T", instructions: ["I", ""], [field, .init("b", [])]))
        #expect(form?.value("a") == "1" && form?.value("b") == nil && form?.value("c") == nil)
    }

    @Test("A form for a person reads back as it was written (XEP-0004 section 3.2)")
    func forPerson() throws {
        let form = DataForm(
            .form, formType: "urn:example", title: "a < b", instructions: ["1", "2"],
            [
                .init(
                    "one", type: "list-single", label: "One & only", isRequired: true,
                    options: [.init("x", label: "X"), .init("y"), .init("")], ["y"])
            ])
        let bytes = XMLWriter.bytes(form.element, contentNamespace: Namespaces.client)
        #expect(DataForm(try element(bytes)) == form)
    }

    @Test(
        "What is submitted has to be complete, and one of the choices (XEP-0004 section 3.3)",
        arguments: [
            ([.init("needed", ["1"]), .init("one", ["a"])], true),
            ([.init("needed", ["1"]), .init("one", []), .init("more", ["a", "b"])], true),
            ([.init("needed", ["", "1"]), .init("other", ["z"])], true),
            ([.init("needed", [""])], false), ([.init("needed", [])], false), ([], false),
            ([.init("needed", ["1"]), .init("one", ["c"])], false),
            ([.init("needed", ["1"]), .init("one", ["a", "b"])], false),
            ([.init("needed", ["1"]), .init("more", ["a", "c"])], false),
        ] as [([DataForm.Field], Bool)])
    func submission(fields: [DataForm.Field], isGood: Bool) {
        let options = [DataForm.Option("a"), DataForm.Option("b")]
        let form = DataForm(
            .form,
            [
                .init("needed", isRequired: true, []),
                .init("one", type: "list-single", options: options, ["a"]),
                .init("more", type: "list-multi", options: options, []),
            ])
        #expect((form.problem(with: DataForm(.submit, fields)) == nil) == isGood)
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
