// The commented reference: its text, and that it reads back.

import Options
import Testing

@Suite struct ReferenceTests {
    static func options(_ document: ConfigurationDocument = .empty) -> OptionSet {
        let options = OptionSet(document)
        _ = options.text(
            "domain", default: "localhost", help: "The domain that addresses end with.")
        options.section("limits", help: "Everything that grows has a limit.")
        _ = options.size(
            "limits.stanza", default: 256 << 10, in: (1 << 10)...(16 << 20), reloadable: true,
            help: "The largest stanza that a client may send. A larger one ends its stream with "
                + "policy-violation, as RFC 6120 section 13.12 has it.\nSecond paragraph.")
        options.section("web.uploads", help: "Files that users send.")
        _ = options.duration(
            "web.uploads.keep", default: .seconds(7 * 86_400),
            in: .seconds(60) ... .seconds(8_640_000),
            help: "How long files stay.")
        _ = options.number("limits.share", default: 0.5, in: 0...1, help: "A share.")
        _ = options.integer("web.threads", default: 2, in: 1...64, help: "Threads.")
        _ = options.boolean("web.console", default: true, help: "The console.")
        _ = options.choice("policy", default: Policy.off, help: "With whom to talk.")
        _ = options.list("friends", default: ["a.example", "*.b.example"], help: "Friends.")
        _ = options.optionalText("push.file", help: "A file.")
        _ = options.text("push.token", default: "t0p", secret: true, help: "A token.")
        _ = options.text("motto", default: "say: \"hi\"\n", help: "")
        _ = options.records(
            "tls.certificates", fields: RecordTests.fields, maximumCount: 10, help: "Certificates.")
        return options
    }

    static let golden = #"""
        # Every option with its default. To change one, remove the "#" before its key.
        # A key without a value has its default.

        # The domain that addresses end with.
        # Text, at most 1024 bytes; default localhost; changes need a restart.
        #domain: localhost

        # Everything that grows has a limit.
        limits:

          # The largest stanza that a client may send. A larger one ends its stream with
          # policy-violation, as RFC 6120 section 13.12 has it.
          # Second paragraph.
          # Size, 1KiB to 16MiB; default 256KiB; reloads.
          #stanza: 256KiB

          # A share.
          # Number, 0 to 1; default 0.5; changes need a restart.
          #share: 0.5

        web:

          # Files that users send.
          uploads:

            # How long files stay.
            # Duration, 1m to 100d; default 7d; changes need a restart.
            #keep: 7d

          # Threads.
          # Whole number, 1 to 64; default 2; changes need a restart.
          #threads: 2

          # The console.
          # Boolean, true or false; default true; changes need a restart.
          #console: true

        # With whom to talk.
        # Choice, off, allowlist or open; default off; changes need a restart.
        #policy: off

        # Friends.
        # List of texts, at most 100; default [a.example, "*.b.example"]; changes need a restart.
        #friends: [a.example, "*.b.example"]

        push:

          # A file.
          # Text, at most 1024 bytes; no default; changes need a restart.
          #file:

          # A token.
          # Text, at most 1024 bytes; secret; changes need a restart.
          #token:

        # Text, at most 1024 bytes; default "say: \"hi\"\n"; changes need a restart.
        #motto: "say: \"hi\"\n"

        tls:

          # Certificates.
          # List of entries, at most 10; default []; changes need a restart. The keys of an entry:
          #   domains (list of texts, required): For whom.
          #   certificate (text, required): The chain, as PEM.
          #   key (text, required): The key, as PEM.
          #   password (text, secret): Opens the key.
          #certificates: []

        """#

    @Test("The reference reads as it should")
    func golden() {
        #expect(Self.options().reference() == Self.golden)
    }

    @Test("The table has a row for every section with help and every option")
    func table() {
        let options = OptionSet(.empty)
        _ = options.text("domain", default: "localhost", help: "Two\nlines | and <tags>.")
        options.section("limits", help: "Limits.")
        _ = options.size("limits.stanza", default: 1024, in: 1...2048, help: "The largest.")
        _ = options.text("web.token", default: "t0p", secret: true, help: "A token.")
        _ = options.integer("limits.depth", default: 2, in: 1...64, help: "The deepest.")
        #expect(
            options.table() == """
                | key | default | |
                | --- | --- | --- |
                | `domain` | `localhost` | Two lines \\| and &lt;tags>. |
                | **limits** | | Limits. |
                | `limits.stanza` | `1KiB` | The largest. |
                | `limits.depth` | `2` | The deepest. |
                | `web.token` | | A token. |

                """)
    }

    @Test("The reference is wrapped at 90 columns")
    func width() {
        let options = OptionSet(.empty)
        let help = String(repeating: "word and ", count: 100)
        _ = options.boolean("web.uploads.flag", default: true, help: help)
        let lines = options.reference().split(separator: "\n")
        #expect(lines.allSatisfy { $0.count <= 90 })
        #expect(lines.contains { $0.count > 80 })
    }

    @Test("The reference parses to a document in which nothing is set")
    func empty() throws {
        let document = try document(Self.options().reference())
        #expect(document.isEmpty)
        #expect(complaint(Self.options(document)) == nil)
    }

    @Test("With all its keys uncommented the reference is accepted and changes nothing")
    func uncommented() throws {
        let lines = Self.options().reference().split(
            separator: "\n", omittingEmptySubsequences: false)
        let live = lines.map { line in
            let rest = line.drop { $0 == " " }
            guard rest.hasPrefix("#"), !rest.hasPrefix("# ") else { return String(line) }
            return String(line.prefix(line.count - rest.count) + rest.dropFirst())
        }
        let document = try document(live.joined(separator: "\n"))
        #expect(!document.isEmpty)
        #expect(try Self.options().reload(document).changes == [])
    }

    @Test(
        "Every default text reads back as itself",
        arguments: [
            "", "null", "~", "a b", "#a", "a #b", "- a", "a:", "a: b", "*a", "&a", "!a", "%a", "@a",
            "'", "\"", "\\", "\t", "\n", "é", "\u{7F}\u{85}\u{2028}\u{FEFF}", "{a}", "[a]", "a,b",
            ":", "?", "-", "/", "/var/lib/kinglet", "[::]:5222", "a@b.example", "yes", "1.0", "=",
        ])
    func texts(text: String) throws {
        // Control characters cannot be set in the file, so they cannot be judged by a reload.
        let options = OptionSet(.empty)
        let one = options.text("one", default: text, help: ".")
        let list = options.list("list", default: [text, text], help: ".")
        let texts = options.declared.map { "\($0.key): \($0.defaultText)" }
        let document = try document(texts.joined(separator: "\n"))
        if text.unicodeScalars.contains("\u{7F}") {
            #expect(throws: ConfigurationErrors.self) { try options.reload(document) }
        } else {
            #expect(try options.reload(document).changes == [])
        }
        #expect(one.value == text)
        #expect(list.value == [text, text])
    }
}
