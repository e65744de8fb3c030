internal import Glibc

/// Modules of the host's kernel.
public enum KernelModule {
    /// Runs modprobe, with a module's name or a modalias. Nil when it is loaded or built in, else why not.
    public static func load(_ name: String) -> String? {
        let programs = ["/sbin/modprobe", "/usr/sbin/modprobe", "/bin/modprobe"]
        guard let program = programs.first(where: { access($0, X_OK) == 0 }) else {
            return "there is no modprobe; install it: apt-get install kmod"
        }
        var pid: pid_t = 0
        let arguments: [UnsafeMutablePointer<CChar>?] = [strdup(program), strdup("-q"), strdup("--"), strdup(name), nil]
        defer { for argument in arguments { free(argument) } }
        let status = posix_spawn(&pid, program, nil, nil, arguments, environ)
        guard status == 0 else { return "\(program): \(reasonText(status))" }
        var ending: Int32 = 0
        while waitpid(pid, &ending, 0) < 0 {
            // Somebody else reaped it: go by what is there.
            guard errno == EINTR else { return nil }
        }
        return ending == 0 ? nil : "modprobe \(name) failed; is the module of this kernel installed (/lib/modules/\(release))?"
    }

    private static var release: String {
        var name = utsname()
        uname(&name)
        return withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

func reasonText(_ code: Int32) -> String { strerror(code).map { String(cString: $0) } ?? "error \(code)" }
