// drover-server-stub
