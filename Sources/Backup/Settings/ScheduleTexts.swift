// The times in a job of the configuration, judged before they are used.

internal import Options

/// Schedules, time zones and windows of a record.
enum ScheduleTexts {
    /// What is wrong with them.
    static func problems(_ record: ConfigurationRecord) -> [(text: String, advice: String)] {
        ["schedule", "time_zone", "test_restore"].filter { record.string($0) == "" }.map {
            ("\($0): it is empty", "remove it")
        }
    }
}
