/* DMA of an edu device through the remapping unit. */
#include "runtime/edu.h"
#include "runtime/vtd.h"

#define DOMAIN 7
/* An address that no identity mapping would give: 64 MiB, where no test has memory. */
#define IOVA 0x4000000ul

/* A page with a pattern of its own. */
static u8 *patterned(u8 seed) {
    u64 *page = pages(1);
    for (u64 i = 0; i < PAGE_SIZE / 8; i++)
        page[i] = (seed * 0x0101010101010101ul) ^ i;
    return (u8 *)page;
}

/* Whether all bytes of a range, a multiple of 8, are zero. */
static bool blank(const u8 *data, u64 length) {
    for (u64 i = 0; i < length; i += 8)
        if (*(const u64 *)(data + i) != 0)
            return false;
    return true;
}

/* Translation on, with the first edu in DOMAIN behind an empty table. */
static struct edu setup(u64 **table) {
    struct edu edu = edu_find(0);
    vtd_start();
    *table = vtd_table();
    vtd_attach(edu.bdf, VTD_TABLES, *table, DOMAIN);
    vtd_translate();
    return edu;
}

CASE(no_unit) {
    CHECK(acpi_table("DMAR") == NULL);
    struct edu edu = edu_find(0);
    u8 *from = patterned(1), *to = pages(1);
    edu_read(edu, (u64)from, 0, 4096);
    edu_write(edu, (u64)to, 0, 4096);
    CHECK(memcmp(from, to, 4096) == 0);
}

CASE(translation_off) {
    struct edu edu = edu_find(0);
    vtd_start();
    u8 *from = patterned(1), *to = pages(1);
    edu_read(edu, (u64)from, 0, 4096);
    edu_write(edu, (u64)to, 0, 4096);
    CHECK(memcmp(from, to, 4096) == 0);
    vtd_expect_no_fault();
}

/* One range of addresses over pages that do not lie together, in the other order. */
CASE(scattered_pages) {
    u64 *table;
    struct edu edu = setup(&table);
    u8 *second = patterned(50), *hole = pages(1), *first = patterned(90);
    vtd_map(table, IOVA, (u64)first, 1, VTD_RW);
    vtd_map(table, IOVA + 0x1000, (u64)second, 1, VTD_RW);
    vtd_flush_domain(DOMAIN);

    /* The last half of the first page and the first half of the second. */
    u8 *copy = pages(1);
    memcpy(copy, first + 2048, 2048);
    memcpy(copy + 2048, second, 2048);
    edu_read(edu, IOVA + 2048, 0, 4096);
    memset(first, 0, 4096);
    memset(second, 0, 4096);
    edu_write(edu, IOVA + 2048, 0, 4096);
    CHECK(blank(first, 2048) && memcmp(first + 2048, copy, 2048) == 0);
    CHECK(memcmp(second, copy + 2048, 2048) == 0 && blank(second + 2048, 2048));
    CHECK(blank(hole, 4096));
    vtd_expect_no_fault();
}

CASE(blocked_read) {
    u64 *table;
    struct edu edu = setup(&table);
    u8 *secret = patterned(3), *to = pages(1);
    vtd_map(table, IOVA, (u64)to, 1, VTD_RW);
    vtd_flush_domain(DOMAIN);
    edu_read(edu, (u64)secret, 0, 64);
    vtd_expect_fault(NO_READ, edu.bdf, (u64)secret, true);
    /* Nothing of it reached the device. */
    edu_write(edu, IOVA, 0, 64);
    CHECK(blank(to, 4096));
    vtd_expect_no_fault();
}

CASE(blocked_write) {
    u64 *table;
    struct edu edu = setup(&table);
    u8 *before = patterned(3), *target = patterned(4), *after = patterned(5);
    edu_write(edu, (u64)target + 0x123, 0, 64);
    vtd_expect_fault(NO_WRITE, edu.bdf, (u64)target, false);
    CHECK(memcmp(before, patterned(3), PAGE_SIZE) == 0);
    CHECK(memcmp(target, patterned(4), PAGE_SIZE) == 0);
    CHECK(memcmp(after, patterned(5), PAGE_SIZE) == 0);
}

