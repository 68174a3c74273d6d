// What makers of telephones say later, in their own forms.

import Testing

@testable import PushRelay

@Suite struct ReceiptTests {
    private func read(_ text: String, _ kind: ProviderKind) -> [Receipt]? {
        Receipt.read(Array(text.utf8), of: kind)
    }

    private func form(_ name: String, _ json: String) -> String {
        String(decoding: FormText.bytes([(name, json)]), as: UTF8.self)
    }

    @Test("Each maker's form is read")
    func forms() {
        let one = [Receipt(token: "a", reference: "task-7", event: .delivered)]
        #expect(
            read(form("data", #"{"m":{"param":"task-7","type":1,"targets":"a"}}"#), .xiaomi) == one)
        #expect(
            read(form("cb", #"{"m":{"param":"task-7","type":1,"targets":["a"]}}"#), .meizu) == one)
        #expect(read(#"{"m":{"param":"task-7","targets":"a"}}"#, .vivo) == one)
        #expect(
            read(
                #"[{"registrationIds":"a","eventType":"push_arrive","param":"task-7"}]"#, .oppo)
                == one)
        for kind in [ProviderKind.huawei, .honor] {
            #expect(
                read(#"{"statuses":[{"token":"a","biTag":"task-7","status":0}]}"#, kind) == one)
        }
    }

    @Test("A device that is gone is said to be, and several stand in one")
    func gone() {
        let text = #"{"m":{"param":"task-7","type":16,"targets":"a,b"}}"#
        #expect(read(form("data", text), .xiaomi)?.map(\.event) == [.gone, .gone])
        let statuses =
            #"{"statuses":[{"token":"a","biTag":"t","status":2},{"token":"b","biTag":"t","status":9}]}"#
        #expect(read(statuses, .huawei)?.map(\.event) == [.gone])
    }

    @Test(
        "What is none of a maker's is refused, and what is not understood passed over",
        arguments: ["", "x", "{}", "[]", "data=%zz", "data=[]", #"{"statuses":7}"#])
    func garbage(text: String) {
        for kind in ProviderKind.allCases {
            #expect((read(text, kind) ?? []).isEmpty)
        }
        #expect(read(text, .apns) == nil)
    }

    @Test("No more is read than has a bound")
    func bound() {
        let tokens = (0..<5000).map(String.init).joined(separator: ",")
        let text = #"{"m":{"param":"t","targets":"\#(tokens)"}}"#
        #expect(read(text, .vivo)?.count == Receipt.most)
    }

    @Test("A task is found in the word that comes back, and in no other")
    func reference() {
        #expect(ReceiptAddresses.task(of: "task-17") == 17)
        for text in ["17", "task-", "task-x", "chat", ""] {
            #expect(ReceiptAddresses.task(of: text) == nil)
        }
    }
}
