import Testing

@testable import ClientStub

@Suite("Pages of a pool")
struct PageAllocatorTests {
    @Test func runsNeverOverlapAndNeverTouchTheQueues() {
        var pages = PageAllocator(pageCount: 1000, firstPage: 37)
        var generator = SystemRandomNumberGenerator()
        var owner = [Int](repeating: -1, count: 1000)
        var taken: [(page: Int, pages: Int)] = []
        for round in 0..<20_000 {
            if Bool.random(using: &generator) {
                let count = Int.random(in: 1...70, using: &generator)
                guard let page = pages.allocate(pages: count) else { continue }
                #expect(page >= 37 && page + count <= 1000)
                for index in page..<(page + count) {
                    #expect(owner[index] < 0, "page \(index) was given out twice")
                    owner[index] = round
                }
                taken.append((page, count))
            } else if let index = taken.indices.randomElement(using: &generator) {
                let run = taken.remove(at: index)
                pages.free(page: run.page, pages: run.pages)
                for index in run.page..<(run.page + run.pages) { owner[index] = -1 }
            }
            let used = taken.reduce(0) { $0 + $1.pages }
            #expect(pages.freePages == 963 - used)
        }
        for run in taken { pages.free(page: run.page, pages: run.pages) }
        #expect(pages.allocate(pages: 963) == 37, "everything is one run again")
    }

    @Test func everyPageCanBeUsedAndNoMore() {
        var pages = PageAllocator(pageCount: 130, firstPage: 2)
        var found: Set<Int> = []
        while let page = pages.allocate(pages: 1) { found.insert(page) }
        #expect(found == Set(2..<130))
        #expect(pages.allocate(pages: 1) == nil)
        pages.free(page: 77, pages: 1)
        #expect(pages.allocate(pages: 2) == nil)
        #expect(pages.allocate(pages: 1) == 77)
    }

    @Test func anEmptyPoolGivesNothing() {
        var none = PageAllocator(pageCount: 0, firstPage: 0)
        #expect(none.allocate(pages: 1) == nil)
        var full = PageAllocator(pageCount: 4, firstPage: 9)
        #expect(full.allocate(pages: 1) == nil)
    }
}
