/* A guest that means harm: the machine goes on, and what it touched works when it is set up again. */
#include "runtime/edu.h"
#include "runtime/vtd.h"

#define IOVA 0x4000000ul

static u64 seed = 0x9E3779B97F4A7C15;
static u64 random_number(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* One read or write of 1, 2, 4 or 8 bytes at any alignment. */
static void wild_read(u64 address, unsigned size) {
    switch (size & 3) {
    case 0: (void)read8(address); break;
    case 1: (void)read16(address); break;
    case 2: (void)read32(address); break;
    case 3: (void)read64(address); break;
    }
}

static void wild_write(u64 address, unsigned size, u64 value) {
    switch (size & 3) {
    case 0: write8(address, (u8)value); break;
    case 1: write16(address, (u16)value); break;
    case 2: write32(address, (u32)value); break;
    case 3: write64(address, value); break;
    }
}

/* Everything works: a DMA translated and one blocked. The unit is off before and after. */
static void expect_working_unit(void) {
    write32(vtd.base + VTD_GCMD, 0);
    WAIT_FOR(!(read32(vtd.base + VTD_GSTS) & (VTD_TRANSLATION | VTD_REMAPPING)));
    struct fault fault;
    write32(vtd.base + VTD_FSTS, ~0u);
    WAIT_FOR(!(read32(vtd.base + VTD_GSTS) & VTD_QUEUE));
    while (vtd_fault(&fault))
        ;
    write32(vtd.base + VTD_FSTS, ~0u);
    struct edu edu = edu_find(0);
    vtd_start();
    u64 *table = vtd_table();
    u32 *from = pages(1), *to = pages(1);
    *from = 0x600D;
    vtd_map(table, IOVA, (u64)from, 1, VTD_READ);
    vtd_map(table, IOVA + 0x1000, (u64)to, 1, VTD_WRITE);
    vtd_attach(edu.bdf, VTD_TABLES, table, 7);
    vtd_translate();
    edu_copy_word(edu, IOVA, IOVA + 0x1000);
    CHECK_EQUAL(*to, 0x600D);
    edu_write(edu, IOVA, 0, 4);
    vtd_expect_fault(NO_WRITE, edu.bdf, IOVA, false);
    vtd_command(VTD_TRANSLATION, false);
}

/* Whatever is written anywhere in the register page. Only where event messages go is left alone: a message
 * to the wrong place is the guest's own ruin. */
CASE(wild_registers) {
    vtd_find();
    for (unsigned i = 0; i < 1500; i++) {
        u64 offset = random_number() & 0xFFF;
        unsigned size = (unsigned)random_number() & 3;
        if (random_number() & 1)
            offset &= 0xFF;
        if (random_number() & 1)
            offset &= ~7ul;
        if (offset + 8 > 0x1000 || (offset + 8 > VTD_FECTL && offset < 0x48) ||
            (offset + 8 > VTD_IECTL && offset < 0xB0))
            continue;
        if (random_number() & 1)
            wild_read(vtd.base + offset, size);
        else
            wild_write(vtd.base + offset, size, random_number());
    }
    expect_working_unit();
}

/* Accesses that the architecture does not know read as zeros and change nothing. */
CASE(odd_sizes) {
    vtd_find();
    u32 version = read32(vtd.base + VTD_VER);
    CHECK(version != 0);
    u64 root = 0xABCD000;
    write64(vtd.base + VTD_RTADDR, root);
    write8(vtd.base + VTD_RTADDR + 1, 0xFF);
    write16(vtd.base + VTD_RTADDR + 2, 0xFFFF);
    write32(vtd.base + VTD_RTADDR + 2, ~0u);
    write64(vtd.base + VTD_RTADDR + 4, ~0ul);
    write64(vtd.base + VTD_RTADDR - 4, ~0ul);
    CHECK_EQUAL(read64(vtd.base + VTD_RTADDR), root);
    CHECK_EQUAL(read8(vtd.base + VTD_VER), 0);
    CHECK_EQUAL(read16(vtd.base + VTD_VER), 0);
    CHECK_EQUAL(read32(vtd.base + VTD_CAP + 2), 0);
    CHECK_EQUAL(read64(vtd.base + VTD_CAP + 4), 0);
    /* Halves are known. */
    CHECK_EQUAL(read32(vtd.base + VTD_CAP), (u32)vtd.capabilities);
    CHECK_EQUAL(read32(vtd.base + VTD_CAP + 4), vtd.capabilities >> 32);
    write64(vtd.base + VTD_RTADDR, 0);
    expect_working_unit();
}

/* Tables whose every entry points back to them. */
CASE(tables_in_circles) {
    struct edu edu = edu_find(0);
    vtd_start();
    u64 *table = pages(1);
    for (unsigned i = 0; i < 512; i++)
        table[i] = (u64)table | VTD_RW;
    vtd_attach(edu.bdf, VTD_TABLES, table, 7);
    vtd_translate();
    /* Any address is the table itself. */
    edu_read(edu, 0x123456000, 0, 8);
    vtd_expect_no_fault();
    u64 *to = pages(1);
    vtd_flush_domain(7);
    vtd_flush_pages(7, 0, (unsigned)(vtd.capabilities >> 48 & 0x3F));
    table[1] = (u64)to | VTD_RW;
    vtd_flush_everything();
    edu_write(edu, 0x1000, 0, 8);
    /* The root table as its own context table, and as a table of pages. */
    vtd.root[edu.bdf >> 8][0] = (u64)vtd.root | 1;
    vtd_flush_everything();
    edu_read(edu, IOVA, 0, 8);
    vtd_command(VTD_TRANSLATION, false);
    vtd_command(VTD_QUEUE, false);
    expect_working_unit();
}

/* Tables and queues where there is no memory. */
CASE(tables_nowhere) {
    struct edu edu = edu_find(0);
    vtd_start();
    vtd_translate();
    const u64 nowhere = 0xF0000000, device = edu.base;
    for (unsigned round = 0; round < 2; round++) {
        u64 place = round ? device : nowhere;
        vtd_attach(edu.bdf, VTD_TABLES, (u64 *)place, 7);
        vtd_flush_everything();
        edu_read(edu, IOVA, 0, 4);
        vtd_expect_fault(BAD_CONTEXT, edu.bdf, IOVA, true);
        u64 *table = vtd_table();
        table[0] = place | VTD_RW;
        vtd_attach(edu.bdf, VTD_TABLES, table, 7);
        vtd_flush_everything();
        edu_read(edu, IOVA, 0, 4);
        vtd_expect_fault(BAD_TABLE, edu.bdf, IOVA, true);
        u64 root = vtd.root[edu.bdf >> 8][0];
        vtd.root[edu.bdf >> 8][0] = place | 1;
        vtd_flush_everything();
        edu_read(edu, IOVA, 0, 4);
        vtd_expect_fault(0x09, edu.bdf, IOVA, true);
        vtd.root[edu.bdf >> 8][0] = root;
        write64(vtd.base + VTD_RTADDR, place);
        vtd_command(VTD_ROOT, true);
        vtd_flush_everything();
        edu_read(edu, IOVA, 0, 4);
        vtd_expect_fault(0x08, edu.bdf, IOVA, true);
        write64(vtd.base + VTD_RTADDR, (u64)vtd.root);
        vtd_command(VTD_ROOT, true);
    }
    /* A queue nowhere stops at its first descriptor. */
    vtd_command(VTD_QUEUE, false);
    write32(vtd.base + VTD_IQT, 0);
    write64(vtd.base + VTD_IQA, nowhere);
    vtd_command(VTD_QUEUE, true);
    write32(vtd.base + VTD_IQT, 0x10);
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & VTD_IQE, VTD_IQE);
    CHECK_EQUAL(read64(vtd.base + VTD_IQERCD) & 0xF, 2);
    expect_working_unit();
}

