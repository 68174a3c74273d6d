// Lists of mappings with declared fields.

import Options
import Testing

@Suite struct RecordTests {
    static let fields = [
        RecordField(name: "domains", required: true, list: true, help: "For whom."),
        RecordField(name: "certificate", required: true, help: "The chain, as PEM."),
        RecordField(name: "key", required: true, help: "The key, as PEM."),
        RecordField(name: "password", secret: true, help: "Opens the key."),
    ]

    func result(
        _ yaml: String, maximumCount: Int = 100
    ) throws -> Result<[ConfigurationRecord], ConfigurationErrors> {
        try read(yaml) {
            $0.records(
                "tls.certificates", fields: Self.fields, maximumCount: maximumCount,
                help: "Certificates.")
        }
    }

    @Test("Records give their texts, their lists and the line at which they begin")
    func good() throws {
        let yaml = """
            tls:
              certificates:
                - domains: [a.example, b.example]
                  certificate: a.pem
                  key: a.key
                  password: ~

                - {domains: c.example, certificate: c.pem, key: c.key, password: p}
            """
        let records = try #require(try result(yaml).value)
        try #require(records.count == 2)
        #expect(records[0].line == 3)
        #expect(records[0].strings("domains") == ["a.example", "b.example"])
        #expect(records[0].string("certificate") == "a.pem")
        #expect(records[0].string("key") == "a.key")
        #expect(records[0].string("password") == nil)
        #expect(records[1].line == 8)
        #expect(records[1].strings("domains") == ["c.example"])
        #expect(records[1].string("password") == "p")
    }

    @Test("No records is the default, and an empty list is one too")
    func none() throws {
        #expect(try result("").value == [])
        #expect(try result("tls: {certificates: []}").value == [])
        #expect(try result("tls: {certificates: }").value == [])
    }

    @Test("Unknown, missing and mistyped fields are all reported, with the nearest name")
    func bad() throws {
        let yaml = """
            tls:
              certificates:
                - domains: a.example
                  certificat: a.pem
                  key: [a, b]
                - domains: []
                  certificate: b.pem
                  key: b.key
                  owner: me
                  password: [hunter2]
                - c.pem
                -
            """
        let known = "known are domains, certificate, key, password"
        #expect(
            try result(yaml).message == """
                kinglet.yaml:3: tls.certificates: entry 1: certificate is missing; add it
                kinglet.yaml:4: tls.certificates: entry 1: unknown key certificat; \
                did you mean certificate?
                kinglet.yaml:5: tls.certificates: entry 1: key: expected one text; found a list
                kinglet.yaml:6: tls.certificates: entry 2: domains is missing; add it
                kinglet.yaml:9: tls.certificates: entry 2: unknown key owner; \(known)
                kinglet.yaml:10: tls.certificates: entry 2: password: expected one text; \
                found a list
                kinglet.yaml:11: tls.certificates: entry 3: expected the keys domains, \
                certificate, key, password; found a value that is not shown
                kinglet.yaml:12: tls.certificates: entry 4: expected the keys domains, \
                certificate, key, password; found nothing
                """)
    }

    @Test("Something that is no list of records, or too long a one, is refused")
    func shape() throws {
        #expect(
            try result("tls: {certificates: a.pem}").message
                == "kinglet.yaml:1: tls.certificates: expected a list of entries, "
                + "each beginning with \"- \"; found a value that is not shown")
        #expect(
            try result("tls:\n  certificates:\n    key: a").message
                == "kinglet.yaml:2: tls.certificates: expected a list of entries, "
                + "each beginning with \"- \"; found a group of keys")
        #expect(
            try result("tls: {certificates: [{}, {}, {}]}", maximumCount: 2).message
                == "kinglet.yaml:1: tls.certificates: expected at most 2 entries; found 3")
    }

    @Test("Records that only moved in the file are equal")
    func equality() throws {
        let entry = "{domains: a, certificate: b, key: c}"
        let above = try result("tls: {certificates: [\(entry)]}").value
        let below = try result("\n\ntls:\n  certificates:\n    - \(entry)").value
        #expect(above == below)
        #expect(above?.first?.line != below?.first?.line)
    }

    @Test("Fields that are durations and sizes are read as such, within their bounds")
    func quantities() throws {
        func result(
            _ yaml: String
        ) throws -> Result<[ConfigurationRecord], ConfigurationErrors> {
            try read(yaml) {
                $0.records(
                    "archive.domains",
                    fields: [
                        RecordField(
                            name: "max_age", content: .duration(.seconds(0)...(.seconds(86_400))),
                            help: "How long."),
                        RecordField(
                            name: "max_size", content: .size(0...1_073_741_824),
                            help: "How much."),
                    ], help: "Limits.")
            }
        }
        let records = try #require(
            try result("archive: {domains: [{max_age: 2h, max_size: 3MiB}, {}]}").value)
        #expect(records[0].duration("max_age") == .seconds(7200))
        #expect(records[0].size("max_size") == 3_145_728)
        #expect(records[1].duration("max_age") == nil && records[1].size("max_size") == nil)
        #expect(
            try result("archive: {domains: [{max_age: 2, max_size: 3MB}, {max_size: 2GiB}]}")
                .message
                    == """
                    kinglet.yaml:1: archive.domains: entry 1: max_age: expected a duration between 0s \
                    and 1d, such as 1d; found "2"; the units are ms, s, m, h and d, directly \
                    behind the number
                    kinglet.yaml:1: archive.domains: entry 1: max_size: expected a size between 0 and \
                    1GiB, such as 1GiB; found "3MB"; the units are B, KiB, MiB, GiB and TiB, directly \
                    behind the number
                    kinglet.yaml:1: archive.domains: entry 2: max_size: expected a size between 0 and \
                    1GiB, such as 1GiB; found "2GiB"
                    """)
    }
}
