extension NBDHandshake {
    /// Answers one whole option. Nil: the haggling goes on.
    mutating func answer(option raw: UInt32, data: Span<UInt8>, exports: [NBDExport], output: inout [UInt8]) -> Step? {
        switch NBDOption(rawValue: raw) {
        case .exportName where refusal != nil:
            return .close(.unavailable)
        case .list where refusal != nil, .info where refusal != nil, .go where refusal != nil:
            reply(to: raw, .shutdown, refusal ?? "", output: &output)
            return .close(.unavailable)
        case .exportName:
            return answerExportName(data, exports: exports, output: &output)
        case .abort:
            reply(to: raw, .acknowledge, output: &output)
            return .close(.aborted)
        case .list:
            answerList(data, exports: exports, output: &output)
        case .info, .go:
            return answerInfo(option: raw, data, exports: exports, output: &output)
        case .structuredReply:
            guard data.isEmpty else {
                reply(to: raw, .invalid, "NBD_OPT_STRUCTURED_REPLY takes no data", output: &output)
                return nil
            }
            structuredReplies = true
            reply(to: raw, .acknowledge, output: &output)
        case .startTLS:
            // A Unix socket, guarded by its file's mode.
            reply(to: raw, .policy, "TLS is not offered on this socket", output: &output)
        case .listMetaContext, .setMetaContext:
            answerMetaContext(option: raw, data, exports: exports, output: &output)
        case .extendedHeaders, nil:
            reply(to: raw, .unsupported, output: &output)
        }
        return nil
    }

    /// EXPORT_NAME has no error reply: the answer to a bad name is to hang up.
    private mutating func answerExportName(_ data: Span<UInt8>, exports: [NBDExport], output: inout [UInt8]) -> Step {
        guard let name = data.text(at: 0, length: data.count), let index = Self.index(of: name, in: exports) else {
            return .close(.noSuchExport)
        }
        output.appendBigEndian(exports[index].size)
        output.appendBigEndian(exports[index].transmissionFlags(structured: structuredReplies).rawValue)
        if !omitsZeroes { output.append(contentsOf: repeatElement(0, count: 124)) }
        return .transmission(export: index, structuredReplies: structuredReplies)
    }

    private func answerList(_ data: Span<UInt8>, exports: [NBDExport], output: inout [UInt8]) {
        let option = NBDOption.list.rawValue
        guard data.isEmpty else {
            return reply(to: option, .invalid, "NBD_OPT_LIST takes no data", output: &output)
        }
        for export in exports {
            let name = Array(export.name.utf8)
            let description = Array(export.description.utf8)
            header(of: option, .server, length: 4 + name.count + description.count, output: &output)
            output.appendBigEndian(UInt32(truncatingIfNeeded: name.count))
            output.append(contentsOf: name)
            output.append(contentsOf: description)
        }
        reply(to: option, .acknowledge, output: &output)
    }

    /// INFO and GO:
    /// ```
    ///  0    4          4+n          6+n
    ///  | n  | name     | requests r | r × u16
    /// ```
    private mutating func answerInfo(
        option: UInt32, _ data: Span<UInt8>, exports: [NBDExport], output: inout [UInt8]
    ) -> Step? {
        guard let untrustedNameLength = data.bigEndian(at: 0, as: UInt32.self), untrustedNameLength <= UInt32(data.count) else {
            reply(to: option, .invalid, "the option is cut short", output: &output)
            return nil
        }
        let nameLength = Int(untrustedNameLength)
        guard let requests = data.bigEndian(at: 4 + nameLength, as: UInt16.self), data.count == 6 + nameLength + 2 * Int(requests) else {
            reply(to: option, .invalid, "the option's lengths do not add up", output: &output)
            return nil
        }
        guard let name = data.text(at: 4, length: nameLength) else {
            reply(to: option, .invalid, "the export's name is not UTF-8", output: &output)
            return nil
        }
        guard let index = Self.index(of: name, in: exports) else {
            reply(to: option, .unknown, "no such export", output: &output)
            return nil
        }
        let export = exports[index]
        var wantsName = false
        var wantsDescription = false
        for request in 0..<Int(requests) {
            switch data.bigEndian(at: 6 + nameLength + 2 * request, as: UInt16.self).flatMap(NBDInfo.init(rawValue:)) {
            case .name: wantsName = true
            case .description: wantsDescription = true
            // These two are sent in any case.
            case .export, .blockSize, nil: break
            }
        }

        header(of: option, .info, length: 12, output: &output)
        output.appendBigEndian(NBDInfo.export.rawValue)
        output.appendBigEndian(export.size)
        output.appendBigEndian(export.transmissionFlags(structured: structuredReplies).rawValue)
        if wantsName { info(option, .name, export.name, output: &output) }
        if wantsDescription && !export.description.isEmpty { info(option, .description, export.description, output: &output) }
        header(of: option, .info, length: 14, output: &output)
        output.appendBigEndian(NBDInfo.blockSize.rawValue)
        output.appendBigEndian(export.minimumBlock)
        output.appendBigEndian(export.preferredBlock)
        output.appendBigEndian(export.maximumPayload)
        reply(to: option, .acknowledge, output: &output)
        return option == NBDOption.go.rawValue ? .transmission(export: index, structuredReplies: structuredReplies) : nil
    }

    /// The empty name is the default export: the first disk.
    static func index(of name: String, in exports: [NBDExport]) -> Int? {
        if name.isEmpty { return exports.isEmpty ? nil : 0 }
        // Compared as bytes: two names that look the same are two names.
        return exports.firstIndex { $0.name.utf8.elementsEqual(name.utf8) }
    }

    private func info(_ option: UInt32, _ kind: NBDInfo, _ text: String, output: inout [UInt8]) {
        let bytes = Array(text.utf8)
        header(of: option, .info, length: 2 + bytes.count, output: &output)
        output.appendBigEndian(kind.rawValue)
        output.append(contentsOf: bytes)
    }

    /// A reply with a text for people, or with none.
    func reply(to option: UInt32, _ type: NBDOptionReply, _ message: String = "", output: inout [UInt8]) {
        let bytes = Array(message.utf8)
        header(of: option, type, length: bytes.count, output: &output)
        output.append(contentsOf: bytes)
    }

    func header(of option: UInt32, _ type: NBDOptionReply, length: Int, output: inout [UInt8]) {
        output.appendBigEndian(NBDMagic.optionReply)
        output.appendBigEndian(option)
        output.appendBigEndian(type.rawValue)
        output.appendBigEndian(UInt32(truncatingIfNeeded: length))
    }
}
