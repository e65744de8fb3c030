/// Text in columns, as wide as their widest cell. A column of figures is aligned to the right.
struct Table {
    struct Column {
        var title: String
        var alignRight = false

        static func text(_ title: String) -> Column { Column(title: title) }
        static func figure(_ title: String) -> Column { Column(title: title, alignRight: true) }
    }

    private let columns: [Column]
    private var rows: [[String]] = []

    init(_ columns: [Column]) { self.columns = columns }

    mutating func add(_ cells: String...) {
        rows.append(cells)
    }

    var text: String {
        var widths = columns.map(\.title.count)
        for row in rows {
            for (index, cell) in row.enumerated() where index < widths.count { widths[index] = max(widths[index], cell.count) }
        }
        return ([columns.map(\.title)] + rows).map { row in
            let cells = zip(row, zip(columns, widths)).map { cell, shape in
                let space = String(repeating: " ", count: shape.1 - cell.count)
                return shape.0.alignRight ? space + cell : cell + space
            }
            var line = cells.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }
}
