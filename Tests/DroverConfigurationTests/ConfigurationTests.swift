import DroverConfiguration
import Testing

let models = ["nvme", "ahci", "sym53c8xx", "virtio_blk"]
let nics = ["e1000e", "pcnet32"]

/// The problems of a text, as `line:column: message`.
func problems(_ text: String) -> [String] {
    do throws(ConfigurationError) {
        _ = try Configuration(parsing: text, file: "test.yaml", models: models, nics: nics)
        return []
    } catch {
        return error.problems.map { "\($0.line):\($0.column): \($0.message)" }
    }
}

func parse(_ text: String) throws -> Configuration {
    try Configuration(parsing: text, file: "test.yaml", models: models, nics: nics)
}

@Suite("Configuration")
struct ConfigurationTests {
    @Test func everyKeyIsRead() throws {
        let configuration = try parse(
            """
            ddos:
              nvme0:
                class: block
                device: { emulated: nvme, backing: { file: /var/lib/drover/nvme0.img, size: 1GiB } }
                image: debian-6.12
                memory: 256MiB
                pool: 32MiB
                vcpus: 2
                limits: { cpu: 150%, memory: 1GiB }
                queueSize: 64
                frontends: [ nbd: { socket: /run/my.sock } ]
                autostart: false
                boot: { deadline: 90s }
                restart:
                  backoff: 0.5s..1min
                  stableAfter: 5min
                  quarantine: { failures: 3, within: 1.5min }
                  onQuarantine: hold
                requests: { deadline: 5s, whileDown: fail, holdLimit: 2min, pingTimeout: 800ms }
            """)
        var expected = DDOSConfiguration(
            name: "nvme0",
            device: .emulated(
                model: "nvme", backing: Backing(file: "/var/lib/drover/nvme0.img", size: .mebibytes(1024))))
        expected.image = "debian-6.12"
        expected.memory = .mebibytes(256)
        expected.pool = .mebibytes(32)
        expected.vcpus = 2
        expected.limits = ResourceLimits(cpu: 1.5, memory: .mebibytes(1024))
        expected.queueSize = 64
        expected.frontEnds = [.nbd(socket: "/run/my.sock")]
        expected.autostart = false
        expected.bootDeadline = .seconds(90)
        expected.restart.backoffMinimum = .milliseconds(500)
        expected.restart.backoffMaximum = .seconds(60)
        expected.restart.stableAfter = .seconds(300)
        expected.restart.quarantine = .init(failures: 3, within: .seconds(90))
        expected.restart.onQuarantine = .hold
        expected.requests.deadline = .seconds(5)
        expected.requests.whileDown = .fail
        expected.requests.holdLimit = .seconds(120)
        expected.requests.pingTimeout = .milliseconds(800)
        #expect(configuration.ddos == [expected])
    }

    @Test func whatIsLeftOutHasTheDocumentedDefault() throws {
        let configuration = try parse("ddos: { a: { device: { pci: \"01:00.0\" } } }")
        #expect(configuration.ddos == [DDOSConfiguration(name: "a", device: .pci(address: "0000:01:00.0"))])
    }

    @Test func defaultsHoldForEveryDDOSThatDoesNotSayOtherwise() throws {
        let configuration = try parse(
            """
            defaults: { memory: 64MiB, restart: { quarantine: never } }
            ddos:
              a: { device: { pci: "01:00.0" } }
              b: { device: { pci: "02:00.0" }, memory: 96MiB, restart: { backoff: 1s..2s } }
            """)
        #expect(configuration.ddos.map(\.memory) == [.mebibytes(64), .mebibytes(96)])
        #expect(configuration.ddos.map(\.restart.quarantine) == [nil, nil])
        #expect(configuration.ddos[1].restart.backoffMaximum == .seconds(2))
    }

    @Test func littleMemoryNeedsNoPoolToBeNamed() throws {
        let head = "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    memory: 24MiB\n"
        #expect(try parse(head).ddos[0].memory == .mebibytes(24))
        #expect(problems(head + "    pool: 16MiB") == ["3:5: 'ddos.a': memory (24MiB) has to exceed pool (16MiB) by 16MiB at least"])
    }

    @Test func backingFilesMayBeBelowTheSupervisorsDirectories() throws {
        let backing = Backing(file: "$RUN_DIR/disks/a.img")
        #expect(backing.path(runDirectory: "/run/drover", cacheDirectory: "/c") == "/run/drover/disks/a.img")
        #expect(Backing(file: "$CACHE_DIR/a").path(runDirectory: "/r", cacheDirectory: "/c") == "/c/a")
        #expect(Backing(file: "/a").path(runDirectory: "/r", cacheDirectory: "/c") == "/a")
    }

