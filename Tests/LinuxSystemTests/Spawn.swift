import Foundation
import LinuxSystem

/// Starts a shell with `script`: its process id. Not Foundation's Process, which would reap it.
func spawn(_ script: String) throws(SystemError) -> Int32 {
    var child: pid_t = 0
    let words: [UnsafeMutablePointer<CChar>?] = ["/bin/sh", "-c", script].map { (word: String) in strdup(word) } + [nil]
    defer { for word in words { free(word) } }
    let result = posix_spawn(&child, "/bin/sh", nil, nil, words, environ)
    if result != 0 { throw SystemError(code: result, call: "posix_spawn") }
    return child
}
