#include "vtd.h"

#define QUEUE_WORDS (PAGE_SIZE / 8)
#define INTERRUPT_ENTRIES_ORDER 7 /* 2^(7 + 1) entries */

struct vtd vtd;
/* Words of descriptors: two each, or four in the wide form, of which the last two are zero. */
static u64 *queue;
static u32 tail, descriptor_words;

/* --- Finding and commanding ----------------------------------------------------------------------- */

void vtd_find(void) {
    const u8 *dmar = (const u8 *)acpi_table("DMAR");
    CHECK(dmar != NULL);
    u32 length = *(const u32 *)(dmar + 4);
    for (const u8 *at = dmar + 48; at < dmar + length; at += *(const u16 *)(at + 2)) {
        if (*(const u16 *)at != 0)
            continue;
        vtd.base = *(const u64 *)(at + 8);
        const u8 *end = at + *(const u16 *)(at + 2);
        for (const u8 *scope = at + 16; scope < end; scope += scope[1])
            if (scope[0] == 3)
                vtd.ioapic = BDF(scope[5], scope[6], scope[7]);
    }
    CHECK(vtd.base != 0);
    vtd.capabilities = read64(vtd.base + VTD_CAP);
    vtd.extended = read64(vtd.base + VTD_ECAP);
    vtd.levels = vtd.capabilities >> 10 & 1 ? 4 : 3;
    vtd.root = pages(1);
}

static void start(bool wide) {
    vtd_find();
    queue = pages(1);
    tail = 0;
    descriptor_words = wide ? 4 : 2;
    write32(vtd.base + VTD_IQT, 0);
    write64(vtd.base + VTD_IQA, (u64)queue | (wide ? VTD_WIDE : 0));
    vtd_command(VTD_QUEUE, true);
}

void vtd_start(void) { start(false); }

void vtd_start_wide(void) { start(true); }

void vtd_command(u32 bit, bool on) {
    u32 one_shot = VTD_ROOT | VTD_ENTRIES;
    u32 level = read32(vtd.base + VTD_GSTS) & 0x96FFFFFF;
    write32(vtd.base + VTD_GCMD, on ? level | bit : level & ~bit);
    bool expected = on || (bit & one_shot);
    WAIT_FOR(((read32(vtd.base + VTD_GSTS) & bit) != 0) == expected);
}

/* --- Tables --------------------------------------------------------------------------------------- */

u64 *vtd_table(void) { return pages(1); }

u64 *vtd_entry(u64 *table, u64 iova, unsigned level) {
    for (unsigned at = vtd.levels;; at--) {
        u64 *entry = &table[iova >> (12 + 9 * (at - 1)) & 511];
        if (at == level)
            return entry;
        if (*entry == 0)
            *entry = (u64)pages(1) | VTD_RW;
        table = (u64 *)(*entry & ~0xFFFul);
    }
}

void vtd_map(u64 *table, u64 iova, u64 physical, unsigned level, u64 permissions) {
    *vtd_entry(table, iova, level) = physical | permissions | (level > 1 ? 1 << 7 : 0);
}

u64 *vtd_context(bdf_t bdf) {
    u64 *root = vtd.root[bdf >> 8];
    if (root[0] == 0)
        root[0] = (u64)pages(1) | 1;
    return (u64 *)(root[0] & ~0xFFFul) + 2 * (bdf & 0xFF);
}

void vtd_attach(bdf_t bdf, u64 type, u64 *table, u16 domain) {
    u64 *context = vtd_context(bdf);
    context[1] = (vtd.levels - 2) | (u64)domain << 8;
    context[0] = (u64)table | type << 2 | 1;
}

void vtd_translate(void) {
    write64(vtd.base + VTD_RTADDR, (u64)vtd.root);
    vtd_command(VTD_ROOT, true);
    vtd_flush_everything();
    vtd_command(VTD_TRANSLATION, true);
}

/* --- The invalidation queue ----------------------------------------------------------------------- */

