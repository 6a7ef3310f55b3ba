/* PCI: what is there, how it is reached, and where it is put. */
#include "runtime/edu.h"

#define HOST_BRIDGE BDF(0, 0, 0)
#define LPC_BRIDGE BDF(0, 31, 0)

static bool is_bridge(bdf_t bdf) { return (pci_read8(bdf, 0x0E) & 0x7F) == 1; }

/* Calls `each` for every function of a bus and of the buses below. */
static void walk(u8 bus, void (*each)(bdf_t)) {
    for (unsigned device = 0; device < 32; device++) {
        bool many = pci_read8(BDF(bus, device, 0), 0x0E) & 0x80;
        for (unsigned function = 0; function < (many ? 8 : 1); function++) {
            bdf_t bdf = BDF(bus, device, function);
            if (pci_read16(bdf, 0) == 0xFFFF)
                continue;
            each(bdf);
            if (is_bridge(bdf)) {
                u8 secondary = pci_read8(bdf, 0x19), subordinate = pci_read8(bdf, 0x1A);
                CHECK(secondary > bus && subordinate >= secondary);
                walk(secondary, each);
            }
        }
    }
}

CASE(chipset) {
    CHECK_EQUAL(pci_read32(HOST_BRIDGE, 0), 0x29C08086);
    CHECK_EQUAL(pci_read16(HOST_BRIDGE, 0x0A), 0x0600);
    CHECK_EQUAL(pci_read16(LPC_BRIDGE, 0), 0x8086);
    CHECK_EQUAL(pci_read16(LPC_BRIDGE, 0x0A), 0x0601);
    /* Where nothing is, everything is ones and writes go nowhere. */
    bdf_t nobody = BDF(0, 30, 7);
    pci_write32(nobody, 0x10, 0);
    CHECK_EQUAL(pci_read32(nobody, 0), 0xFFFFFFFF);
    CHECK_EQUAL(pci_read16(nobody, 2), 0xFFFF);
    CHECK_EQUAL(pci_read8(nobody, 0x3D), 0xFF);
    CHECK_EQUAL(pci_read32(BDF(255, 31, 7), 0), 0xFFFFFFFF);
}

static struct {
    u64 start, end;
} ranges[64];
static unsigned range_count, function_count;

static void check_function(bdf_t bdf) {
    function_count++;
    CHECK(pci_read16(bdf, 2) != 0xFFFF);
    for (u8 at = pci_read16(bdf, 6) & 0x10 ? pci_read8(bdf, 0x34) : 0, i = 0; at; at = pci_read8(bdf, at + 1)) {
        CHECK(at >= 0x40 && (at & 3) == 0 && pci_read8(bdf, at) != 0xFF);
        CHECK(i++ < 48);
    }
    for (unsigned index = 0; index < (is_bridge(bdf) ? 2 : 6); index++) {
        u32 bar = pci_read32(bdf, (u16)(0x10 + 4 * index));
        u64 size = bar & 1 ? 0 : pci_bar_size(bdf, index);
        if (size == 0)
            continue;
        u64 start = pci_bar(bdf, index);
        print("  %x: BAR %u at %lx, %lx bytes\n", bdf, index, start, size);
        CHECK(start != 0 && (start & (size - 1)) == 0 && (size & (size - 1)) == 0);
        for (unsigned i = 0; i < range_count; i++)
            CHECK(start + size <= ranges[i].start || start >= ranges[i].end);
        CHECK(range_count < ARRAY_LENGTH(ranges));
        ranges[range_count].start = start;
        ranges[range_count++].end = start + size;
        index += (bar & 6) == 4;
    }
}

/* Every function is well formed, and has its BARs apart from all others before the guest starts. */
CASE(enumeration) {
    walk(0, check_function);
    CHECK_EQUAL(function_count, argument("functions", function_count));
    CHECK(range_count > 0);
}

CASE(size_of_a_bar) {
    struct edu edu = edu_find(0);
    CHECK_EQUAL(pci_bar_size(edu.bdf, 0), 0x100000);
    CHECK_EQUAL(pci_bar(edu.bdf, 0), edu.base);
    CHECK_EQUAL(read32(edu.base), 0x010000ED);
}

/* The guest may put a BAR elsewhere. */
CASE(move_a_bar) {
    struct edu edu = edu_find(0);
    u64 place = edu.base + 0x4000000;
    for (unsigned round = 0; round < 3; round++) {
        pci_write32(edu.bdf, 0x10, (u32)place);
        CHECK_EQUAL(read32(place), 0x010000ED);
        CHECK_EQUAL(read32(edu.base), 0xFFFFFFFF);
        write32(place + EDU_LIVENESS, round);
        CHECK_EQUAL(read32(place + EDU_LIVENESS), ~round);
        pci_write32(edu.bdf, 0x10, (u32)edu.base);
        CHECK_EQUAL(read32(edu.base + EDU_LIVENESS), ~round);
        CHECK_EQUAL(read32(place), 0xFFFFFFFF);
    }
}

