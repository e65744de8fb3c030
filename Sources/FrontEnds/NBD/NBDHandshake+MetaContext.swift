extension NBDHandshake {
    /// LIST_META_CONTEXT and SET_META_CONTEXT:
    /// ```
    ///  0    4      4+n        8+n
    ///  | n  | name | count q  | q × (length, query)
    /// ```
    mutating func answerMetaContext(option: UInt32, _ data: Span<UInt8>, exports: [NBDExport], output: inout [UInt8]) {
        let isList = option == NBDOption.listMetaContext.rawValue
        // Whatever comes of it, an earlier choice no longer holds.
        if !isList { allocationExport = nil }
        guard structuredReplies else {
            return reply(to: option, .invalid, "metadata contexts need structured replies", output: &output)
        }
        guard let (name, asks) = Self.queries(data, isList: isList) else {
            return reply(to: option, .invalid, "the option's lengths do not add up", output: &output)
        }
        guard let index = Self.index(of: name, in: exports) else {
            return reply(to: option, .unknown, "no such export", output: &output)
        }
        if asks {
            let context = Array(NBDAllocation.name.utf8)
            header(of: option, .metaContext, length: 4 + context.count, output: &output)
            output.appendBigEndian(isList ? 0 : NBDAllocation.identifier)
            output.append(contentsOf: context)
            if !isList { allocationExport = index }
        }
        reply(to: option, .acknowledge, output: &output)
    }

    /// The export's name, and whether any of the queries is for ``NBDAllocation``; nil when the option is malformed.
    private static func queries(_ data: Span<UInt8>, isList: Bool) -> (name: String, asks: Bool)? {
        guard let (name, end) = string(data, at: 0), let untrustedCount = data.bigEndian(at: end, as: UInt32.self) else { return nil }
        var position = end + 4
        // A list without a query is one of everything.
        var asks = isList && untrustedCount == 0
        // Each takes four bytes at least, so the data's end bounds this.
        for _ in 0..<untrustedCount {
            guard let (query, next) = string(data, at: position) else { return nil }
            asks = asks || query == NBDAllocation.name || isList && query == "base:"
            position = next
        }
        return position == data.count ? (name, asks) : nil
    }

    /// A length and as much text; and where it ends.
    private static func string(_ data: Span<UInt8>, at position: Int) -> (String, Int)? {
        guard let untrustedLength = data.bigEndian(at: position, as: UInt32.self),
            let text = data.text(at: position + 4, length: Int(untrustedLength))
        else { return nil }
        return (text, position + 4 + Int(untrustedLength))
    }
}
