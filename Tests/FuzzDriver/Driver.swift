// The entry that libFuzzer calls, which has the `main` of this program (`make fuzz`).

import FuzzTargets
import Glibc

private enum Chosen {
    /// The target named by the environment.
    static let target: FuzzTarget = {
        if let name = getenv("FUZZ_TARGET").map({ String(cString: $0) }),
            let target = FuzzTarget(rawValue: name)
        {
            return target
        }
        let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
        print("Set FUZZ_TARGET to one of: \(names)")
        exit(64)
    }()
}

/// Runs one input; a violated property ends the program, and libFuzzer keeps the input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    do {
        try Chosen.target.run(Array(UnsafeBufferPointer(start: start, count: count)))
    } catch {
        print("\(Chosen.target.rawValue): \(error)")
        fflush(nil)
        abort()
    }
    return 0
}
