// SMART: reports of smartctl, logs of smartd, and what either of them must not do to us.

import Glibc
import Prometheus
import Synchronization
import Testing

@testable import Hardware

@Suite("SMART reports of smartctl")
struct SmartctlReportTests {
    private let tree = ScratchTree()

    private func read(
        _ json: String, device: String = "sda"
    ) -> (values: [String: Double], failure: ReadingError?) {
        tree.write("run/kinglet-smart/\(device).json", json)
        let (samples, failure) = tree.read(SMARTReports())
        return (values(samples), failure)
    }

    private func values(_ samples: [Sample]) -> [String: Double] {
        Dictionary(
            samples.map { (String($0.name.dropFirst("kinglet_machine_smart_".count)), $0.value) },
            uniquingKeysWith: { first, _ in first })
    }

    /// A report with these members beside what every report has.
    private func report(_ members: String, status: Int = 0) -> String {
        #"{"smartctl":{"exit_status":\#(status)},"local_time":{"time_t":1763600000},\#(members)}"#
    }

    private func attribute(
        _ id: Int, _ name: String, _ raw: String, value: Int = 100, string: String? = nil
    ) -> String {
        let shown = string.map { #","string":"\#($0)""# } ?? ""
        return
            #"{"id":\#(id),"name":"\#(name)","value":\#(value),"raw":{"value":\#(raw)\#(shown)}}"#
    }

    private func table(_ attributes: String...) -> String {
        report(#""ata_smart_attributes":{"table":[\#(attributes.joined(separator: ","))]}"#)
    }

    @Test("A report without an attribute gives what it has, in the unit of the family")
    func partial() {
        let (values, failure) = read(
            report(
                #""smart_status":{"passed":false},"power_on_time":{"hours":2,"minutes":30}"#))
        #expect(failure == nil)
        #expect(
            values == [
                "healthy": 0, "power_on_seconds_total": 9000,
                "report_timestamp_seconds": 1_763_600_000,
            ])
    }

    @Test("NVMe counts units of 512,000 bytes, and life beyond its end")
    func nvme() {
        let (values, failure) = read(
            report(
                #""nvme_smart_health_information_log":{"temperature":41,"available_spare":97,"#
                    + #""percentage_used":255,"data_units_written":3,"power_on_hours":1,"#
                    + #""unsafe_shutdowns":4,"media_errors":5}"#), device: "nvme0n1")
        #expect(failure == nil)
        #expect(
            values == [
                "temperature_celsius": 41, "spare_ratio": 0.97, "used_ratio": 2.55,
                "written_bytes_total": 1_536_000, "power_on_seconds_total": 3600,
                "unsafe_shutdowns_total": 4, "media_errors_total": 5,
                "report_timestamp_seconds": 1_763_600_000,
            ])
    }

    @Test("Of a raw value the number that smartctl shows first counts")
    func rawValue() {
        let (values, _) = read(
            table(
                attribute(5, "Reallocated_Sector_Ct", "8589934594", string: "2 (0 2)"),
                attribute(197, "Current_Pending_Sector", "7")))
        #expect(values["reallocated_sectors"] == 2)
        #expect(values["pending_sectors"] == 7)
    }

    @Test(
        "Bytes written are in the unit that the attribute's name tells",
        arguments: [
            ("Total_LBAs_Written", 512.0), ("Host_Writes_32MiB", 33_554_432),
            ("Host_Writes_GiB", 1_073_741_824), ("Lifetime_Writes_GiB", 1_073_741_824),
        ])
    func written(_ name: String, _ unit: Double) {
        #expect(read(table(attribute(241, name, "10"))).values["written_bytes_total"] == 10 * unit)
    }

    @Test("The same number of an attribute with another name means something else")
    func otherNames() {
        let (values, _) = read(
            table(
                attribute(241, "Head_Flying_Hours", "10"),
                attribute(202, "Data_Address_Mark_Errs", "3"),
                attribute(187, "Unknown_Attribute", "9"),
                attribute(177, "Wear_Leveling_Count", "0", value: 253)))
        #expect(values.keys.sorted() == ["report_timestamp_seconds"])
        let wear = read(table(attribute(202, "Percent_Lifetime_Remain", "12", value: 88)))
        #expect(wear.values["used_ratio"] == 0.12)
    }

    @Test("A disk that smartctl cannot ask, and one without SMART, are absent")
    func without() {
        for json in [
            report(#""smart_support":{"available":false}"#, status: 4),
            report(#""device":{"name":"/dev/sda"}"#, status: 1),
        ] {
            let (values, failure) = read(json)
            #expect(values.isEmpty && failure == nil)
        }
    }

    @Test("A disk that could not be opened is a failure with smartctl's own words")
    func refused() {
        let (values, failure) = read(
            #"{"smartctl":{"exit_status":2,"messages":[{"string":"open failed: Input\u0007","#
                + #""severity":"error"}]}}"#)
        #expect(values.isEmpty)
        #expect(failure?.code == .inputOutput)
        #expect(failure?.message == "open failed: Input?")
    }

    @Test(
        "What is no report is a failure",
        arguments: [
            "", "{", "null", "[]", "{}", "smartctl 7.4\n", #"{"smartctl":7}"#,
            #"{"smartctl":{"exit_status":-1}}"#, #"{"smartctl":{"exit_status":99999999999999}}"#,
            #"{"smartctl":{"exit_status":0},"temperature":{"current":"hot"}}"#,
            #"{"smartctl":{"exit_status":0},"smart_status":{"passed":1}}"#,
            #"{"smartctl":{"exit_status":0},"power_on_time":{"hours":1e999}}"#,
            #"{"smartctl":{"exit_status":0},"ata_smart_attributes":{"table":[{"id":256}]}}"#,
        ])
    func garbage(_ json: String) {
        let (values, failure) = read(json)
        #expect(values.isEmpty && failure?.code == .malformed)
    }

    @Test(
        "A number that cannot be is a failure that leaves the others",
        arguments: [
            #""temperature":{"current":-300}"#, #""temperature":{"current":65535}"#,
            #""endurance_used":{"current_percent":-1}"#,
            #""spare_available":{"current_percent":101}"#,
            #""power_on_time":{"hours":1e300}"#, #""power_on_time":{"hours":-1}"#,
            #""nvme_smart_health_information_log":{"data_units_written":1e300}"#,
            #""nvme_smart_health_information_log":{"media_errors":-1}"#,
            #""nvme_smart_health_information_log":{"unsafe_shutdowns":340282366920938463463}"#,
        ])
    func implausible(_ member: String) {
        let (values, failure) = read(report(#""smart_status":{"passed":true},\#(member)"#))
        #expect(failure?.code == .malformed)
        #expect(values == ["healthy": 1, "report_timestamp_seconds": 1_763_600_000])
    }

    /// Whether the report is understood, on a thread with the stack that readings have.
    private func isUnderstood(_ json: String) async -> Bool? {
        await withCheckedContinuation { continuation in
            do throws(ReadingError) {
                try ReadingThread.start {
                    continuation.resume(returning: SmartctlReport(Array(json.utf8)) != nil)
                }
            } catch {
                continuation.resume(returning: nil)
            }
        }
    }

    @Test("Nesting does not use up the small stack of a reading's thread")
    func nesting() async {
        func nested(_ depth: Int) -> String {
            let open = String(repeating: "[{\"y\":", count: depth)
            let close = String(repeating: "}]", count: depth)
            return report("\"x\":\(open)1\(close)")
        }
        #expect(await isUnderstood(nested(200)) == true)
        #expect(await isUnderstood(nested(20_000)) == false)
        #expect(
            await isUnderstood(report("\"x\":" + String(repeating: "[", count: 200_000))) == false)
    }

    @Test("A report of more than 256 KiB is refused, whatever it says")
    func tooLong() {
        let padding = String(repeating: " ", count: SMARTReports.sizeLimit)
        let (values, failure) = read(report(#""smart_status":{"passed":true}"#) + padding)
        #expect(values.isEmpty && failure?.code == .malformed)
    }

    @Test("After a day without a new report the timer is to blame, and nothing old is shown")
    func stale() {
        tree.write("calls", "age /run/kinglet-smart/sda.json 86401\n")
        let (values, failure) = read(report(#""smart_status":{"passed":true}"#))
        #expect(values == ["report_timestamp_seconds": 1_763_600_000])
        #expect(failure?.code == .timeout)
        #expect(failure?.description.contains("kinglet-smart.timer") == true)
        tree.write("calls", "age /run/kinglet-smart/sda.json 86400\n")
        #expect(tree.read(SMARTReports()).failure == nil)
        // A clock that was set back.
        tree.write("calls", "age /run/kinglet-smart/sda.json -1e12\n")
        #expect(tree.read(SMARTReports()).failure == nil)
    }

    @Test("The age of a report is that of its file")
    func fileAge() throws {
        tree.write("run/kinglet-smart/sda.json", report(#""smart_status":{"passed":true}"#))
        let path = "\(tree.path)/run/kinglet-smart/sda.json"
        #expect(try #require(try KernelCalls().age(of: path, below: tree.path)) < 600)
        var times = [
            timeval(tv_sec: 1_000_000, tv_usec: 0), timeval(tv_sec: 1_000_000, tv_usec: 0),
        ]
        #expect(utimes(path, &times) == 0)
        #expect(tree.read(SMARTReports()).failure?.code == .timeout)
        #expect(try KernelCalls().age(of: path + "x", below: "") == nil)
    }

    @Test("Unfinished reports and other files are not read, and eight disks are shown")
    func files() {
        let json = report(#""smart_status":{"passed":true}"#)
        tree.write("run/kinglet-smart/.sda.json.new", "{")
        tree.write("run/kinglet-smart/notes.txt", "{")
        tree.write("run/kinglet-smart/a b.json", "{")
        for number in 0..<20 { tree.write("run/kinglet-smart/sd\(number).json", json) }
        let (samples, failure) = tree.read(SMARTReports())
        #expect(samples.count == 16 && failure == nil)
    }
}

@Suite("SMART by smartd's attribute log")
struct SmartdLogTests {
    private let tree = ScratchTree()
    private let line = "2026-11-20 09:41:03;\t5;100;65538;\t9;99;10;\t194;67;81604378658;\n"

    private func write(_ text: String, model: String = "CT500MX500SSD1", serial: String = "1842E0")
    {
        tree.write("var/lib/smartmontools/attrlog.\(model)-\(serial).ata.csv", text)
    }

    @Test("The last whole line counts, in UTC; the label is the model without the serial number")
    func lastLine() {
        write("garbage\n" + line + "2026-11-20 10:1")
        let (samples, failure) = tree.read(SMARTReports())
        #expect(failure == nil)
        #expect(samples.map(\.value) == [34, 2, 1_795_167_663, 36_000])
        #expect(samples.allSatisfy { $0.labels.map(\.1) == ["CT500MX500SSD1"] })
    }

    @Test("A log of years is read from its end")
    func longLog() {
        write(String(repeating: "x", count: 1_000_000) + "\n" + line)
        #expect(tree.read(SMARTReports()).samples.count == 4)
    }

    @Test("Two disks of a model are two")
    func sameModel() {
        write(line, serial: "A1")
        write(line, serial: "A2")
        let devices = tree.read(SMARTReports()).samples.compactMap { $0.labels.first?.1 }
        #expect(Set(devices) == ["CT500MX500SSD1", "CT500MX500SSD1 2"])
    }

    @Test("Logs are not read beside reports of smartctl")
    func reportsFirst() {
        write(line)
        tree.write("run/kinglet-smart/sda.json", #"{"smartctl":{"exit_status":1}}"#)
        #expect(tree.read(SMARTReports()).samples.isEmpty)
    }

    @Test("The log of a disk that is gone is no failure")
    func gone() {
        write("garbage\n")
        tree.write(
            "calls", "age /var/lib/smartmontools/attrlog.CT500MX500SSD1-1842E0.ata.csv 90000\n")
        let result = tree.read(SMARTReports())
        #expect(result.samples.isEmpty && result.failure == nil)
    }

    @Test("Other files of smartd are not read, and a machine without it shows nothing")
    func otherFiles() {
        #expect(tree.read(SMARTReports()).failure == nil)
        tree.write("var/lib/smartmontools/attrlog.WDC-1.nvme.csv", "x\n")
        tree.write("var/lib/smartmontools/attrlog.-1.ata.csv", "x\n")
        tree.write("var/lib/smartmontools/smartd.X-1.ata.state", "x\n")
        let result = tree.read(SMARTReports())
        #expect(result.samples.isEmpty && result.failure == nil)
    }

    @Test(
        "A line that is none is a failure, which does not tell the serial number",
        arguments: [
            "", "\n", "2026-11-20;\n", "2026-13-20 09:41:03;\n", "2026-11-20 09:41:03;\t5;100\n",
            "2026-11-20 09:41:03;\t5;100;-1;\n",
            "2026-11-20 09:41:03;\t5;100;18446744073709551616;\n",
            "99999999999999999999-11-20 09:41:03;\t5;1;1;\n", "2026-11-20 09:41:03;\ta;b;c;\n",
        ])
    func garbage(_ text: String) {
        write(text)
        let (samples, failure) = tree.read(SMARTReports())
        #expect(samples.isEmpty && failure?.code == .malformed)
        #expect(failure?.description.contains("1842E0") == false)
    }
}