    /// Each text has exactly this one problem, at this place.
    @Test(arguments: [
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    memroy: 1GiB",
            "4:5: unknown key 'memroy' in 'ddos.a'; did you mean 'memory'?"
        ),
        ("dos: {}\nddos: { a: { device: { pci: \"01:00.0\" } } }", "1:1: unknown key 'dos' at the top of the file; did you mean 'ddos'?"),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    memory: 128",
            "4:13: 'ddos.a.memory': '128' has no unit: write it with one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB, such as 128MiB"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    memory: 128mib",
            "4:13: 'ddos.a.memory': 'mib' in '128mib' is not a unit; did you mean '128MiB'?"
        ),
        ("ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    memory: [1]", "4:13: 'ddos.a.memory' has to be a text, not a list"),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    memory: 1MiB",
            "4:13: 'ddos.a.memory' is 1MiB; it has to be from 24MiB to 64GiB"
        ),
        ("ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    vcpus: one", "4:12: 'ddos.a.vcpus' has to be a whole number, not 'one'"),
        ("ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    vcpus: 0", "4:12: 'ddos.a.vcpus' is 0; it has to be from 1 to 64"),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    limits: { cpu: 0.5 }",
            "4:20: 'ddos.a.limits.cpu' has to be a percentage of one CPU, such as 50%, not '0.5'"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    limits: { cpu: 0% }",
            "4:20: 'ddos.a.limits.cpu' is 0%; it has to be from 1% to 10000%"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    limits: { memory: 200MiB }",
            "3:5: 'ddos.a.limits.memory' is 200MiB; the guest's 128MiB and the VMM need 256MiB at least"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    queueSize: 100",
            "4:16: 'ddos.a.queueSize' is 100; it has to be a power of two"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    autostart: yes",
            "4:16: 'ddos.a.autostart' has to be true or false, not 'yes'"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    boot: { deadline: 1sec }",
            "4:23: 'ddos.a.boot.deadline': 'sec' in '1sec' is not a unit; the units are us, ms, s, min, h, d"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    restart: { backoff: 3s }",
            "4:25: 'ddos.a.restart.backoff' has to be two durations with '..' between them, such as 0.2s..30s, not '3s'"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    restart: { backoff: 3s..1s }",
            "4:25: 'ddos.a.restart.backoff' is 3s..1s; the first duration has to be the shorter one"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    requests: { whileDown: holt }",
            "4:28: 'ddos.a.requests.whileDown' cannot be 'holt'; did you mean 'hold'?"
        ),
        (
            "ddos:\n  a:\n    device: { pci: \"1:0.0\" }",
            "3:20: 'ddos.a.device.pci' is '1:0.0'; it has to be a PCI address in quotes, such as \"0000:01:00.0\""
        ),
        ("ddos:\n  a:\n    device: {}", "3:13: 'ddos.a.device' needs either 'emulated' (a model and a backing file) or 'pci' (an address)"),
        (
            "ddos:\n  a:\n    device: { emulated: nvmee, backing: { file: /a } }",
            "3:25: 'ddos.a.device.emulated': there is no model 'nvmee'; did you mean 'nvme'?"
        ),
        (
            "ddos:\n  a:\n    device: { emulated: nvme }",
            "3:13: 'ddos.a.device' lacks 'backing: { file: …, size: … }', the emulated device's disk"
        ),
        (
            "ddos:\n  a:\n    device: { emulated: nvme, backing: { file: a } }",
            "3:48: 'ddos.a.device.backing.file' is 'a'; it has to be an absolute path, or begin with $RUN_DIR/ or $CACHE_DIR/"
        ),
        ("ddos:\n  a:\n    image: debian-6.1", "3:5: 'ddos.a' lacks 'device'"),
        (
            "ddos:\n  a:\n    device: { pci: \"01:00.0\" }\n    frontends: [ ndb ]",
            "4:18: 'ddos.a.frontends': there is no front end 'ndb'; did you mean 'nbd'?"
        ),
        (
            "ddos:\n  a: { device: { pci: \"01:00.0\" } }\n  b: { device: { pci: \"0000:01:00.0\" } }",
            "3:6: 'ddos.b' uses the PCI device 0000:01:00.0, which belongs to 'a' already"
        ),
        (
            "ddos:\n  a: { device: { pci: \"01:00.0\" } }\n  a: { device: { pci: \"02:00.0\" } }",
            "2:3: key 'a' is given more than once in the same mapping; keep one"
        ),
        (
            "ddos: { A b: { device: { pci: \"01:00.0\" } } }",
            "1:9: 'A b' cannot name a DD/OS: use at most 32 of a-z 0-9 - _ . and begin with a letter or a digit, because it names files and the VM"
        ),
        ("defaults: {}", "1:1: the file lacks 'ddos'"),
        ("ddos: {}", "1:7: 'ddos' names no DD/OS; it needs at least one"),
        ("", "0:0: it is empty; it needs at least 'ddos:' with one DD/OS"),
        ("- a", "1:1: the file has to be a mapping (key: value), not a list"),
        ("ddos: &x {}", "1:7: anchors and aliases (&name, *name) are not supported; put what DD/OSs share under 'defaults:'"),
    ])
    func aProblemHasItsPlaceAndAWayOut(_ text: String, _ problem: String) {
        #expect(problems(text) == [problem])
    }

    @Test func allProblemsAreNamedAtOnceInTheFilesOrder() {
        let found = problems("ddos:\n  a:\n    device: { emulated: nvme, backing: { fiel: /a } }\n    memory: 1\n    imag: x")
        #expect(found.count == 4)
        #expect(found == found.sorted())
    }

    @Test func brokenYAMLSaysWhere() throws {
        let found = problems("ddos:\n  a: [1\n  b: 2")
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("3:") == true || found.first?.hasPrefix("2:") == true)
        #expect(found.first?.contains("this is not YAML") == true)
    }

    @Test func aMissingFileIsOneSentence() {
        do throws(ConfigurationError) {
            _ = try Configuration.load(file: "/nowhere/drover.yaml", models: models, nics: nics)
            Issue.record("it was read")
        } catch {
            #expect(
                "\(error)"
                    == "/nowhere/drover.yaml: there is no such file; name one with --file (droverd: --config), or start from one in Configs/"
            )
        }
    }
}

