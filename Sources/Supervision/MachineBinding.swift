import Hypervisor

/// The hypervisor's word for a device, told apart from the configuration's: the room and its class have one name, so
/// `Hypervisor.DeviceBinding` cannot be said.
typealias MachineBinding = DeviceBinding
