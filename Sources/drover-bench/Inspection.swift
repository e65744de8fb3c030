/// What `drover inspect --json` says of a DD/OS, as far as it is measured here.
struct Inspection: Decodable {
    let summary: Summary
    let memoryMiB: Int
    let failures: [Failure]
    let lastStart: Timeline?

    struct Summary: Decodable {
        let restarts: Int
    }

    struct Failure: Decodable {
        let reason: String
    }

    /// Seconds.
    struct Timeline: Decodable {
        let image, stub, vmm, kernel, initialization, probe, connection, session: Double

        /// From virDomainCreate to a session; the image and the client stub come before.
        var sinceLaunch: Double { vmm + kernel + initialization + probe + connection + session }

        var steps: [String: Double] {
            [
                "image": image, "stub": stub, "vmm": vmm, "kernel": kernel, "initialization": initialization, "probe": probe,
                "connection": connection, "session": session,
            ]
        }
    }
}
