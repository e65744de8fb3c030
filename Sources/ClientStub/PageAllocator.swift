/// Hands out runs of 4 KiB pages of a pool. The pool's own memory is never touched: what is free is known here only.
///
/// A bit per page, set while free. Single pages (4 KiB requests at depth) come from the top end through a hint, so
/// that finding one is a word or two; runs come from the bottom end, first fit, so that both rarely meet and
/// a 16 MiB pool is at most 64 words to look through.
struct PageAllocator: ~Copyable {
    static let pageSize = 4096

    let pageCount: Int
    private(set) var freePages: Int
    private var words: [UInt64]
    /// No word above this one has a free page.
    private var topHint: Int
    /// No word below this one has a free page.
    private var bottomHint = 0

    /// Pages `firstPage..<pageCount` are free at first: those before hold the queues.
    init(pageCount: Int, firstPage: Int) {
        self.pageCount = max(0, pageCount)
        let wordCount = (self.pageCount + 63) / 64
        words = Array(repeating: 0, count: wordCount)
        topHint = max(0, wordCount - 1)
        freePages = 0
        let first = min(max(0, firstPage), self.pageCount)
        if first < self.pageCount {
            mark(first, self.pageCount - first, free: true)
            freePages = self.pageCount - first
        }
    }

    /// The first page of a free run of `pages` pages, or `nil`.
    mutating func allocate(pages: Int) -> Int? {
        guard pages > 0, pages <= freePages else { return nil }
        let found = pages == 1 ? topPage() : lowestRun(of: pages)
        guard let page = found else { return nil }
        mark(page, pages, free: false)
        freePages -= pages
        return page
    }

    /// Gives back what ``allocate(pages:)`` gave.
    mutating func free(page: Int, pages: Int) {
        precondition(page >= 0 && pages > 0 && page + pages <= pageCount, "the stub freed pages that its pool does not have")
        mark(page, pages, free: true)
        freePages += pages
        topHint = max(topHint, (page + pages - 1) / 64)
        bottomHint = min(bottomHint, page / 64)
    }

    private mutating func topPage() -> Int? {
        var word = topHint
        while word >= 0 {
            if words[word] != 0 {
                topHint = word
                return word * 64 + 63 - words[word].leadingZeroBitCount
            }
            word -= 1
        }
        return nil
    }

    private mutating func lowestRun(of pages: Int) -> Int? {
        while bottomHint < words.count - 1, words[bottomHint] == 0 { bottomHint += 1 }
        var start = firstPage(from: bottomHint * 64, free: true)
        while start + pages <= pageCount {
            let end = firstPage(from: start, free: false)
            if end - start >= pages { return start }
            start = firstPage(from: end, free: true)
        }
        return nil
    }

    /// The first page at or after `from` that is free (or not free); ``pageCount`` when there is none.
    private func firstPage(from: Int, free: Bool) -> Int {
        guard from < pageCount else { return pageCount }
        var word = from / 64
        var bits = (free ? words[word] : ~words[word]) & (UInt64.max << UInt64(from % 64))
        while bits == 0 {
            word += 1
            guard word < words.count else { return pageCount }
            bits = free ? words[word] : ~words[word]
        }
        return min(word * 64 + bits.trailingZeroBitCount, pageCount)
    }

    private mutating func mark(_ page: Int, _ pages: Int, free: Bool) {
        var page = page
        var left = pages
        while left > 0 {
            let bit = page % 64
            let count = min(64 - bit, left)
            let mask = (count == 64 ? UInt64.max : (1 << UInt64(count)) - 1) << UInt64(bit)
            if free {
                assert(words[page / 64] & mask == 0, "page freed twice")
                words[page / 64] |= mask
            } else {
                words[page / 64] &= ~mask
            }
            page += count
            left -= count
        }
    }
}
