import Testing

@testable import Hypervisor

@Suite struct HostClockTests {
    private static let flags = "processor : 0\nflags\t\t: fpu tsc constant_tsc nonstop_tsc svm\n"

    @Test func aCounterThatTheHostTrustsIsGivenToTheGuest() {
        #expect(
            HostClock.parameters(clockSource: "tsc\n", cpuinfo: Self.flags) { 2_593_513 } == ["tsc=reliable", "tsc_early_khz=2593513"])
    }

    @Test func aFrequencyThatCouldNotBeMeasuredIsLeftToTheGuest() {
        #expect(HostClock.parameters(clockSource: "tsc\n", cpuinfo: Self.flags) { 0 } == ["tsc=reliable"])
    }

    @Test(arguments: ["hpet\n", "kvm-clock\n", "acpi_pm", ""])
    func aHostThatKeepsTimeOtherwiseVouchesForNothing(_ source: String) {
        #expect(HostClock.parameters(clockSource: source, cpuinfo: Self.flags) { 1 } == [])
    }

    @Test func aCounterThatStopsOrChangesItsPaceIsNotTrusted() {
        #expect(HostClock.parameters(clockSource: "tsc\n", cpuinfo: "flags : fpu tsc constant_tsc\n") { 1 } == [])
        #expect(HostClock.parameters(clockSource: "tsc\n", cpuinfo: "") { 1 } == [])
    }
}
