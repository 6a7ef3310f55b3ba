/* A virtio disk behind the remapping unit. Each byte of the image's sector n is n, modulo 256. */
#include "runtime/virtio.h"
#include "runtime/vtd.h"

#define DOMAIN 9
#define VECTOR 0xA1
#define INDEX 2
#define FEATURES (VIRTIO_VERSION_1 | VIRTIO_PLATFORM | VIRTIO_FLUSHES)

static u64 *table;

/* The device behind a table that gives it its rings, the header and the data, and nothing else. */
static void setup(void) {
    vtd_start();
    virtio_find();
    table = vtd_table();
    vtd_map(table, VIRTIO_RINGS, (u64)virtio.rings, 1, VTD_RW);
    vtd_map(table, VIRTIO_HEADER, (u64)virtio.header, 1, VTD_RW);
    for (u64 i = 0; i < VIRTIO_DATA_PAGES; i++)
        vtd_map(table, VIRTIO_DATA + i * PAGE_SIZE, (u64)virtio.data + i * PAGE_SIZE, 1, VTD_RW);
    vtd_attach(virtio.bdf, VTD_TABLES, table, DOMAIN);
    vtd_translate();
}

static void start(void) {
    CHECK_EQUAL(virtio_negotiate(FEATURES), 11);
    virtio_start();
    CHECK_EQUAL(virtio_status(), 15);
}

/* Reads sectors and checks what is in them. */
static void expect_sectors(u64 first, u32 count) {
    memset(virtio.data, 0xEE, VIRTIO_DATA_PAGES * PAGE_SIZE);
    CHECK_EQUAL(virtio_request(VIRTIO_READ, first, count * 512), 0);
    for (u32 i = 0; i < count * 512; i++)
        CHECK_EQUAL(virtio.data[i], (u8)(first + i / 512));
}

CASE(reads) {
    setup();
    start();
    CHECK_EQUAL(read64(virtio.device), argument("sectors", 0));
    expect_sectors(0, 1);
    expect_sectors(5, 16);
    expect_sectors(argument("sectors", 0) - 1, 1);
    CHECK_EQUAL(virtio_request(VIRTIO_READ, argument("sectors", 0), 512), 1);
    vtd_expect_no_fault();
}

/* Sector 10 becomes the letters the image is searched for. */
CASE(writes) {
    setup();
    start();
    for (u32 i = 0; i < 512; i++)
        virtio.data[i] = "PORTCULLIS"[i % 10];
    CHECK_EQUAL(virtio_request(VIRTIO_WRITE, 10, 512), 0);
    CHECK_EQUAL(virtio_request(VIRTIO_FLUSH, 0, 0), 0);
    expect_sectors(9, 1);
    expect_sectors(11, 1);
    CHECK_EQUAL(virtio_request(VIRTIO_READ, 10, 512), 0);
    CHECK(memcmp(virtio.data, "PORTCULLISPORT", 14) == 0);
}

CASE(read_only) {
    setup();
    write32(virtio.common, 0);
    CHECK(read32(virtio.common + 4) & VIRTIO_READ_ONLY);
    start();
    CHECK_EQUAL(virtio_request(VIRTIO_WRITE, 10, 512), 1);
    expect_sectors(10, 1);
}

/* A driver that does not know of translated addresses is turned away. */
CASE(platform_access_required) {
    setup();
    CHECK_EQUAL(virtio_negotiate(VIRTIO_VERSION_1) & VIRTIO_FEATURES_OK, 0);
    CHECK_EQUAL(virtio_negotiate(VIRTIO_PLATFORM) & VIRTIO_FEATURES_OK, 0);
    start();
    expect_sectors(3, 1);
}

