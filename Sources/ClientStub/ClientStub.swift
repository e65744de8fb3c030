// ClientStub
