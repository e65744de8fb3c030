internal import LinuxSystem
internal import ServerStub

if ProcessControl.identifier == 1 {
    GuestBoot.run()
}
