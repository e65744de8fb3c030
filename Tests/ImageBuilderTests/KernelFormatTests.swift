import Testing

@testable import ImageBuilder

@Suite struct KernelFormatTests {
    @Test func anythingIsRefusedOrInBounds() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var image = [UInt8](repeating: 0, count: Int.random(in: 0...3000, using: &generator))
            for index in image.indices where Bool.random() { image[index] = .random(in: 0 ... .max, using: &generator) }
            if image.count > 0x250 {
                image.replaceSubrange(0x202..<0x208, with: Array("HdrS".utf8) + [0x0f, 0x02])
                if Bool.random() { image.replaceSubrange(0x248..<0x250, with: [16, 0, 0, 0, 64, 0, 0, 0]) }
                image[0x1f1] = .random(in: 0...3, using: &generator)
            }
            guard let payload = try? KernelPayload(untrusted: image, package: "x") else { continue }
            #expect(payload.range.lowerBound >= 0 && payload.range.upperBound <= image.count)
        }
    }

    @Test func anOldOrForeignImageIsRefused() {
        #expect(throws: ImageError.badKernel(package: "x", problem: "it isn't a bzImage")) {
            try KernelPayload(untrusted: [UInt8](repeating: 0, count: 4096), package: "x")
        }
        var old = [UInt8](repeating: 0, count: 4096)
        old.replaceSubrange(0x202..<0x208, with: Array("HdrS".utf8) + [0x07, 0x02])
        #expect(throws: ImageError.badKernel(package: "x", problem: "its boot protocol is older than 2.08")) {
            try KernelPayload(untrusted: old, package: "x")
        }
    }

    @Test func thePVHNoteIsFoundAmongOthers() {
        let other: [UInt8] = [3, 0, 0, 0, 2, 0, 0, 0, 18, 0, 0, 0] + Array("GNU\0".utf8) + [1, 2, 0, 0]
        #expect(ExecutableFormat.hasPVHNote(other + Scratch.pvhNote))
        #expect(!ExecutableFormat.hasPVHNote(other))
        #expect(!ExecutableFormat.hasPVHNote(Array(Scratch.pvhNote.prefix(14))))
        #expect(!ExecutableFormat.hasPVHNote([UInt8](repeating: 0xff, count: 64)))
    }

    @Test func damagedHeadersAreNoProgram() throws {
        let scratch = try Scratch()
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            var bytes = Scratch.executable(notes: Scratch.pvhNote)
            for _ in 0..<4 { bytes[Int.random(in: 6..<bytes.count, using: &generator)] = .random(in: 0 ... .max, using: &generator) }
            let path = try scratch.write("elf", Array(bytes.prefix(Int.random(in: 60...bytes.count, using: &generator))))
            _ = try ExecutableFormat(untrustedFile: path)
        }
    }
}
