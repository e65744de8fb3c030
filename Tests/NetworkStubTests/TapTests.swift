import Testing

@testable import NetworkStub

@Suite struct TapTests {
    @Test func errorsSayWhatToDo() throws {
        try Wire.with { wire, _ in
            #expect(throws: TapError.busy(name: "near0")) { _ = try Tap(name: "near0", namespace: "/run/netns/\(wire.name)") }
            #expect(throws: TapError.otherKind(name: "bridge", queues: 1)) {
                _ = try Tap(name: "bridge", namespace: "/run/netns/\(wire.name)")
            }
        }
        do {
            _ = try Tap(name: "x", namespace: "/run/netns/drover-test-none")
            Issue.record("a namespace that does not exist was entered")
        } catch {
            #expect(error.description == "the network namespace /run/netns/drover-test-none cannot be entered: No such file or directory")
        }
    }
}