CASE(interrupts_remapped) {
    setup();
    apic_start();
    vtd_remap_interrupts(true);
    vtd_interrupt_entry(INDEX, VECTOR, virtio.bdf);
    vtd_flush_entry(INDEX);
    u8 msix = pci_capability(virtio.bdf, 0x11);
    u32 place = pci_read32(virtio.bdf, msix + 4);
    u64 entry = pci_bar(virtio.bdf, place & 7) + (place & ~7u) + 16;
    write32(entry, (u32)vtd_message(INDEX));
    write32(entry + 4, 0);
    write32(entry + 8, 0);
    write32(entry + 12, 1);
    pci_write16(virtio.bdf, msix + 2, 0x8000);
    CHECK_EQUAL(virtio_negotiate(FEATURES), 11);
    write16(virtio.common + 0x16, 0);
    write16(virtio.common + 0x1A, 1);
    CHECK_EQUAL(read16(virtio.common + 0x1A), 1);
    virtio_start();
    /* Masked: it waits, and comes with the mask's end. */
    expect_sectors(1, 1);
    settle();
    CHECK_EQUAL(interrupts[VECTOR], 0);
    write32(entry + 12, 0);
    WAIT_FOR(interrupts[VECTOR] == 1);
    expect_sectors(2, 1);
    WAIT_FOR(interrupts[VECTOR] == 2);
    vtd_expect_no_fault();
}

/* Data that the table does not give fails the request, and no other. */
CASE(blocked_data) {
    setup();
    start();
    expect_sectors(1, 1);
    *vtd_entry(table, VIRTIO_DATA, 1) = 0;
    vtd_flush_pages(DOMAIN, VIRTIO_DATA, 0);
    memset(virtio.data, 0xEE, PAGE_SIZE);
    CHECK_EQUAL(virtio_request(VIRTIO_READ, 2, 512), 1);
    vtd_expect_fault(NO_WRITE, virtio.bdf, VIRTIO_DATA, false);
    for (u32 i = 0; i < PAGE_SIZE; i++)
        CHECK_EQUAL(virtio.data[i], 0xEE);
    vtd_map(table, VIRTIO_DATA, (u64)virtio.data, 1, VTD_RW);
    vtd_flush_pages(DOMAIN, VIRTIO_DATA, 0);
    expect_sectors(3, 1);
}

/* Rings that the table does not give stop the device until it is reset. */
CASE(blocked_rings) {
    setup();
    start();
    expect_sectors(1, 1);
    *vtd_entry(table, VIRTIO_RINGS, 1) = 0;
    vtd_flush_pages(DOMAIN, VIRTIO_RINGS, 0);
    virtio_submit(VIRTIO_READ, 0, 512);
    WAIT_FOR(virtio_status() & VIRTIO_NEEDS_RESET);
    vtd_expect_fault(NO_READ, virtio.bdf, VIRTIO_RINGS, true);
    vtd_map(table, VIRTIO_RINGS, (u64)virtio.rings, 1, VTD_RW);
    vtd_flush_pages(DOMAIN, VIRTIO_RINGS, 0);
    start();
    expect_sectors(2, 1);
}

/* Registers and rings full of nonsense harm nobody, and a reset mends everything. */
CASE(wild_driver) {
    setup();
    start();
    u64 seed = 99;
    for (unsigned i = 0; i < 800; i++) {
        seed = seed * 6364136223846793005ul + 1442695040888963407ul;
        u64 offset = seed >> 40 & 0x3F;
        switch (seed >> 60 & 3) {
        case 0: write8(virtio.common + offset, (u8)(seed >> 32)); break;
        case 1: write16(virtio.common + offset, (u16)(seed >> 32)); break;
        case 2: write32(virtio.common + offset, (u32)(seed >> 16)); break;
        case 3: write64(virtio.common + offset, seed); break;
        }
        if (i % 40 == 0) {
            start();
            for (u64 at = 0; at < PAGE_SIZE; at += 8) {
                seed = seed * 6364136223846793005ul + 1442695040888963407ul;
                write64((u64)virtio.rings + at, seed & (at & 8 ? ~0ul : 0xFF0000000FFF0FFF));
            }
        }
        write16(virtio.notify, (u16)seed);
    }
    settle();
    struct fault fault;
    write8(virtio.common + 0x14, 0);
    while (vtd_fault(&fault))
        CHECK_EQUAL(fault.source, virtio.bdf);
    write32(vtd.base + VTD_FSTS, VTD_PFO);
    start();
    expect_sectors(7, 2);
}