/* A ring that is as long as a ring can be, full of fences. */
CASE(long_queue) {
    vtd_find();
    u64 (*queue)[2] = pages(128);
    u32 entries = 128 * 256;
    for (u32 i = 0; i < entries; i++)
        queue[i][0] = 5 | 1 << 6;
    write32(vtd.base + VTD_IQT, 0);
    write64(vtd.base + VTD_IQA, (u64)queue | 7);
    vtd_command(VTD_QUEUE, true);
    write32(vtd.base + VTD_IQT, (entries - 1) << 4);
    WAIT_FOR(read64(vtd.base + VTD_IQH) == (u64)(entries - 1) << 4);
    expect_working_unit();
}

/* A device's memory over RAM, over other devices, over nothing. */
CASE(bars_everywhere) {
    struct edu edu = edu_find(0);
    vtd_find();
    u32 *ram = pages(1);
    *ram = 0xCAFE;
    const u64 places[] = {
        (u64)ram & ~0xFFFFFul, 0,          0xA0000000, 0xFEC00000, vtd.base & ~0xFFFFFul, 0xFEE00000, 0xFFF00000,
        pci_config(0),         0xB0000000, 0xFED00000,
    };
    for (unsigned i = 0; i < ARRAY_LENGTH(places); i++) {
        pci_write32(edu.bdf, 0x10, (u32)places[i]);
        /* Whoever answers: nobody falls over. */
        for (u64 offset = 0; offset < 0x100000; offset += 0x10000)
            (void)read32(places[i] + offset);
        if (places[i] != ((u64)ram & ~0xFFFFFul))
            (void)read32(places[i] + EDU_LIVENESS);
        CHECK_EQUAL(*(volatile u32 *)ram, 0xCAFE);
    }
    pci_write32(edu.bdf, 0x10, (u32)edu.base);
    CHECK_EQUAL(read32(edu.base), 0x010000ED);
    CHECK_EQUAL(ioapic_read(1) >> 16 & 0xFF, 23);
    CHECK_EQUAL(read64(vtd.base + VTD_CAP), vtd.capabilities);
    apic_start();
    expect_working_unit();
}

