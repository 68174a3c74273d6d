// Data forms (XEP-0004): fields with values. Labels, options and instructions, which only a form
// for a person to fill in has, are not kept.

public import XML

/// A data form.
public struct DataForm: Sendable, Equatable {
    /// `jabber:x:data`.
    public static let namespace = "jabber:x:data"

    /// What a form is for (XEP-0004 section 3.1).
    public enum Kind: String, Sendable, CaseIterable {
        case cancel, form, result, submit
    }

    /// A field with its values in order.
    public struct Field: Sendable, Equatable {
        /// Its name, `var` on the wire.
        public var name: String
        /// Such as `hidden` or `list-multi` (XEP-0004 section 3.3); nil when it is not said.
        public var type: String?
        /// The values.
        public var values: [String]

        /// Creates a field.
        public init(_ name: String, type: String? = nil, _ values: [String]) {
            self.name = name
            self.type = type
            self.values = values
        }
    }

    /// What the form is for.
    public var kind: Kind
    /// The fields in order.
    public var fields: [Field]

    /// Creates a form.
    public init(_ kind: Kind, _ fields: [Field]) {
        self.kind = kind
        self.fields = fields
    }

    /// Creates a form whose fields a registry names: `FORM_TYPE` comes first, hidden (XEP-0068).
    public init(_ kind: Kind, formType: String, _ fields: [Field]) {
        self.init(kind, [Field("FORM_TYPE", type: "hidden", [formType])] + fields)
    }

    /// Reads `<x/>`; nil for anything that is no form. Fields without a name, which only show
    /// text, are left out.
    public init?(_ element: Element) {
        guard element.name == "x", element.namespace == Self.namespace,
            let kind = element["type"].flatMap(Kind.init(rawValue:))
        else { return nil }
        self.kind = kind
        fields = element.elements.compactMap { field in
            guard field.name == "field", field.namespace == Self.namespace,
                let name = field["var"]
            else { return nil }
            let values = field.elements.filter {
                $0.name == "value" && $0.namespace == Self.namespace
            }
            return Field(name, type: field["type"], values.map(\.text))
        }
    }

    /// The registered name of the form's fields (XEP-0068), or nil.
    public var formType: String? {
        fields.first { $0.name == "FORM_TYPE" && $0.type == "hidden" }?.values.first
    }

    /// `<x/>`.
    public var element: Element {
        Element(
            "x", Self.namespace, [("type", kind.rawValue)],
            fields.map { field in
                Element(
                    "field", Self.namespace,
                    [("var", field.name)] + (field.type.map { [("type", $0)] } ?? []),
                    field.values.map { Element("value", Self.namespace, text: $0) })
            })
    }
}
