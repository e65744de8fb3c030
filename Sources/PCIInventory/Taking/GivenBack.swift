/// What became of a device that is the host's again. The description is a sentence without its full stop.
public struct GivenBack: Sendable, Equatable {
    public var address: PCIAddress
    /// Who has it now; nil: no driver, or it was unplugged.
    public var driver: String?
    /// From whom it was taken; nil: no driver had it, or the journal was lost.
    public var formerDriver: String?
}

extension GivenBack: CustomStringConvertible {
    public var description: String {
        let whose =
            switch (driver, formerDriver) {
            case (let driver?, let former?) where driver != former: "its driver is \(driver), and no longer \(former)"
            case (let driver?, _): "its driver is \(driver)"
            case (nil, nil): "it has no driver, as before"
            case (nil, _): "it has no driver"
            }
        return "\(address) is given back to the host: \(whose)"
    }
}
