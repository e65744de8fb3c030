internal import CLinux
internal import LinuxSystem
internal import ServerStub

// Process 1 of a machine is a DD/OS's; anything else serves files to a client stub beside it.
if ProcessControl.identifier == 1 {
    GuestBoot.run()
} else {
    exit(NativeServer.run())
}
