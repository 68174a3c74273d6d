// The thread that reads the machine: plain pthread, because a source may block for seconds and
// must then hold up nobody else, in particular no thread of a shared pool.

import Glibc

/// Starts detached threads.
enum ReadingThread {
    /// Enough for the readings, whose buffers are on the heap; the default reserves 8 MiB.
    private static let stackSize = 512 * 1024

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Runs `body` on a new thread, on which no signal is delivered.
    static func start(_ body: @escaping @Sendable () -> Void) throws(ReadingError) {
        let code = create(Body(body))
        guard code == 0 else {
            throw ReadingError(
                .thread, subject: "thread of the hardware readings",
                message: String(cString: strerror(code)),
                advice: "raise the limits of tasks and memory of this service and restart it")
        }
    }

    /// Returns the error number of the C library; 0 when the thread runs.
    private static func create(_ body: Body) -> Int32 {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, stackSize)

        let argument = Unmanaged.passRetained(body)
        var thread = pthread_t()
        let code = pthread_create(&thread, &attributes, threadMain, argument.toOpaque())
        if code != 0 { argument.release() }
        return code
    }

    private static let threadMain:
        @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
            var signals = sigset_t()
            sigfillset(&signals)
            pthread_sigmask(SIG_BLOCK, &signals, nil)
            nameThisThread()
            if let argument {
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
            }
            return nil
        }

    /// Shows a name in `top -H` and in core dumps. The C library's call for it is not in Glibc's
    /// module; that the kernel takes it through a file is all that is needed.
    private static func nameThisThread() {
        let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        _ = write(descriptor, "hardware", 8)
        close(descriptor)
    }
}
