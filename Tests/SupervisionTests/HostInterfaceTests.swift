import Foundation
import Glibc
import LinuxSystem
import Netlink
import Testing

@testable import Supervision

/// The host's side of a network DD/OS, with the real kernel: needs root.
@Suite struct HostInterfaceTests {
    private func interface(
        _ place: TestNamespaces, _ name: String = "dr-x", bridge: String? = nil, namespace: String? = nil, wire: String? = nil
    ) -> HostInterface {
        HostInterface(name: name, bridge: bridge, namespace: namespace, wire: wire, journal: place.journal)
    }

    /// What is refused, as a sentence; nothing is there that was not before, and the journal tells of nothing.
    private func refusal(_ interface: HostInterface, _ place: TestNamespaces) throws -> String {
        let before = (try place.links(), try place.links(inOther: true))
        do {
            _ = try interface.ensure()
            Issue.record("\(interface.name) was made")
            return ""
        } catch {
            #expect(try place.links() == before.0 && place.links(inOther: true) == before.1, "nothing half set up after: \(error)")
            let journal = InterfaceJournal.load(place.journal)
            #expect(journal.interface == nil && journal.wire == nil)
            return "\(error)"
        }
    }

    // MARK: what is there

    @Test func anInterfaceIsMadeOnceAndGoesWithItsJournal() throws {
        try TestNamespaces.with { place throws in
            let wanted = interface(place, wire: "wire0")
            #expect(try wanted.ensure() == .made)
            #expect(try place.links() == ["dr-x", "wire0"])
            #expect(try place.link("dr-x").kind == "tun" && place.link("dr-x").isUp == false, "an administrator brings it up")
            #expect(try place.link("wire0").isUp)
            let index = try place.link("dr-x").index
            #expect(try wanted.ensure() == .found)
            #expect(try place.link("dr-x").index == index)
            try HostInterface.remove(place.journal)
            #expect(try place.links() == [])
            #expect(access(place.journal, F_OK) != 0)
            try HostInterface.remove(place.journal)
        }
    }

    /// Nothing of the supervisor that made it is left but the file.
    @Test func theJournalBringsACrashedSupervisorsInterfaceDownWhateverItIsCalledNow() throws {
        try TestNamespaces.with { place throws in
            _ = try interface(place, namespace: place.other, wire: "wire0").ensure()
            var links = try LinkSocket(namespace: "/run/netns/\(place.other)")
            var change = LinkChange()
            change.name = "renamed"
            try links.change(try place.link("dr-x", inOther: true).index, change)
            #expect(try place.links(inOther: true) == ["renamed"])
            try HostInterface.remove(place.journal)
            #expect(try place.links(inOther: true) == [] && place.links() == [])
        }
    }

    @Test func whatSomebodyRemovedIsMadeAnewAndWhatTheConfigurationNoLongerNamesGoes() throws {
        try TestNamespaces.with { place throws in
            _ = try interface(place, "dr-a", wire: "wire0").ensure()
            var links = try LinkSocket()
            try links.delete(try place.link("dr-a").index)
            #expect(try interface(place, "dr-a", wire: "wire0").ensure() == .made)
            #expect(try interface(place, "dr-b", namespace: place.other, wire: "wire1").ensure() == .made)
            #expect(try place.links() == ["wire1"])
            #expect(try place.links(inOther: true) == ["dr-b"])
            // The namespace went, and the interface with it.
            try HostInterface.remove(place.journal)
        }
    }

    @Test func aPortOfABridgeIsUpAndTheBridgeStays() throws {
        try TestNamespaces.with { place throws in
            var links = try LinkSocket(namespace: "/run/netns/\(place.other)")
            try links.createBridge("br0")
            _ = try interface(place, bridge: "br0", namespace: place.other).ensure()
            let port = try place.link("dr-x", inOther: true)
            #expect(try port.isUp && port.master == place.link("br0", inOther: true).index)
            try HostInterface.remove(place.journal)
            #expect(try place.links(inOther: true) == ["br0"])
        }
    }

    @Test func aWireThatWasThereIsUsedAndLeft() throws {
        try TestNamespaces.with { place throws in
            var tap = try TapDevice(name: "wire0")
            try tap.persist()
            _ = try interface(place, wire: "wire0").ensure()
            #expect(InterfaceJournal.load(place.journal).wire == nil)
            try HostInterface.remove(place.journal)
            #expect(try place.links() == ["wire0"])
        }
    }