CASE(decoding_off) {
    struct edu edu = edu_find(0);
    pci_write16(edu.bdf, PCI_COMMAND, PCI_MASTER);
    CHECK_EQUAL(read32(edu.base), 0xFFFFFFFF);
    write32(edu.base + EDU_LIVENESS, 1);
    pci_write16(edu.bdf, PCI_COMMAND, PCI_MEMORY);
    CHECK_EQUAL(read32(edu.base), 0x010000ED);
    CHECK_EQUAL(read32(edu.base + EDU_LIVENESS), 0);
}

/* --- Ports 0xCF8 and 0xCFC ------------------------------------------------------------------------ */

static void select(bdf_t bdf, u8 offset) { out32(0xCF8, 0x80000000 | (u32)bdf << 8 | offset); }

CASE(configuration_ports) {
    u32 id = pci_read32(HOST_BRIDGE, 0);
    select(HOST_BRIDGE, 0);
    CHECK_EQUAL(in32(0xCF8), 0x80000000);
    CHECK_EQUAL(in32(0xCFC), id);
    /* Bytes and words are reached by the data port's number ... */
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQUAL(in8((u16)(0xCFC + i)), id >> 8 * i & 0xFF);
    CHECK_EQUAL(in16(0xCFC), id & 0xFFFF);
    CHECK_EQUAL(in16(0xCFE), id >> 16);
    /* ... as well as by the low bits of the address. */
    for (unsigned i = 0; i < 4; i++) {
        select(HOST_BRIDGE, (u8)i);
        CHECK_EQUAL(in8(0xCFC), id >> 8 * i & 0xFF);
    }
    select(HOST_BRIDGE, 2);
    CHECK_EQUAL(in16(0xCFC), id >> 16);
    /* Without the enable bit the data port is no configuration space. */
    out32(0xCF8, 0);
    CHECK_EQUAL(in32(0xCFC), 0xFFFFFFFF);
    /* The address is one register of 4 bytes. */
    select(HOST_BRIDGE, 0);
    out8(0xCF8, 0x40);
    CHECK_EQUAL(in32(0xCF8), 0x80000000);
    /* Both ways lead to the same place. */
    struct edu edu = edu_find(0);
    select(edu.bdf, 0x3C);
    out8(0xCFC, 0x5A);
    CHECK_EQUAL(pci_read8(edu.bdf, 0x3C), 0x5A);
    select(edu.bdf, 0x04);
    out16(0xCFC, 0);
    CHECK_EQUAL(pci_read16(edu.bdf, PCI_COMMAND), 0);
    CHECK_EQUAL(read32(edu.base), 0xFFFFFFFF);
    select(BDF(0, 30, 7), 0);
    CHECK_EQUAL(in32(0xCFC), 0xFFFFFFFF);
}

/* --- Behind a port -------------------------------------------------------------------------------- */

static bdf_t port_above(bdf_t bdf) {
    for (unsigned device = 0; device < 32; device++)
        for (unsigned function = 0; function < 8; function++) {
            bdf_t port = BDF(0, device, function);
            if (pci_read16(port, 0) != 0xFFFF && is_bridge(port) && pci_read8(port, 0x19) == bdf >> 8)
                return port;
        }
    fail(__FILE__, __LINE__, "there is a port above the device");
}

/* A bridge that does not forward memory accesses hides what is below, and so does one whose window lies
 * elsewhere. */
CASE(behind_a_port) {
    struct edu edu = edu_find(0);
    CHECK(edu.bdf >> 8 != 0);
    bdf_t port = port_above(edu.bdf);
    pci_write16(port, PCI_COMMAND, 0);
    CHECK_EQUAL(read32(edu.base), 0xFFFFFFFF);
    pci_write16(port, PCI_COMMAND, PCI_MEMORY | PCI_MASTER);
    CHECK_EQUAL(read32(edu.base), 0x010000ED);
    u32 window = pci_read32(port, 0x20);
    pci_write32(port, 0x20, 0x0000FFF0);
    CHECK_EQUAL(read32(edu.base), 0xFFFFFFFF);
    pci_write32(port, 0x20, window);
    CHECK_EQUAL(read32(edu.base), 0x010000ED);
}

/* The bus below a port is where the port says. */
CASE(renumbered_bus) {
    struct edu edu = edu_find(0);
    bdf_t port = port_above(edu.bdf);
    pci_write8(port, 0x1A, 0x40);
    pci_write8(port, 0x19, 0x40);
    CHECK_EQUAL(pci_read32(edu.bdf, 0), 0xFFFFFFFF);
    CHECK_EQUAL(pci_read32(BDF(0x40, (edu.bdf >> 3 & 31), edu.bdf & 7), 0), 0x11E81234);
    CHECK_EQUAL(read32(edu.base), 0x010000ED);
    /* No bus at all below. */
    pci_write8(port, 0x1A, 0);
    pci_write8(port, 0x19, 0);
    CHECK_EQUAL(pci_read32(BDF(0x40, (edu.bdf >> 3 & 31), edu.bdf & 7), 0), 0xFFFFFFFF);
    CHECK_EQUAL(pci_read32(HOST_BRIDGE, 0), 0x29C08086);
}
