// Sources/ServerStub: see GuestBoot (PID 1 of a DD/OS) and StubServer (the service itself).
