// drover-client-stub
