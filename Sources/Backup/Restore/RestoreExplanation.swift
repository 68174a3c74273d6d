// The plan in sentences, for whoever has to say yes to it.

extension RestorePlan {
    /// What will be written where, what becomes of what is there, and what clients will notice.
    public var sentences: [String] {
        var text = [
            "Snapshot \(manifest.id) of \(domains), made \(age)by kinglet "
                + "\(manifest.software["kinglet"] ?? "of an unknown version").",
            "\(files.count) \(files.count == 1 ? "file" : "files"), \(Self.size(bytes)), are brought from the target; "
                + "\(Self.size(neededBytes)) of space are needed in \(destination.folder).",
        ]
        switch destination {
        case .folder(let path): text += folderSentences(path)
        case .replace(let path, let configuration): text += replaceSentences(path, configuration)
        }
        switch scope {
        case .everything:
            text += [
                "Messages, contacts and passwords are as they were then: what came later is not "
                    + "in it. Clients fetch their history anew where they know of more.",
                "End-to-end encryption (OMEMO) is not touched: the keys are in the clients. "
                    + "Messages that clients keep themselves stay there.",
            ]
        case .user(let address):
            text += [
                "\(address) gets back what is missing: the account with its password of then if "
                    + "it is gone, contacts, blocked addresses, messages, and what is to be "
                    + "archived. What is there now, or newer, stays as it is.",
                "Messages that waited for it then wait again only if the account was gone: "
                    + "otherwise its clients have had them, or they still wait.",
            ]
        case .uploads, .configuration: break
        }
        return text
    }

    private var domains: String {
        manifest.domains.isEmpty ? "no domain" : manifest.domains.joined(separator: ", ")
    }

    /// The time of the copy is in the snapshot's name, in UTC.
    private var age: String {
        manifest.databases.first?.rows["accounts"].map {
            $0 == 1 ? "with 1 account, " : "with \($0) accounts, "
        } ?? ""
    }

    private func folderSentences(_ path: String) -> [String] {
        switch scope {
        case .everything:
            var text = [
                "\(path) becomes a data directory with its configuration in it; start it with "
                    + "kinglet serve --config \(path)/kinglet.yaml. Nothing else is written."
            ]
            for number in manifest.extra.keys.sorted() {
                guard let origin = manifest.extra[number], !origin.isEmpty else { continue }
                text.append(
                    "What was in \(Self.printable(origin)) goes to \(path)/extra/"
                        + "\(Self.printable(number)), not to where it was.")
            }
            return text
        case .uploads: return ["The uploads go to \(path)/uploads."]
        case .configuration:
            return [
                "The configuration goes to \(path)/kinglet.yaml as it is, and files that it names "
                    + "to \(path)/config."
            ]
        case .user: return []
        }
    }

    private func replaceSentences(_ path: String, _ configuration: String?) -> [String] {
        let kept = "\(path)/\(Restore.keptPrefix)…"
        switch scope {
        case .everything:
            var text = [
                "Database, uploads and secrets in \(path) are replaced; what is there now is kept "
                    + "whole in \(kept). Remove that when you do not need it any more."
            ]
            if let configuration {
                text.append(
                    "\(configuration) stays as it is; the snapshot's is put beside the data as "
                        + "\(path)/\(Restore.restoredConfiguration).")
            }
            if !manifest.extra.isEmpty {
                text.append("Paths that were added to the backup are restored only with --to.")
            }
            return text
        case .uploads:
            return ["The uploads in \(path) are replaced; those of now are kept in \(kept)."]
        case .configuration:
            return [
                "The snapshot's configuration is put beside the data as "
                    + "\(path)/\(Restore.restoredConfiguration); compare it with "
                    + "\(configuration ?? "your own") and copy it there."
            ]
        case .user: return []
        }
    }

    /// Text from a manifest, for a terminal.
    static func printable(_ text: String) -> String { String(Excerpt.line(text).prefix(200)) }

    /// A number of bytes for a person.
    static func size(_ bytes: Int64) -> String {
        var value = Double(bytes)
        for unit in ["bytes", "KiB", "MiB", "GiB"] {
            if value < 1024 {
                return unit == "bytes"
                    ? "\(bytes) bytes" : "\((value * 10).rounded() / 10) \(unit)"
            }
            value /= 1024
        }
        return "\((value * 10).rounded() / 10) TiB"
    }
}