/* What lies before the page that is refused arrives, what lies behind does not. */
CASE(blocked_half_way) {
    u64 *table;
    struct edu edu = setup(&table);
    u8 *first = pages(1), *from = patterned(9);
    vtd_map(table, IOVA, (u64)first, 1, VTD_RW);
    vtd_map(table, IOVA + 0x10000, (u64)from, 1, VTD_READ);
    vtd_flush_domain(DOMAIN);
    edu_read(edu, IOVA + 0x10000, 0, 4096);
    edu_write(edu, IOVA + 4096 - 16, 0, 32);
    vtd_expect_fault(NO_WRITE, edu.bdf, IOVA + 4096, false);
    CHECK(blank(first, 4096 - 16));
}

CASE(permissions) {
    u64 *table;
    struct edu edu = setup(&table);
    u8 *readable = patterned(1), *writable = patterned(2);
    vtd_map(table, IOVA, (u64)readable, 1, VTD_READ);
    vtd_map(table, IOVA + 0x1000, (u64)writable, 1, VTD_WRITE);
    vtd_flush_domain(DOMAIN);
    edu_read(edu, IOVA, 0, 64);
    edu_write(edu, IOVA + 0x1000, 0, 64);
    vtd_expect_no_fault();
    CHECK(memcmp(readable, writable, 64) == 0);
    edu_write(edu, IOVA, 0, 64);
    vtd_expect_fault(NO_WRITE, edu.bdf, IOVA, false);
    edu_read(edu, IOVA + 0x1000, 0, 64);
    vtd_expect_fault(NO_READ, edu.bdf, IOVA + 0x1000, true);

    /* Every level has a say. */
    *vtd_entry(table, IOVA, 2) &= ~(u64)VTD_WRITE;
    *vtd_entry(table, IOVA, 1) |= VTD_WRITE;
    vtd_flush_domain(DOMAIN);
    edu_write(edu, IOVA, 0, 64);
    vtd_expect_fault(NO_WRITE, edu.bdf, IOVA, false);
}

CASE(nowhere_to_look) {
    struct edu edu = edu_find(0);
    vtd_start();
    vtd_translate();
    edu_read(edu, IOVA, 0, 4);
    vtd_expect_fault(NO_ROOT, edu.bdf, IOVA, true);
    /* A neighbour's context entry makes the table, but not one for us. */
    vtd_attach(edu.bdf ^ 1, VTD_TABLES, vtd_table(), DOMAIN);
    vtd_flush_everything();
    edu_read(edu, IOVA, 0, 4);
    vtd_expect_fault(NO_CONTEXT, edu.bdf, IOVA, true);
}

CASE(reserved_bits) {
    u64 *table;
    struct edu edu = setup(&table);
    vtd_map(table, IOVA, (u64)pages(1), 1, VTD_RW);
    u64 *context = vtd_context(edu.bdf), *root = vtd.root[edu.bdf >> 8];

    *vtd_entry(table, IOVA, 2) |= 1 << 11;
    vtd_flush_everything();
    edu_read(edu, IOVA, 0, 4);
    vtd_expect_fault(RESERVED_ENTRY, edu.bdf, IOVA, true);
    context[1] |= 1ul << 40;
    vtd_flush_everything();
    edu_read(edu, IOVA, 0, 4);
    vtd_expect_fault(RESERVED_CONTEXT, edu.bdf, IOVA, true);
    context[1] = 6; /* no such width */
    vtd_flush_everything();
    edu_read(edu, IOVA, 0, 4);
    vtd_expect_fault(BAD_CONTEXT, edu.bdf, IOVA, true);
    root[1] = 1;
    vtd_flush_everything();
    edu_read(edu, IOVA, 0, 4);
    vtd_expect_fault(RESERVED_ROOT, edu.bdf, IOVA, true);
}

CASE(pass_through) {
    struct edu edu = edu_find(0);
    vtd_start();
    CHECK(vtd.extended >> 6 & 1);
    vtd_attach(edu.bdf, VTD_PASS_THROUGH, NULL, DOMAIN);
    vtd_translate();
    u8 *from = patterned(1), *to = pages(1);
    edu_read(edu, (u64)from, 0, 4096);
    edu_write(edu, (u64)to, 0, 4096);
    CHECK(memcmp(from, to, 4096) == 0);
    vtd_expect_no_fault();
}

