/* What it takes to have the host's mappings follow the guest's: maps, unmaps and flushes over the assigned function
 * that is an NVMe drive. It is left alone but for its Bus Master bit, so that nothing but the tables changes.
 *
 * Each step says when to count the VMM's calls, and how many ticks its work took. */
#include "runtime/vtd.h"

#define DRIVE 0x00101B36
#define DOMAIN 7
#define IOVA 0x40000000ul
/* RAM that nothing else uses. */
#define MEMORY 0x4000000ul
#define LARGE_PAGE 0x200000ul
/* The pages of a request of 128 KiB. */
#define BUFFER_ORDER 5
/* Where large mappings are. */
#define FLUSHED 0x80000000ul

static u64 *table;
static u64 start;

static void setup(void) {
    bdf_t drive = pci_find(DRIVE, 0);
    CHECK(drive != 0xFFFF);
    vtd_start();
    table = vtd_table();
    vtd_attach(drive, VTD_TABLES, table, DOMAIN);
    vtd_translate();
    pci_enable(drive, PCI_MASTER);
}

/* Long enough for whoever listens to the serial port to have heard the last line. */
static void pause(void) {
    for (unsigned i = 0; i < 3; i++)
        settle();
}

static void begin(void) {
    print("@@ count from here\n");
    pause();
    start = ticks();
}

static void end(const char *what) {
    u64 taken = ticks() - start;
    pause();
    print("@@ count to here: %s\n", what);
    print("@@ %s, ticks: %lu\n", what, taken);
    vtd_expect_no_fault();
}

static void map_and_unmap(u64 *entries, unsigned order, u64 stride, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        for (unsigned page = 0; page < 1u << order; page++)
            entries[page] = (MEMORY + page * stride) | VTD_RW;
        vtd_flush_pages(DOMAIN, IOVA, order);
        for (unsigned page = 0; page < 1u << order; page++)
            entries[page] = 0;
        vtd_flush_pages(DOMAIN, IOVA, order);
    }
}

/* Maps and unmaps a buffer over and over: its first page is at `MEMORY`, the next at `stride` from there. The first
 * times are not counted: an emulated processor takes longer for what it has not met. */
static void come_and_go(const char *what, unsigned order, u64 stride, unsigned count) {
    u64 *entries = vtd_entry(table, IOVA, 1);
    map_and_unmap(entries, order, stride, count / 4);
    begin();
    map_and_unmap(entries, order, stride, count);
    end(what);
}

/* Flushes the domain over and over, with so much mapped and nothing changed; then takes all away. */
static void flush(const char *what, u64 iova, unsigned level, u64 mebibytes) {
    u64 size = level == 2 ? LARGE_PAGE : PAGE_SIZE;
    for (u64 offset = 0; offset < mebibytes << 20; offset += size)
        vtd_map(table, iova + offset, MEMORY + offset, level, VTD_RW);
    vtd_flush_domain(DOMAIN);
    unsigned count = (unsigned)argument("flushes", 10);
    begin();
    for (unsigned i = 0; i < count; i++)
        vtd_flush_domain(DOMAIN);
    end(what);
    for (u64 offset = 0; offset < mebibytes << 20; offset += size)
        *vtd_entry(table, iova + offset, level) = 0;
    vtd_flush_domain(DOMAIN);
}

CASE(figures) {
    setup();
    unsigned count = (unsigned)argument("buffers", 100);
    come_and_go("page", 0, PAGE_SIZE, (unsigned)argument("pages", 1000));
    come_and_go("buffer", BUFFER_ORDER, PAGE_SIZE, count);
    /* No two pages of it are neighbours. */
    come_and_go("scattered buffer", BUFFER_ORDER, 2 * PAGE_SIZE, count);
    flush("flush", FLUSHED, 2, argument("large", 1024));
    flush("flush of small pages", FLUSHED + (1ul << 30), 1, argument("small", 128));
}
