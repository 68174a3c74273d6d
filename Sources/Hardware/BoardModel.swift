// Which Raspberry Pi this is: device tree `model`, and the revision code that decodes to memory
// size, manufacturer and board version. The serial number beside them is never read.

import Prometheus

/// `rpi_info`: model and revision of the board.
struct BoardModel: Reading {
    static let name = "model"
    static let families = [
        FamilyDescription(
            name: "rpi_info", kind: .info, help: "Model and revision code of the Raspberry Pi.")
    ]
    /// A board does not change while it runs; a read that failed is repeated in the same rhythm.
    let period = Duration.seconds(600)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard let model = try machine.raspberryPiModel() else { return }
        var labels = [("model", model.printable(80))]