CASE(superpages) {
    u64 *table;
    struct edu edu = setup(&table);
    CHECK_EQUAL(vtd.capabilities >> 34 & 3, 3);
    /* Physical memory from 0 on, once in pages of 2 MiB and once in one of 1 GiB. */
    u8 *from = patterned(1), *to = pages(1);
    u64 large = 0x8000000, huge = 0x40000000;
    for (u64 offset = 0; offset < 0x4000000; offset += 0x200000)
        vtd_map(table, large + offset, offset, 2, VTD_RW);
    vtd_map(table, huge, 0, 3, VTD_RW);
    vtd_flush_domain(DOMAIN);
    edu_read(edu, huge + (u64)from, 0, 4096);
    edu_write(edu, large + (u64)to, 0, 4096);
    CHECK(memcmp(from, to, 4096) == 0);
    /* Across the border of two large pages. */
    memset((void *)0x1FFF000, 0x11, 0x1000);
    memset((void *)0x2000000, 0x22, 0x1000);
    edu_read(edu, large + 0x1FFF800, 0, 4096);
    edu_write(edu, huge + (u64)to, 0, 4096);
    CHECK(to[2047] == 0x11 && to[2048] == 0x22);
    vtd_expect_no_fault();
    edu_read(edu, huge + 0x40000000, 0, 4);
    vtd_expect_fault(NO_READ, edu.bdf, huge + 0x40000000, true);
}

/* A device with 28 address lines reaches memory above 4 GiB. */
CASE(high_memory) {
    u64 *table;
    struct edu edu = setup(&table);
    u64 high = ram_above(0x100000000);
    CHECK(high != 0);
    for (unsigned i = 0; i < PAGE_SIZE; i += 8)
        write64(high + i, 0x0101010101010101ul * i);
    vtd_map(table, 0xFFFF000, high, 1, VTD_READ);
    vtd_map(table, 0x0, high + 0x5000, 1, VTD_WRITE);
    vtd_flush_domain(DOMAIN);
    edu_read(edu, 0xFFFF000, 0, 4096);
    edu_write(edu, 0x0, 0, 4096);
    CHECK(memcmp((void *)high, (void *)(high + 0x5000), 4096) == 0);
    vtd_expect_no_fault();
}

/* Addresses that differ only above the table's width are not the same. */
CASE(beyond_the_width) {
    u64 *table;
    struct edu edu = setup(&table);
    vtd_map(table, 0, (u64)patterned(1), 1, VTD_RW);
    vtd_flush_domain(DOMAIN);
    u64 beyond = 1ul << (12 + 9 * vtd.levels);
    edu_read(edu, beyond, 0, 4);
    vtd_expect_fault(BEYOND_WIDTH, edu.bdf, beyond, true);
    /* And with narrower tables than the unit could walk. */
    if (vtd.levels == 4) {
        vtd.levels = 3;
        u64 *narrow = vtd_table();
        vtd_map(narrow, 0, (u64)patterned(1), 1, VTD_RW);
        vtd_attach(edu.bdf, VTD_TABLES, narrow, DOMAIN + 1);
        vtd_flush_everything();
        edu_read(edu, 0, 0, 4);
        vtd_expect_no_fault();
        edu_read(edu, 1ul << 39, 0, 4);
        vtd_expect_fault(BEYOND_WIDTH, edu.bdf, 1ul << 39, true);
    }
}

/* Functions have address spaces of their own. */
CASE(two_devices) {
    u64 *table;
    struct edu first = setup(&table), second = edu_find(1);
    CHECK(first.bdf != second.bdf);
    u64 *other = vtd_table();
    u8 *one = patterned(1), *two = patterned(2), *to = pages(1);
    vtd_map(table, IOVA, (u64)one, 1, VTD_READ);
    vtd_map(other, IOVA, (u64)two, 1, VTD_READ);
    vtd_map(other, IOVA + 0x1000, (u64)to, 1, VTD_WRITE);
    vtd_attach(second.bdf, VTD_TABLES, other, DOMAIN + 1);
    vtd_flush_everything();
    edu_read(first, IOVA, 0, 64);
    edu_read(second, IOVA, 0, 64);
    edu_write(first, IOVA + 0x1000, 0, 64);
    vtd_expect_fault(NO_WRITE, first.bdf, IOVA + 0x1000, false);
    CHECK(blank(to, 64));
    edu_write(second, IOVA + 0x1000, 0, 64);
    CHECK(memcmp(to, two, 64) == 0);
}

