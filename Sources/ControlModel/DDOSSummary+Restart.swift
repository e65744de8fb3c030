extension DDOSSummary {
    /// The youngest life that is not what a restart led to. `self` is how the DD/OS was when the restart had been asked for, `before` its
    /// life just before that.
    ///
    /// One that was only preparing its start goes on with it: that is the new life, and no further one comes.
    public func lastOldLife(before: UInt64) -> UInt64 {
        if generation > before { return before }
        switch phase {
        case .preparing, .starting, .booting, .ready: return before > 0 ? before - 1 : 0
        case .stopped, .fencing, .backingOff, .quarantined, .stopping: return before
        }
    }
}
