// The time, as the push relay asks for it.

internal import Engine
internal import Glibc

/// Clocks.
enum PushClock {
    static var now: PushMoment {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return PushMoment(
            monotonic: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000,
            wall: Clock.millisecondsSince1970())
    }
}
