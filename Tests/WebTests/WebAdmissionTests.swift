// Connections and requests of addresses, without sockets.

import NIOCore
import Options
import Prometheus
import Testing

@testable import Web

@Suite struct WebAdmissionTests {
}
