import DroverConfiguration

/// The configuration's word for a device; see ``MachineBinding``.
typealias DDOSDevice = DeviceBinding
