// What capabilities hash (XEP-0115 section 5.1).

import Testing
import XML
import XMPP

@Suite struct DiscoveryInfoTests {
    @Test("The simple example (XEP-0115 section 5.2)")
    func simple() {
        var info = DiscoveryInfo()
        info.identities = [.init(category: "client", type: "pc", name: "Exodus 0.9.1")]
        info.features = [
            "http://jabber.org/protocol/muc", "http://jabber.org/protocol/disco#items",
            "http://jabber.org/protocol/caps", "http://jabber.org/protocol/disco#info",
        ]
        #expect(
            info.verificationText == "client/pc//Exodus 0.9.1<http://jabber.org/protocol/caps<"
                + "http://jabber.org/protocol/disco#info<http://jabber.org/protocol/disco#items<"
                + "http://jabber.org/protocol/muc<")
    }

    @Test("Forms, their fields and values are sorted; FORM_TYPE comes first (section 5.1)")
    func forms() {
        var info = DiscoveryInfo()
        info.forms = [
            DataForm(
                .result,
                [
                    .init("os", ["Mac"]), .init("ip_version", ["ipv6", "ipv4"]),
                    .init("FORM_TYPE", type: "hidden", ["urn:xmpp:dataforms:softwareinfo"]),
                ]),
            DataForm(.result, formType: "urn:a", [.init("none", [])]),
            DataForm(.result, [.init("FORM_TYPE", ["urn:ignored"]), .init("x", ["y"])]),
        ]
        #expect(
            info.verificationText == "urn:a<none<urn:xmpp:dataforms:softwareinfo<"
                + "ip_version<ipv4<ipv6<os<Mac<")
    }

    @Test("Sorting is by octets, not by letters (section 5.1)")
    func octets() {
        var info = DiscoveryInfo()
        // UTF-16 would put the last before the one before it.
        info.features = ["\u{E9}", "z", "Z", "a", "\u{FF5E}", "\u{1F600}"]
        info.identities = [
            .init(category: "b", type: "a"), .init(category: "a", type: "b", name: "N"),
        ]
        #expect(info.verificationText == "a/b//N<b/a//<Z<a<z<\u{E9}<\u{FF5E}<\u{1F600}<")
    }

    @Test("The answer repeats the node that was asked for (XEP-0030 section 3.2)")
    func node() {
        #expect(DiscoveryInfo().element()["node"] == nil)
        #expect(DiscoveryInfo().element(node: "urn:x#y")["node"] == "urn:x#y")
    }
}
