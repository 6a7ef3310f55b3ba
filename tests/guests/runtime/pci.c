/* PCI through the memory-mapped configuration space that the MCFG announces. */
#include "guest.h"

u64 pci_config(bdf_t bdf) {
    static u64 base;
    if (base == 0) {
        const struct acpi_header *mcfg = acpi_table("MCFG");
        CHECK(mcfg != NULL);
        base = *(const u64 *)((const u8 *)mcfg + 44);
    }
    return base + ((u64)bdf << 12);
}

u32 pci_read32(bdf_t bdf, u16 offset) { return read32(pci_config(bdf) + offset); }
u16 pci_read16(bdf_t bdf, u16 offset) { return read16(pci_config(bdf) + offset); }
u8 pci_read8(bdf_t bdf, u16 offset) { return read8(pci_config(bdf) + offset); }
void pci_write32(bdf_t bdf, u16 offset, u32 value) { write32(pci_config(bdf) + offset, value); }
void pci_write16(bdf_t bdf, u16 offset, u16 value) { write16(pci_config(bdf) + offset, value); }
void pci_write8(bdf_t bdf, u16 offset, u8 value) { write8(pci_config(bdf) + offset, value); }

void pci_enable(bdf_t bdf, u16 bits) { pci_write16(bdf, PCI_COMMAND, pci_read16(bdf, PCI_COMMAND) | bits); }

bdf_t pci_find(u32 id, bdf_t from) {
    for (u32 bdf = from; bdf < BDF(8, 0, 0); bdf++)
        if (pci_read32((bdf_t)bdf, 0) == id)
            return (bdf_t)bdf;
    return 0xFFFF;
}

u8 pci_capability(bdf_t bdf, u8 id) {
    if (!(pci_read16(bdf, 6) & 0x10))
        return 0;
    u8 at = pci_read8(bdf, 0x34);
    for (unsigned i = 0; at != 0 && i < 48; i++, at = pci_read8(bdf, at + 1))
        if (pci_read8(bdf, at) == id)
            return at;
    return 0;
}

static bool wide(u32 bar) { return (bar & 6) == 4; }

u16 pci_extended_capability(bdf_t bdf, u16 id) {
    for (u16 at = 0x100; at != 0;) {
        u32 header = pci_read32(bdf, at);
        if ((u16)header == id)
            return at;
        at = (u16)(header >> 20);
    }
    return 0;
}

u64 pci_bar(bdf_t bdf, unsigned index) {
    u16 at = (u16)(0x10 + 4 * index);
    u32 low = pci_read32(bdf, at);
    return (low & ~0xFu) | (wide(low) ? (u64)pci_read32(bdf, at + 4) << 32 : 0);
}

u64 pci_bar_size(bdf_t bdf, unsigned index) {
    u16 at = (u16)(0x10 + 4 * index);
    u16 command = pci_read16(bdf, PCI_COMMAND);
    pci_write16(bdf, PCI_COMMAND, command & ~3u);
    u32 low = pci_read32(bdf, at), high = 0;
    pci_write32(bdf, at, ~0u);
    u64 mask = pci_read32(bdf, at) & ~0xFu;
    pci_write32(bdf, at, low);
    if (wide(low)) {
        high = pci_read32(bdf, at + 4);
        pci_write32(bdf, at + 4, ~0u);
        mask |= (u64)pci_read32(bdf, at + 4) << 32;
        pci_write32(bdf, at + 4, high);
    } else if (mask != 0) {
        mask |= 0xFFFFFFFF00000000ul;
    }
    pci_write16(bdf, PCI_COMMAND, command);
    return ~mask + 1;
}

void pci_msi(bdf_t bdf, u64 address, u16 data) {
    u8 at = pci_capability(bdf, 5);
    CHECK(at != 0);
    u16 control = pci_read16(bdf, at + 2);
    pci_write32(bdf, at + 4, (u32)address);
    CHECK(control & 0x80);
    pci_write32(bdf, at + 8, (u32)(address >> 32));
    pci_write16(bdf, at + 12, data);
    pci_write16(bdf, at + 2, control | 1);
}
