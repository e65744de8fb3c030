import ClientStub
import Foundation
import FrontEnds
import Synchronization
import Testing

/// The programs that people use, each on real sockets and with a deadline.
@Suite(.serialized) struct NBDRealClientTests {
    @Test func nbdinfoShowsTheExport() throws {
        let server = try ServerFixture(exports: [ServerFixture.export("nvme0n1"), ServerFixture.export("nvme0n2", readOnly: true)])
        defer { server.stop() }
        #expect(try server.run(["nbdinfo", "--size", server.uri()]) == "\(ServerFixture.diskSize)\n")
        let text = try server.run(["nbdinfo", "--json", server.uri("nvme0n2")])
        let json = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        let export = try #require((json["exports"] as? [[String: Any]])?.first)
        #expect(json["structured"] as? Bool == true)
        #expect(export["is_read_only"] as? Bool == true)
        #expect(export["can_multi_conn"] as? Bool == true)
        #expect(export["can_trim"] as? Bool == false)
        #expect(export["block_size_minimum"] as? Int == 512)
        #expect(export["block_size_maximum"] as? Int == 32 << 20)
        #expect(export["description"] as? String == "disk of a Drover DD/OS")
    }

    @Test func nbdinfoMapsTheDiskAsData() throws {
        let server = try ServerFixture(exports: [ServerFixture.export("nvme0n1", readOnly: true)])
        defer { server.stop() }
        let map = try server.run(["nbdinfo", "--map", server.uri()]).split(separator: " ", omittingEmptySubsequences: true)
        #expect(map.prefix(2) == ["0", "\(ServerFixture.diskSize)"] && map.last == "data\n")
        #expect(try server.run(["nbdinfo", "--json", server.uri()]).contains("base:allocation"))
    }

    @Test func nbdinfoListsEveryExport() throws {
        let server = try ServerFixture(exports: [ServerFixture.export("nvme0n1"), ServerFixture.export("sda", blockSize: 4096)])
        defer { server.stop() }
        let text = try server.run(["nbdinfo", "--list", server.uri()])
        #expect(text.contains("export=\"nvme0n1\"") && text.contains("export=\"sda\""))
    }

    @Test func nbdcopyCopiesBothWays() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        try server.run(["dd", "if=/dev/urandom", "of=in.raw", "bs=1M", "count=\(ServerFixture.diskSize >> 20)", "status=none"])
        try server.run(["nbdcopy", "--flush", "in.raw", server.uri("nvme0n1")])
        try server.run(["nbdcopy", server.uri("nvme0n1"), "out.raw"])
        try server.run(["cmp", "in.raw", "out.raw"])
    }

    @Test func qemuImgConvertsAndCompares() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        try server.run(["dd", "if=/dev/urandom", "of=in.raw", "bs=1M", "count=20", "status=none"])
        try server.run(["truncate", "-s", String(ServerFixture.diskSize), "in.raw"])
        try server.run(["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "in.raw", server.uri()])
        try server.run(["qemu-img", "compare", "-f", "raw", "-F", "raw", "in.raw", server.uri("nvme0n1")])
        try server.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", server.uri(), "out.qcow2"])
        try server.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", "in.raw", "out.qcow2"])
        #expect(try server.run(["qemu-img", "info", "-f", "raw", server.uri()]).contains("64 MiB"))
    }

    @Test func qemuIoWritesReadsZeroesAndDiscards() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let script = [
            "write -P 0xaa 0 1M", "write -f -P 0xbb 512 512", "read -P 0xaa 0 512", "read -P 0xbb 512 512", "write -z 1M 10M",
            "discard 32M 16M",
            "aio_write -P 0x11 2M 64k", "aio_write -P 0x22 3M 64k", "aio_flush", "read -P 0x11 2M 64k", "read -P 0x22 3M 64k",
            "read -P 0 1M 1M", "flush",
        ]
        let text = try server.run(
            ["qemu-io", "-f", "raw", "-d", "unmap", "-t", "none"] + script.flatMap { ["-c", $0] } + [server.uri()])
        #expect(!text.contains("failed"), "\(text)")
    }

    @Test func aDiskOfLargeBlocksServesUnalignedClientsThroughQemu() throws {
        let server = try ServerFixture(exports: [ServerFixture.export("sda", blockSize: 4096)])
        defer { server.stop() }
        let text = try server.run([
            "qemu-io", "-f", "raw", "-c", "write -P 0xaa 0 8k", "-c", "write -P 0xbb 512 512", "-c", "read -P 0xaa 0 512", "-c",
            "read -P 0xbb 512 512", "-c", "read -P 0xaa 1k 7k", server.uri(),
        ])
        #expect(!text.contains("failed"), "\(text)")
    }

    @Test(arguments: ["randread", "randwrite", "randrw"]) func fioRuns(mode: String) throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let verify = mode == "randwrite" ? ["--verify=crc32c"] : []
        try server.run(
            [
                "fio", "--name=t", "--ioengine=nbd", "--uri=\(server.uri())", "--rw=\(mode)", "--bs=4k", "--iodepth=32", "--size=16m",
                "--io_size=16m",
            ] + verify)
        try server.run(
            [
                "fio", "--name=t", "--ioengine=nbd", "--uri=\(server.uri())", "--rw=\(mode)", "--bs=128k", "--iodepth=8", "--size=64m",
                "--io_size=64m", "--fsync=16",
            ] + verify)
    }

    @Test func manyClientsWorkAtOnce() async throws {
        var limits = NBDLimits()
        limits.bytesPerClient = 2 << 20
        // A pool that is much too small for all of them.
        let server = try ServerFixture(poolBytes: 4 << 20, limits: limits)
        defer { server.stop() }
        try await withThrowingTaskGroup { group in
            for client in 0..<8 {
                group.addTask {
                    let part = ServerFixture.diskSize / 8
                    try server.run([
                        "fio", "--name=c\(client)", "--ioengine=nbd", "--uri=\(server.uri("nvme0n1"))", "--rw=randwrite",
                        "--bsrange=4k-256k",
                        "--iodepth=16", "--offset=\(UInt64(client) * part)", "--size=\(part)", "--verify=crc32c",
                    ])
                }
            }
            try await group.waitForAll()
        }
    }

    @Test func requestsAreHeldWhileTheDiskIsAwayAndThenServed() async throws {
        let server = try ServerFixture()
        defer { server.stop() }
        server.state.holds.store(true, ordering: .relaxed)
        async let written = server.run(["qemu-io", "-f", "raw", "-c", "write -P 0x5a 0 64k", "-c", "read -P 0x5a 0 64k", server.uri()])
        server.eventually("the write is held") { server.state.bytesInUse.load(ordering: .relaxed) > 0 }
        server.state.holds.store(false, ordering: .relaxed)
        #expect(try await !written.contains("failed"))
    }
}