CASE(bus_master_off) {
    u64 *table;
    struct edu edu = setup(&table);
    u8 *from = patterned(1), *to = pages(1);
    vtd_map(table, IOVA, (u64)from, 1, VTD_READ);
    vtd_map(table, IOVA + 0x1000, (u64)to, 1, VTD_WRITE);
    vtd_flush_domain(DOMAIN);
    pci_write16(edu.bdf, PCI_COMMAND, PCI_MEMORY);
    edu_read(edu, IOVA, 0, 64);
    edu_read(edu, IOVA + 0x2000, 0, 64);
    pci_write16(edu.bdf, PCI_COMMAND, PCI_MEMORY | PCI_MASTER);
    edu_write(edu, IOVA + 0x1000, 0, 64);
    CHECK(blank(to, 64));
    vtd_expect_no_fault();
}

/* Behind a port the requester ID has the number of the bus, whatever that is at the moment. */
CASE(requester_behind_a_port) {
    struct edu edu = edu_find(0);
    CHECK(edu.bdf >> 8 != 0);
    vtd_start();
    u64 *table = vtd_table();
    u8 *from = patterned(1), *to = pages(1);
    vtd_map(table, IOVA, (u64)from, 1, VTD_READ);
    vtd_map(table, IOVA + 0x1000, (u64)to, 1, VTD_WRITE);
    vtd_attach(edu.bdf, VTD_TABLES, table, DOMAIN);
    vtd_translate();
    edu_read(edu, IOVA, 0, 64);
    vtd_expect_no_fault();

    bdf_t port = 0;
    while (pci_read8(port, 0x0E) != 1 || pci_read8(port, 0x19) != edu.bdf >> 8)
        CHECK(++port < BDF(1, 0, 0));
    pci_write8(port, 0x1A, 0x40);
    pci_write8(port, 0x19, 0x40);
    bdf_t moved = 0x4000 | (edu.bdf & 0xFF);
    edu_write(edu, IOVA + 0x1000, 0, 64);
    vtd_expect_fault(NO_ROOT, moved, IOVA + 0x1000, false);
    CHECK(blank(to, 64));
    vtd_attach(moved, VTD_TABLES, table, DOMAIN);
    vtd_flush_everything();
    edu_write(edu, IOVA + 0x1000, 0, 64);
    CHECK(memcmp(from, to, 64) == 0);
    vtd_expect_no_fault();
}

/* Behind a bridge to conventional PCI all requests bear one ID: that of device 0, function 0 on the bridge's bus. */
CASE(behind_a_bridge) {
    struct edu first = edu_find(0), second = edu_find(1);
    bdf_t alias = second.bdf & 0xFF00;
    CHECK(alias != 0 && (first.bdf & 0xFF00) == alias && second.bdf != alias);
    CHECK(pci_capability(first.bdf, 0x10) == 0 && pci_read32(first.bdf, 0x100) == 0xFFFFFFFF);
    vtd_start();
    u64 *table = vtd_table();
    u8 *from = patterned(1), *to = pages(1);
    vtd_map(table, IOVA, (u64)from, 1, VTD_READ);
    vtd_map(table, IOVA + 0x1000, (u64)to, 1, VTD_WRITE);
    /* What a function's own numbers may reach, nobody has asked for. */
    vtd_attach(second.bdf, VTD_TABLES, table, DOMAIN);
    vtd_translate();
    edu_read(second, IOVA, 0, 64);
    vtd_expect_fault(NO_CONTEXT, alias, IOVA, true);

    vtd_attach(alias, VTD_TABLES, table, DOMAIN);
    vtd_flush_everything();
    struct edu both[] = {first, second};
    for (unsigned i = 0; i < 2; i++) {
        memset(to, 0, 64);
        edu_read(both[i], IOVA, 0, 64);
        edu_write(both[i], IOVA + 0x1000, 0, 64);
        CHECK(memcmp(from, to, 64) == 0);
    }
    vtd_expect_no_fault();
}

/* Functions of one device are requesters of their own, by their number too. */
CASE(functions_of_a_device) {
    u64 *table;
    struct edu first = setup(&table), second = edu_find(1);
    CHECK_EQUAL(second.bdf, first.bdf + 1);
    u8 *from = patterned(1);
    vtd_map(table, IOVA, (u64)from, 1, VTD_READ);
    vtd_flush_domain(DOMAIN);
    edu_read(first, IOVA, 0, 64);
    vtd_expect_no_fault();
    edu_read(second, IOVA, 0, 64);
    vtd_expect_fault(NO_CONTEXT, second.bdf, IOVA, true);
}
