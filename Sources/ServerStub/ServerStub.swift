// ServerStub