@Suite("Hostile configurations")
struct HostileConfigurationTests {
    @Test(arguments: [
        String(repeating: "[", count: 100_000), String(repeating: "{a: ", count: 50_000), String(repeating: "- ", count: 400),
        String(repeating: "? ", count: 499), String(repeating: "a: ", count: 300), "a: &a [*a]", "\u{0}", "\u{FEFF}ddos: {}",
        "%YAML 9.9\n---\na",
        "--- a\n--- b", "ddos: !!binary x", "ddos: !!set {a}", "? [a, b]\n: c", "? {a: b}\n: c\n? {a: b}\n: d", "ddos: { ? [x] : y }",
        "\"\\xff\": 1",
        "ddos: { a: { memory: 99999999999999999999999TiB, device: 1 } }", "ddos: { a: { memory: 9999999TiB, device: { pci: 7 } } }",
        "ddos: { a: { restart: { backoff: ....., quarantine: 7 }, device: { pci: \"::.\" } } }", "ddos: { a: { frontends: { nbd: 1 } } }",
        "ddos: { a: null, b: ~, c: , d: [] }", "<<: {a: b}", "ddos:\n\ta: b", "\r\r\r", "a: |\n  " + String(repeating: "x", count: 2000),
    ])
    func theyAreRefusedWithoutATrap(_ text: String) {
        #expect(!problems(text).isEmpty)
    }

    @Test func everyPrefixAndEveryCorruptedByteOfAGoodFileIsHandled() throws {
        let good =
            "ddos:\n  a:\n    device: { emulated: nvme, backing: { file: /a, size: 1GiB } }\n    restart: { backoff: 0.2s..30s, quarantine: { failures: 5, within: 2min } }\n"
        let bytes = Array(good.utf8)
        for end in bytes.indices { _ = problems(String(decoding: bytes[..<end], as: UTF8.self)) }
        for place in bytes.indices {
            for byte in [UInt8(ascii: "["), UInt8(ascii: ":"), UInt8(ascii: "'"), 0, 0xff, UInt8(ascii: "\n"), UInt8(ascii: ".")] {
                var bad = bytes
                bad[place] = byte
                _ = problems(String(decoding: bad, as: UTF8.self))
            }
        }
    }
}

@Suite("Quantities")
struct QuantityTests {
    @Test(
        arguments: [(1, "1B"), (1024, "1KiB"), (128 << 20, "128MiB"), (1 << 30, "1GiB"), ((1 << 30) + 1, "1073741825B"), (0, "0B")]
            as [(Int64, String)])
    func sizesPrintInTheLargestUnitThatFits(_ bytes: Int64, _ text: String) {
        #expect(ByteSize(bytes: bytes).description == text)
    }

    @Test(arguments: [(200, "200ms"), (1500, "1500ms"), (120_000, "2min"), (0, "0.0s")] as [(Int64, String)])
    func durationsPrintExactly(_ milliseconds: Int64, _ text: String) {
        #expect(DurationText.format(.milliseconds(milliseconds)) == text)
    }
}

@Suite("Examples")
struct ExampleTests {
    @Test(arguments: ["demo", "network", "passthrough", "reference"])
    func everyExampleIsValid(_ name: String) throws {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let configuration = try Configuration.load(file: "/\(root)/Configs/\(name).yaml", models: models, nics: nics)
        #expect(!configuration.ddos.isEmpty)
    }
}