/* DMA to registers, one's own among them, goes nowhere: a device reaches memory and nothing else. */
CASE(dma_to_devices) {
    struct edu edu = edu_find(0);
    vtd_find();
    ioapic_redirect(5, IOAPIC_MASKED | 0x55);
    const u64 targets[] = {edu.base + EDU_LIVENESS, edu.base + EDU_COMMAND, vtd.base + VTD_RTADDR, 0xFEC00000,
                           pci_config(edu.bdf) + 4,  0xFFFFF000,             0x7FFFFFFFFFFFF000,    ~0xFFFul};
    for (unsigned i = 0; i < ARRAY_LENGTH(targets); i++) {
        edu_write(edu, targets[i], 0, 64);
        edu_read(edu, targets[i], 0, 64);
    }
    CHECK_EQUAL(read32(edu.base + EDU_LIVENESS), 0);
    CHECK_EQUAL(read64(vtd.base + VTD_RTADDR), 0);
    CHECK_EQUAL(ioapic_entry(5), IOAPIC_MASKED | 0x55);
    CHECK_EQUAL(pci_read16(edu.bdf, PCI_COMMAND) & 7, PCI_MEMORY | PCI_MASTER);
    expect_working_unit();
}

/* Tables that lead to registers give a device no more than no tables: they are not memory. */
CASE(registers_mapped_for_dma) {
    struct edu edu = edu_find(0);
    vtd_start();
    u64 *table = vtd_table();
    const u64 targets[] = {edu.base, vtd.base, 0xFEC00000, pci_config(edu.bdf), 0xFFFFF000, 0x7FFFFFF000};
    for (unsigned i = 0; i < ARRAY_LENGTH(targets); i++)
        vtd_map(table, IOVA + i * PAGE_SIZE, targets[i], 1, VTD_RW);
    vtd_map(table, IOVA + 0x20000, 0xFEE00000, 1, VTD_RW);
    vtd_attach(edu.bdf, VTD_TABLES, table, 7);
    vtd_translate();
    write32(edu.base + EDU_LIVENESS, 5);
    for (unsigned i = 0; i < ARRAY_LENGTH(targets); i++) {
        edu_write(edu, IOVA + i * PAGE_SIZE, 0, 64);
        edu_read(edu, IOVA + i * PAGE_SIZE, 0, 64);
    }
    CHECK_EQUAL(read32(edu.base + EDU_LIVENESS), ~5u);
    CHECK_EQUAL(pci_read16(edu.bdf, PCI_COMMAND) & 7, PCI_MEMORY | PCI_MASTER);
    struct fault fault;
    while (vtd_fault(&fault))
        CHECK_EQUAL(fault.source, edu.bdf);
    /* Where interrupts are sent to is no page of memory either. */
    edu_write(edu, IOVA + 0x20000, 0, 4);
    vtd_expect_fault(0x0E, edu.bdf, IOVA + 0x20000, false);
    vtd_command(VTD_TRANSLATION, false);
    vtd_command(VTD_QUEUE, false);
    expect_working_unit();
}

