// Data forms (XEP-0004): fields with values, and what a form for a person to fill in says beside
// them. Text between fields and tables of results are not kept.

public import XML

/// A data form.
public struct DataForm: Sendable, Equatable {
    /// `jabber:x:data`.
    public static let namespace = "jabber:x:data"

    /// What a form is for (XEP-0004 section 3.1).
    public enum Kind: String, Sendable, CaseIterable {
        case cancel, form, result, submit
    }

    /// One of several values that a person may choose (XEP-0004 section 3.2).
    public struct Option: Sendable, Equatable {
        /// What the person sees; the value if nil.
        public var label: String?
        /// What is sent.
        public var value: String

        /// Creates a choice.
        public init(_ value: String, label: String? = nil) {
            self.label = label
            self.value = value
        }
    }

    /// A field with its values in order.
    public struct Field: Sendable, Equatable {
        /// Its name, `var` on the wire.
        public var name: String
        /// Such as `hidden` or `list-multi` (XEP-0004 section 3.3); nil when it is not said.
        public var type: String?
        /// What a person sees; nil for the name.
        public var label: String?
        /// Whether the form is complete only with a value for it.
        public var isRequired: Bool
        /// What a person may choose from.
        public var options: [Option]
        /// The values.
        public var values: [String]

        /// Creates a field.
        public init(
            _ name: String, type: String? = nil, label: String? = nil, isRequired: Bool = false,
            options: [Option] = [], _ values: [String]
        ) {
            self.name = name
            self.type = type
            self.label = label
            self.isRequired = isRequired
            self.options = options
            self.values = values
        }
    }

    /// What the form is for.
    public var kind: Kind
    /// Its name for a person.
    public var title: String?
    /// What a person is to do, a paragraph each.
    public var instructions: [String]
    /// The fields in order.
    public var fields: [Field]

    /// Creates a form.
    public init(
        _ kind: Kind, title: String? = nil, instructions: [String] = [], _ fields: [Field]
    ) {
        self.kind = kind
        self.title = title
        self.instructions = instructions
        self.fields = fields
    }

    /// Creates a form whose fields a registry names: `FORM_TYPE` comes first, hidden (XEP-0068).
    public init(
        _ kind: Kind, formType: String, title: String? = nil, instructions: [String] = [],
        _ fields: [Field]
    ) {
        self.init(
            kind, title: title, instructions: instructions,
            [Field("FORM_TYPE", type: "hidden", [formType])] + fields)
    }

    /// Reads `<x/>`; nil for anything that is no form. Fields without a name, which only show
    /// text, are left out, and so are options without a value.
    public init?(_ element: Element) {
        guard element.name == "x", element.namespace == Self.namespace,
            let kind = element["type"].flatMap(Kind.init(rawValue:))
        else { return nil }
        self.kind = kind
        title = element.child("title")?.text
        instructions = Self.texts("instructions", in: element)
        fields = element.elements.compactMap { field in
            guard field.name == "field", field.namespace == Self.namespace,
                let name = field["var"]
            else { return nil }
            return Field(
                name, type: field["type"], label: field["label"],
                isRequired: field.child("required") != nil,
                options: field.elements.compactMap { option in
                    guard option.name == "option", option.namespace == Self.namespace,
                        let value = option.child("value")
                    else { return nil }
                    return Option(value.text, label: option["label"])
                }, Self.texts("value", in: field))
        }
    }

    private static func texts(_ name: String, in element: Element) -> [String] {
        element.elements.filter { $0.name == name && $0.namespace == namespace }.map(\.text)
    }

    /// The registered name of the form's fields (XEP-0068), or nil.
    public var formType: String? {
        fields.first { $0.name == "FORM_TYPE" && $0.type == "hidden" }?.values.first
    }

    /// The first value of the field of this name; nil when there is none.
    public func value(_ name: String) -> String? {
        fields.first { $0.name == name }?.values.first
    }

    /// What is wrong with a form that was submitted, in place of this one (XEP-0004 section 3.2):
    /// nothing in a required field, or nothing that could be chosen. Nil if nothing is.
    public func problem(with submitted: DataForm) -> String? {
        for field in fields {
            let values = submitted.fields.first { $0.name == field.name }?.values ?? []
            guard !field.isRequired || values.contains(where: { !$0.isEmpty }) else {
                return "\(field.label ?? field.name) is needed"
            }
            guard field.type == "list-single" || field.type == "list-multi" else { continue }
            guard field.type == "list-multi" || values.count <= 1,
                values.allSatisfy({ value in field.options.contains { $0.value == value } })
            else { return "\(field.label ?? field.name) is none of the choices" }
        }
        return nil
    }

    /// `<x/>`.
    public var element: Element {
        func child(_ name: String, _ text: String) -> Element {
            Element(name, Self.namespace, text: text)
        }
        return Element(
            "x", Self.namespace, [("type", kind.rawValue)],
            (title.map { [child("title", $0)] } ?? [])
                + instructions.map { child("instructions", $0) } + fields.map(Self.element))
    }

    private static func element(_ field: Field) -> Element {
        Element(
            "field", namespace,
            [("var", field.name)] + (field.type.map { [("type", $0)] } ?? [])
                + (field.label.map { [("label", $0)] } ?? []),
            (field.isRequired ? [Element("required", namespace)] : [])
                + field.values.map { Element("value", namespace, text: $0) }
                + field.options.map { option in
                    Element(
                        "option", namespace, option.label.map { [("label", $0)] } ?? [],
                        [Element("value", namespace, text: option.value)])
                })
    }
}