    /// The numbers in it are those of interfaces that no longer exist; somebody else's may have them.
    @Test func theJournalOfAnotherBootTouchesNothing() throws {
        try TestNamespaces.with { place throws in
            var tap = try TapDevice(name: "mine")
            try tap.persist()
            var journal = InterfaceJournal()
            journal.bootID = "another"
            journal.interface = InterfaceJournal.Made(name: "mine", index: tap.index, mark: "")
            try journal.save(place.journal)
            try HostInterface.remove(place.journal)
            #expect(try place.links() == ["mine"])
        }
    }

    /// Numbers begin anew in a namespace that is made anew: another program's TAP device may have the one in the journal.
    @Test func theInterfaceOfAnotherProgramIsLeftAloneWhateverItsNumber() throws {
        try TestNamespaces.with { place throws in
            let wanted = interface(place, namespace: place.other)
            _ = try wanted.ensure()
            let made = try #require(InterfaceJournal.load(place.journal).interface)
            try place.makeOtherAnew()
            try NetworkNamespace(path: "/run/netns/\(place.other)").perform { () throws(NetlinkError) in
                do {
                    var foreign = try TapDevice(name: "foreign")
                    try foreign.persist()
                } catch { Issue.record("\(error)") }
            }
            let foreign = try place.link("foreign", inOther: true)
            try #require(foreign.index == made.index)
            #expect(throws: InterfaceError.refused(operation: "look at", name: "dr-x", reason: "No such device")) {
                try HostInterface.update(made, mac: "52:54:00:12:34:56", mtu: 9000)
            }
            #expect(try place.link("foreign", inOther: true) == foreign)
            #expect(try wanted.ensure() == .made)
            #expect(try place.links(inOther: true) == ["dr-x", "foreign"])
            try HostInterface.remove(place.journal)
            #expect(try place.links(inOther: true) == ["foreign"])
        }
    }

    /// A supervisor died between the journal's line and the interface's.
    @Test func aJournalThatIsAheadOfTheKernelDoesNoHarm() throws {
        try TestNamespaces.with { place throws in
            var links = try LinkSocket()
            try links.createPair("left", "right")
            var journal = InterfaceJournal()
            journal.interface = InterfaceJournal.Made(name: "dr-x", index: 4711, mark: "drover x")
            // No TAP device: a number that was given to somebody else is not ours to remove.
            journal.wire = InterfaceJournal.Made(name: "wire0", index: try place.link("left").index, mark: "")
            try journal.save(place.journal)
            #expect(try interface(place, wire: "wire0").ensure() == .made)
            #expect(try place.links() == ["dr-x", "left", "right", "wire0"])
            try HostInterface.remove(place.journal)
            #expect(try place.links() == ["left", "right"])
        }
    }

    // MARK: what is refused

    @Test func aNameThatIsTakenIsLeftToItsOwner() throws {
        try TestNamespaces.with { place throws in
            var links = try LinkSocket()
            try links.createPair("left", "right")
            #expect(
                try refusal(interface(place, "left", wire: "wire0"), place)
                    == "there is an interface 'left' already (a veth); choose another 'interface: { name: … }', or remove that one")
            // Of a program that is running, and of nobody's.
            var tap = try TapDevice(name: "busy")
            try tap.persist()
            #expect(
                try refusal(interface(place, "busy"), place)
                    == "there is an interface 'busy' already (a TAP device); choose another 'interface: { name: … }', or remove that one")
            var inside = try LinkSocket(namespace: "/run/netns/\(place.other)")
            try inside.createBridge("dr-x")
            #expect(
                try refusal(interface(place, namespace: place.other), place)
                    == "there is an interface 'dr-x' already in the namespace '\(place.other)' (a bridge); choose another "
                    + "'interface: { name: … }', or remove that one")
        }
    }

    @Test func aBridgeThatIsMissingOrNoneIsNamed() throws {
        try TestNamespaces.with { place throws in
            #expect(
                try refusal(interface(place, bridge: "br0", wire: "wire0"), place)
                    == "there is no bridge 'br0'; make it with 'ip link add br0 type bridge'")
            #expect(
                try refusal(interface(place, bridge: "br0", namespace: place.other), place)
                    == "there is no bridge 'br0' in the namespace '\(place.other)'; make it with 'ip -n \(place.other) link add br0 type bridge'"
            )
            #expect(
                try refusal(interface(place, bridge: "lo"), place)
                    == "'lo' is a device, not a bridge; name one as 'interface: { bridge: … }'")
        }
    }

    @Test func aNamespaceThatIsMissingOrAFileOfThatNameIsNamed() throws {
        try TestNamespaces.with { place throws in
            let words = "; make it with 'ip netns add \(place.other)-none'"
            let missing = interface(place, namespace: place.other + "-none", wire: "wire0")
            #expect(try refusal(missing, place) == "there is no network namespace '\(place.other)-none'" + words)
            let path = HostInterface.path(ofNamespace: place.other + "-none")
            #expect(FileManager.default.createFile(atPath: path, contents: nil))
            defer { unlink(path) }
            #expect(try refusal(missing, place) == "there is no network namespace '\(place.other)-none'" + words)
        }
    }

    @Test func aWireThatIsNoTAPIsNamed() throws {
        try TestNamespaces.with { place throws in
            var links = try LinkSocket()
            try links.createBridge("wire0")
            #expect(
                try refusal(interface(place, wire: "wire0"), place)
                    == "'wire0' is a bridge, not a TAP device; 'wire: { tap: … }' names one, or a new name")
        }
    }

    @Test func anInterfaceThatCannotBeWrittenDownIsNotMade() throws {
        try TestNamespaces.with { place throws in
            var wanted = interface(place)
            wanted.journal = place.directory + "/nowhere/interface.json"
            #expect(try refusal(wanted, place).hasPrefix("cannot keep a record of 'dr-x': "))
        }
    }

    /// Any program that is being started has all descriptors for a moment, and the kernel keeps the device as long as one is open.
    @Test func aDeviceThatIsGivenUpIsGoneAlthoughAChildStillHasItsDescriptor() throws {
        try TestNamespaces.with { place throws in
            let child: Int32
            do {
                let device = try TapDevice(name: "dr-x")
                child = dup(device.file.rawValue)
                #expect(try place.links() == ["dr-x"])
            }
            defer { close(child) }
            #expect(try place.links() == [])
        }
    }

    // MARK: what follows the NIC

    @Test func theInterfaceTakesItsNICsAddressAndMTU() throws {
        try TestNamespaces.with { place throws in
            _ = try interface(place).ensure()
            let made = try #require(InterfaceJournal.load(place.journal).interface)
            try HostInterface.update(made, mac: "52:54:00:12:34:56", mtu: 9000)
            let link = try place.link("dr-x")
            #expect(link.mtu == 9000 && link.mac?.description == "52:54:00:12:34:56")
            // No station's address, which a NIC's driver may say all the same.
            try HostInterface.update(made, mac: "01:00:5e:00:00:01", mtu: 9000)
            #expect(try place.link("dr-x").mac == link.mac)
        }
    }

    @Test func anMTUThatIsRefusedLeavesTheInterfaceAsItWas() throws {
        try TestNamespaces.with { place throws in
            _ = try interface(place).ensure()
            let made = try #require(InterfaceJournal.load(place.journal).interface)
            let before = try place.link("dr-x")
            do {
                try HostInterface.update(made, mac: "52:54:00:12:34:56", mtu: 70000)
                Issue.record("the kernel took an MTU of 70000")
            } catch {
                #expect("\(error)" == "cannot set the MTU 70000 of 'dr-x': mtu greater than device maximum")
            }
            #expect(try place.link("dr-x") == before)
        }
    }

    @Test func anInterfaceThatIsGoneIsSaidToBe() throws {
        try TestNamespaces.with { place throws in
            _ = try interface(place).ensure()
            let made = try #require(InterfaceJournal.load(place.journal).interface)
            var links = try LinkSocket()
            try links.delete(made.index)
            do {
                try HostInterface.update(made, mac: "52:54:00:12:34:56", mtu: 1500)
                Issue.record("an interface that is gone was changed")
            } catch {
                #expect("\(error)" == "cannot look at 'dr-x': No such device")
            }
        }
    }
}
