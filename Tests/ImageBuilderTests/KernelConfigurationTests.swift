import Testing

@testable import ImageBuilder

@Suite struct KernelConfigurationTests {
    private func read(_ text: String) throws(ImageError) -> KernelConfiguration {
        try KernelConfiguration(untrustedFragment: text, path: "x.config")
    }

    @Test func aFragmentIsOptionsAndComments() throws {
        let fragment = try read("# Words.\n\nCONFIG_PCI=y\nCONFIG_SHIFT=16\nCONFIG_NAME=\"a b\"\n# CONFIG_SMP is not set\n")
        #expect(fragment.options == ["CONFIG_PCI": "y", "CONFIG_SHIFT": "16", "CONFIG_NAME": "\"a b\"", "CONFIG_SMP": "n"])
    }

    @Test(arguments: [
        ("CONFIG_PCI=y\nPCI=y\n", 2, "neither"), ("CONFIG_PCI\n", 1, "neither"), ("CONFIG_PCI=\n", 1, "neither"),
        ("CONFIG_NVME=m\n", 1, "can't be a module"), ("CONFIG_A=y\n# CONFIG_A is not set\n", 2, "asked to be “y” already"),
        ("CONFIG_A=y\0\n", 1, "neither"), ("CONFIG_A-B=y\n", 1, "neither"),
    ])
    func whatIsNoOptionIsSaidWithItsLine(_ text: String, _ line: Int, _ words: String) {
        let error = #expect(throws: ImageError.self) { try read(text) }
        guard case .badRecipe("x.config", line, _, let problem) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(problem.contains(words), "\(problem)")
    }

    @Test func theOrderOfFragmentsSaysNothing() throws {
        var one = try read("CONFIG_A=y\nCONFIG_B=1\n")
        var other = try read("# CONFIG_C is not set\nCONFIG_B=1\n")
        let (first, second) = (one, other)
        try one.add(second, path: "b")
        try other.add(first, path: "a")
        #expect(one.text == "CONFIG_A=y\nCONFIG_B=1\n# CONFIG_C is not set\n")
        #expect(one.text == other.text)
    }

    @Test func fragmentsThatContradictEachOtherAreRefused() throws {
        var one = try read("CONFIG_A=y\n")
        let other = try read("# CONFIG_A is not set\n")
        #expect(throws: ImageError.self) { try one.add(other, path: "b") }
    }

    @Test func everyOptionThatDidNotEndUpAsAskedIsNamed() throws {
        let wanted = try read("CONFIG_A=y\nCONFIG_B=y\nCONFIG_N=5\n# CONFIG_C is not set\n# CONFIG_D is not set\n")
        let final = KernelConfiguration(final: "#\n# Words\n#\nCONFIG_A=y\nCONFIG_N=4\nCONFIG_C=y\nCONFIG_X=m\n")
        #expect(wanted.unmet(in: final) == ["CONFIG_B=y (it is n)", "CONFIG_N=5 (it is 4)", "CONFIG_C=n (it is y)"])
        #expect(wanted.unmet(in: wanted).isEmpty)
    }
}
