// Ad-hoc commands on the wire (XEP-0050).

import Testing
import XML
import XMPP

@Suite struct CommandTests {
    private static let xmlns = "xmlns='\(Command.namespace)'"

    private func command(_ xml: String) throws -> Command {
        try Command(try element(Array(xml.utf8)))
    }

    private func roundTrip(_ command: Command) throws {
        let bytes = XMLWriter.bytes(command.element, contentNamespace: Namespaces.client)
        #expect(try Command(try element(bytes)) == command)
    }

    @Test("A command reads back as it was written (XEP-0050 section 6)")
    func roundTrips() throws {
        try roundTrip(Command("list"))
        for action in Command.Action.allCases {
            try roundTrip(Command("a < b & 'c'", sessionID: "é", action: action))
        }
        for status in Command.Status.allCases { try roundTrip(Command("x", status: status)) }
        for kind in Command.Note.Kind.allCases {
            try roundTrip(
                Command(
                    "x", status: .executing,
                    actions: .init([.prev, .complete], execute: .complete),
                    form: DataForm(.form, title: "T", instructions: ["I"], [.init("a", ["1"])]),
                    notes: [.init("n", kind: kind), .init("")]))
        }
        try roundTrip(Command("x", actions: .init([])))
    }

    @Test("What others write is read, and what is not known is passed over")
    func reads() throws {
        let read = try command(
            """
            <command \(Self.xmlns) node='n' xml:lang='en'><other xmlns='urn:x'/><note>hi</note>
              <actions><next/></actions><x xmlns='jabber:x:data' type='submit'/></command>
            """)
        #expect(
            read
                == Command(
                    "n", actions: .init([.next]), form: DataForm(.submit, []), notes: [.init("hi")])
        )
    }

    @Test(
        "What is wrong is refused with the error that says so (XEP-0050 section 4.4)",
        arguments: [
            ("<command xmlns='urn:x' node='n'/>", nil), ("<comman \(xmlns) node='n'/>", nil),
            ("<command \(xmlns)/>", nil), ("<command \(xmlns) node=''/>", nil),
            ("<command \(xmlns) node='\(String(repeating: "n", count: 1025))'/>", nil),
            ("<command \(xmlns) node='n' action='Next'/>", "malformed-action"),
            ("<command \(xmlns) node='n' action=''/>", "malformed-action"),
            ("<command \(xmlns) node='n' status='done'/>", nil),
            (
                "<command \(xmlns) node='n' sessionid='\(String(repeating: "s", count: 1025))'/>",
                "bad-sessionid"
            ),
            ("<command \(xmlns) node='n'><actions><cancel/></actions></command>", nil),
            ("<command \(xmlns) node='n'><actions><x/></actions></command>", nil),
            ("<command \(xmlns) node='n'><actions execute='execute'/></command>", nil),
            ("<command \(xmlns) node='n'><actions/><actions/></command>", nil),
            ("<command \(xmlns) node='n'><note type='fatal'/></command>", nil),
            ("<command \(xmlns) node='n'><x xmlns='jabber:x:data'/></command>", "bad-payload"),
            (
                "<command \(xmlns) node='n'><y xmlns='jabber:x:data' type='submit'/></command>",
                "bad-payload"
            ),
            (
                """
                <command \(xmlns) node='n'><x xmlns='jabber:x:data' type='submit'/>\
                <x xmlns='jabber:x:data' type='submit'/></command>
                """, "bad-payload"
            ),
        ] as [(String, String?)])
    func refused(xml: String, failure: String?) throws {
        let error = try #require(throws: StanzaError.self) { try command(xml) }
        #expect(error.condition == .badRequest && error.kind == .modify)
        #expect(error.application?.name == failure)
        if failure != nil { #expect(error.application?.namespace == Command.namespace) }
    }

    @Test("An expired session is no malformed request")
    func expired() {
        let error = StanzaError(.sessionExpired)
        #expect(error.condition == .notAllowed && error.kind == .cancel)
    }
}
