// Numbers as the firmware and the kernel write them: `0x50000`.

extension UInt32 {
    /// Reads `0x` and hexadecimal digits.
    init?(hexadecimal text: some StringProtocol) {
        guard text.hasPrefix("0x") else { return nil }
        let digits = text.dropFirst(2)
        // The standard parser would take a sign.
        guard !digits.isEmpty, digits.allSatisfy(\.isHexDigit) else { return nil }
        self.init(digits, radix: 16)
    }
}