void vtd_submit(u64 low, u64 high) {
    for (u32 i = 0; i < descriptor_words; i++)
        queue[tail + i] = i == 0 ? low : i == 1 ? high : 0;
    tail = (tail + descriptor_words) % QUEUE_WORDS;
}

void vtd_kick(void) { write32(vtd.base + VTD_IQT, tail * 8); }

void vtd_wait(void) {
    static volatile u32 status;
    static u32 expected;
    expected++;
    vtd_submit(5 | 1 << 5 | (u64)expected << 32, (u64)&status);
    vtd_kick();
    WAIT_FOR(status == expected);
}

void vtd_flush_contexts(void) {
    vtd_submit(1 | 1 << 4, 0);
    vtd_wait();
}

void vtd_flush_domain(u16 domain) {
    vtd_submit(2 | 2 << 4 | 3 << 6 | (u64)domain << 16, 0);
    vtd_wait();
}

void vtd_flush_pages(u16 domain, u64 iova, unsigned order) {
    vtd_submit(2 | 3 << 4 | 3 << 6 | (u64)domain << 16, iova | order);
    vtd_wait();
}

void vtd_flush_everything(void) {
    vtd_submit(1 | 1 << 4, 0);
    vtd_submit(2 | 1 << 4 | 3 << 6, 0);
    vtd_wait();
}

void vtd_flush_entry(u16 index) {
    vtd_submit(4 | 1 << 4 | (u64)index << 32, 0);
    vtd_wait();
}

/* --- Faults --------------------------------------------------------------------------------------- */

bool vtd_fault(struct fault *fault) {
    u32 status = read32(vtd.base + VTD_FSTS);
    if (!(status & VTD_PPF))
        return false;
    /* FRI names the first record; those after it follow until one is free. */
    u32 records = (u32)(vtd.capabilities >> 40 & 0xFF) + 1;
    for (u32 i = 0; i < records; i++) {
        u64 index = ((status >> 8 & 0xFF) + i) % records;
        u64 record = vtd.base + (vtd.capabilities >> 24 & 0x3FF) * 16 + index * 16;
        u64 high = read64(record + 8);
        if (!(high >> 63))
            continue;
        *fault = (struct fault){
            .address = read64(record),
            .source = (bdf_t)high,
            .reason = (u8)(high >> 32),
            .read = high >> 62 & 1,
            .details = high,
        };
        write32(record + 12, 1u << 31);
        return true;
    }
    fail(__FILE__, __LINE__, "a fault is pending, and a record says which");
}

void vtd_expect_fault(u8 reason, bdf_t source, u64 address, bool read) {
    struct fault fault;
    CHECK(vtd_fault(&fault));
    CHECK_EQUAL(fault.reason, reason);
    CHECK_EQUAL(fault.source, source);
    CHECK_EQUAL(fault.address, address);
    CHECK_EQUAL(fault.read, read);
    vtd_expect_no_fault();
}

void vtd_expect_no_fault(void) {
    struct fault fault;
    if (vtd_fault(&fault)) {
        print("  a fault: reason %x, source %x, address %lx, %s\n", fault.reason, fault.source, fault.address,
              fault.read ? "read" : "write");
        fail(__FILE__, __LINE__, "no fault is recorded");
    }
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, 0);
}

/* --- Interrupt remapping -------------------------------------------------------------------------- */

void vtd_interrupt_entry(u16 index, u8 vector, bdf_t source) {
    vtd.entries[index][1] = source | 1ul << 18; /* compare all 16 bits */
    vtd.entries[index][0] = 1 | (u64)vector << 16;
}

void vtd_remap_interrupts(bool extended) {
    vtd.entries = pages(1);
    write64(vtd.base + VTD_IRTA, (u64)vtd.entries | (extended ? 1 << 11 : 0) | INTERRUPT_ENTRIES_ORDER);
    vtd_command(VTD_ENTRIES, true);
    vtd_submit(4, 0);
    vtd_wait();
    vtd_command(VTD_REMAPPING, true);
}