/* All of configuration space, with everything. */
CASE(wild_configuration) {
    struct edu edu = edu_find(0);
    u32 bar = pci_read32(edu.bdf, 0x10);
    for (unsigned i = 0; i < 1500; i++) {
        bdf_t bdf = BDF(random_number() % 3, random_number() % 32, random_number() % 2 ? 0 : random_number() % 8);
        u64 offset = random_number() & (random_number() & 1 ? 0xFF : 0xFFF);
        unsigned size = (unsigned)random_number() & 3;
        if (offset + 8 > 0x1000)
            continue;
        if (random_number() & 1)
            wild_read(pci_config(bdf) + offset, size);
        else
            wild_write(pci_config(bdf) + offset, size, random_number());
    }
    /* Put back what matters; buses may have moved, but not the device on the root bus. */
    pci_write16(edu.bdf, PCI_COMMAND, 0);
    pci_write32(edu.bdf, 0x10, bar);
    pci_enable(edu.bdf, PCI_MEMORY | PCI_MASTER);
    CHECK_EQUAL(pci_read32(edu.bdf, 0), 0x11E81234);
    CHECK_EQUAL(read32(edu.base), 0x010000ED);
}

/* Reads of every port, in every size. */
CASE(all_ports) {
    for (u32 port = 0; port < 0x10000; port += 1 + (port > 0x1000) * 61) {
        (void)in8((u16)port);
        (void)in16((u16)port);
        (void)in32((u16)port);
    }
    CHECK_EQUAL(pci_read32(BDF(0, 0, 0), 0), 0x29C08086);
}

/* Reads all over the space below 4 GiB where no memory is. */
CASE(empty_space) {
    for (u64 address = 0xC0000000; address < 0x100000000; address += 0x3F000) {
        wild_read(address + 0x10, 0);
        wild_read(address + 0x12, 1);
        wild_read(address + 0x14, 2);
        wild_read(address + 0x18, 3);
    }
    CHECK_EQUAL(read32(0xDFFFFF00), 0xFFFFFFFF);
}

/* The IOAPIC's registers, wildly, with no pin left open. */
CASE(wild_ioapic) {
    for (unsigned i = 0; i < 1000; i++) {
        write32(0xFEC00000, (u32)random_number() & 0xFF);
        write32(0xFEC00010, (u32)random_number() | IOAPIC_MASKED);
        wild_read(0xFEC00000 + (random_number() & 0xFF), (unsigned)random_number());
        write32(0xFEC00040, (u32)random_number());
    }
    for (u8 pin = 0; pin < 24; pin++)
        ioapic_redirect(pin, IOAPIC_MASKED);
    CHECK_EQUAL(ioapic_read(1) >> 16 & 0xFF, 23);
}
