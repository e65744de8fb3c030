internal import Yams

/// YAML nodes with their places.
struct RecipeReader {
    var root: Node
    var path: String

    init(_ text: String, path: String) throws(ImageError) {
        self.path = path
        do {
            guard let node = try Yams.compose(yaml: text) else {
                throw ImageError.badRecipe(path: path, line: 1, column: 1, problem: "the recipe is empty")
            }
            root = node
        } catch let error as ImageError {
            throw error
        } catch let error as YamlError {
            throw Self.syntaxError(error, path)
        } catch {
            throw .badRecipe(path: path, line: 0, column: 0, problem: "it isn't YAML")
        }
    }

    private static func syntaxError(_ error: YamlError, _ path: String) -> ImageError {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
            .badRecipe(path: path, line: mark.line, column: mark.column, problem: problem)
        case .duplicatedKeysInMapping(let duplicates, let context):
            .badRecipe(
                path: path, line: context.mark.line, column: context.mark.column,
                problem: "“\(duplicates.joined(separator: ", "))” is there twice")
        default: .badRecipe(path: path, line: 0, column: 0, problem: "it isn't YAML")
        }
    }

    func error(_ node: Node, _ problem: String) -> ImageError {
        .badRecipe(path: path, line: node.mark?.line ?? 0, column: node.mark?.column ?? 0, problem: problem)
    }

    func mapping(_ node: Node, keys: [String], in place: String) throws(ImageError) -> [String: Node] {
        guard let mapping = node.mapping else { throw error(node, "\(place) is a mapping of keys to values") }
        var fields: [String: Node] = [:]
        for (key, value) in mapping {
            guard let name = key.string, keys.contains(name) else {
                let found = key.string ?? "this"
                throw error(key, "“\(found)” is no key of \(place); there is: \(keys.joined(separator: ", "))")
            }
            guard fields.updateValue(value, forKey: name) == nil else { throw error(key, "“\(name)” is there twice") }
        }
        return fields
    }

    func sequence(_ node: Node?, _ key: String) throws(ImageError) -> [Node] {
        guard let node else { return [] }
        guard let sequence = node.sequence else { throw error(node, "“\(key)” is a list") }
        return Array(sequence)
    }

    func text(_ node: Node, _ key: String) throws(ImageError) -> String {
        guard let text = node.scalar?.string else { throw error(node, "“\(key)” is text") }
        return text
    }

    /// A size such as `32MiB`, in MiB; nil when it isn't there.
    func mebibytes(_ node: Node?, _ key: String) throws(ImageError) -> Int? {
        guard let node else { return nil }
        let text = try text(node, key)
        guard text.hasSuffix("MiB"), let number = Int(text.dropLast(3)), (2...65536).contains(number), number % 2 == 0 else {
            throw error(node, "“\(key)” is an even number of MiB, such as 32MiB")
        }
        return number
    }
}
