// VirtioMessage
