import Testing

@testable import ImageBuilder

@Suite struct RecipeTests {
    private func read(_ text: String) throws(ImageError) -> ImageRecipe {
        try ImageRecipe(untrustedYAML: text, name: "r", path: "Images/r.yaml")
    }

    @Test func aRecipeIsReadWhole() throws {
        let recipe = try read(
            """
            kind: stock
            description: a kernel
            package: linux-image-6.1.0-56-amd64
            version: 6.1.192-2
            modules: [virtio_pci, "nvme poll_queues=1"]
            aliases:
              - { match: "pci:v00001AF4d*", driver: virtio_pci }
            memory: 96MiB
            pool: 8MiB
            commandLine: console=ttyS0 panic=0
            """)
        #expect(
            recipe
                == ImageRecipe(
                    name: "r", kind: .stock, description: "a kernel", package: "linux-image-6.1.0-56-amd64", version: "6.1.192-2",
                    modules: ["virtio_pci", "nvme poll_queues=1"],
                    aliases: [.init(match: "pci:v00001AF4d*", driver: "virtio_pci")], commandLine: "console=ttyS0 panic=0",
                    memoryMiB: 96, poolMiB: 8))
    }

    struct Bad: Sendable {
        var text: String
        var line: Int
        var column: Int
        var problem: String

        init(_ text: String, _ line: Int, _ column: Int, _ problem: String) {
            (self.text, self.line, self.column, self.problem) = (text, line, column, problem)
        }
    }

    @Test(arguments: [
        Bad("kind: stock\npackage: linux-x\ncolour: red\n", 3, 1, "“colour” is no key"),
        Bad("kind: stock\npackage: [a]\n", 2, 10, "“package” is text"),
        Bad("kind: stock\npackage: linux-x\nmodules: nvme\n", 3, 10, "“modules” is a list"),
        Bad("kind: stock\npackage: linux-x\nmodules:\n  - {a: b}\n", 4, 5, "is text"),
        Bad("kind: bespoke\npackage: linux-x\n", 1, 7, "no kind of image; there is: stock"),
        Bad("kind: stock\n", 1, 1, "“package” is missing"),
        Bad("kind: stock\npackage: --option\n", 2, 10, "can't be a package's name"),
        Bad("kind: stock\npackage: linux-x\nversion: -o\n", 3, 10, "can't be a package's version"),
        Bad("kind: stock\npackage: linux-x\nmodules: [\"../x\"]\n", 3, 11, "can't be a module"),
        Bad("kind: stock\npackage: linux-x\naliases: [{match: x, drivers: y}]\n", 3, 22, "“drivers” is no key"),
        Bad("kind: stock\nkind: stock\npackage: linux-x\n", 1, 1, "there twice"),
        Bad("kind: stock\npackage: linux-x\nmemory: 32\n", 3, 9, "“memory” is an even number of MiB"),
        Bad("kind: stock\npackage: linux-x\npool: -2MiB\n", 3, 7, "“pool” is an even number of MiB"),
        Bad("kind: [stock\n", 2, 1, ""),
        Bad("- a\n", 1, 1, "a recipe is a mapping"),
        Bad("", 1, 1, "empty"),
    ])
    func whatIsWrongIsSaidWithItsPlace(_ bad: Bad) throws {
        let error = #expect(throws: ImageError.self) { try read(bad.text) }
        guard case .badRecipe(let path, let line, let column, let problem) = error else {
            Issue.record("another error")
            return
        }
        #expect(path == "Images/r.yaml")
        #expect(problem.contains(bad.problem), "\(problem)")
        #expect(line == bad.line && column == bad.column, "\(line):\(column) \(problem)")
    }
}
