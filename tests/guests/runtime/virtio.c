#include "virtio.h"

#define QUEUE_SIZE 4
#define AVAILABLE 0x100
#define USED 0x200
#define STATUS 0x100

struct virtio virtio;

void virtio_find(void) {
    bdf_t bdf = pci_find(0x10421AF4, 0);
    CHECK(bdf != 0xFFFF);
    virtio.bdf = bdf;
    pci_enable(bdf, PCI_MEMORY | PCI_MASTER);
    for (u8 at = pci_read8(bdf, 0x34); at != 0; at = pci_read8(bdf, at + 1)) {
        if (pci_read8(bdf, at) != 9)
            continue;
        u64 place = pci_bar(bdf, pci_read8(bdf, at + 4)) + pci_read32(bdf, at + 8);
        switch (pci_read8(bdf, at + 3)) {
        case 1: virtio.common = place; break;
        case 2: virtio.notify = place; break;
        case 3: virtio.isr = place; break;
        case 4: virtio.device = place; break;
        }
    }
    CHECK(virtio.common && virtio.notify && virtio.isr && virtio.device);
    virtio.rings = pages(1);
    virtio.header = pages(1);
    virtio.data = pages(VIRTIO_DATA_PAGES);
}

u8 virtio_status(void) { return read8(virtio.common + 0x14); }

u8 virtio_negotiate(u64 features) {
    write8(virtio.common + 0x14, 0);
    CHECK_EQUAL(virtio_status(), 0);
    write8(virtio.common + 0x14, 3);
    for (u32 half = 0; half < 2; half++) {
        write32(virtio.common + 0x08, half);
        write32(virtio.common + 0x0C, (u32)(features >> 32 * half));
    }
    write8(virtio.common + 0x14, 3 | VIRTIO_FEATURES_OK);
    return virtio_status();
}

void virtio_start(void) {
    memset(virtio.rings, 0, PAGE_SIZE);
    virtio.submitted = 0;
    write16(virtio.common + 0x16, 0);
    write16(virtio.common + 0x18, QUEUE_SIZE);
    write64(virtio.common + 0x20, VIRTIO_RINGS);
    write64(virtio.common + 0x28, VIRTIO_RINGS + AVAILABLE);
    write64(virtio.common + 0x30, VIRTIO_RINGS + USED);
    write16(virtio.common + 0x1C, 1);
    write8(virtio.common + 0x14, 3 | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

u16 virtio_used(void) { return read16((u64)virtio.rings + USED + 2); }

static void describe(unsigned index, u64 address, u32 length, u16 flags) {
    u64 at = (u64)virtio.rings + index * 16;
    write64(at, address);
    write32(at + 8, length);
    write16(at + 12, flags);
    write16(at + 14, (u16)(index + 1));
}

void virtio_submit(u32 type, u64 sector, u32 length) {
    write32((u64)virtio.header, type);
    write64((u64)virtio.header + 8, sector);
    virtio.header[STATUS] = 0xEE;
    describe(0, VIRTIO_HEADER, 16, 1);
    describe(1, VIRTIO_DATA, length, type == VIRTIO_WRITE ? 1 : 1 | 2);
    describe(2, VIRTIO_HEADER + STATUS, 1, 2);
    if (length == 0)
        write16((u64)virtio.rings + 14, 2);
    write16((u64)virtio.rings + AVAILABLE + 4 + virtio.submitted % QUEUE_SIZE * 2, 0);
    write16((u64)virtio.rings + AVAILABLE + 2, ++virtio.submitted);
    write16(virtio.notify, 0);
}

u8 virtio_request(u32 type, u64 sector, u32 length) {
    virtio_submit(type, sector, length);
    WAIT_FOR(virtio_used() == virtio.submitted);
    return virtio.header[STATUS];
}
