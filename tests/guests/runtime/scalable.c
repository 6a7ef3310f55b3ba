#include "scalable.h"

#define DIRECTORY_ORDER 7 /* 2^(7 + 7) entries: PASIDs of 20 bits */
#define TTM_SCALABLE (1 << 10)

void scalable_start(bdf_t bdf, u64 bits) {
    vtd_start_wide();
    u64 *directory = pages(8ul << (7 + DIRECTORY_ORDER) >> 12);
    u64 *context = scalable_context(bdf);
    context[0] = (u64)directory | DIRECTORY_ORDER << 9 | bits | 1;
}

void scalable_translate(void) {
    write64(vtd.base + VTD_RTADDR, (u64)vtd.root | TTM_SCALABLE);
    vtd_command(VTD_ROOT, true);
    scalable_flush_everything();
    vtd_command(VTD_TRANSLATION, true);
}

u64 *scalable_context(bdf_t bdf) {
    u64 *half = &vtd.root[bdf >> 8][bdf >> 7 & 1];
    if (*half == 0)
        *half = (u64)pages(1) | 1;
    return (u64 *)(*half & ~0xFFFul) + 4 * (bdf & 0x7F);
}

u64 *scalable_pasid(bdf_t bdf, u32 pasid) {
    u64 *entry = (u64 *)(scalable_context(bdf)[0] & ~0xFFFul) + (pasid >> 6);
    if (*entry == 0)
        *entry = (u64)pages(1) | 1;
    return (u64 *)(*entry & ~0xFFFul) + 8 * (pasid & 63);
}

/* The first word, with the present bit, is written last. */
static void set(bdf_t bdf, u32 pasid, u64 first, u64 second, u64 third) {
    u64 *entry = scalable_pasid(bdf, pasid);
    entry[1] = second;
    entry[2] = third;
    *(volatile u64 *)&entry[0] = first | 1;
}

/* The second word, where walks see what is in the processors' caches. */
static u64 snooping(u16 domain) { return PASID_WALK_SNOOP | domain; }

static u64 width(void) { return (vtd.levels - 2) << 2; }

void scalable_first_stage(bdf_t bdf, u32 pasid, u16 domain, u64 *table, u64 bits) {
    set(bdf, pasid, 1 << 6, snooping(domain), (u64)table | bits);
}

void scalable_second_stage(bdf_t bdf, u32 pasid, u16 domain, u64 *table, u64 bits) {
    set(bdf, pasid, (u64)table | 2 << 6 | width() | bits, snooping(domain), 0);
}

void scalable_nested(bdf_t bdf, u32 pasid, u16 domain, u64 first_stage, u64 *second_stage, u64 bits) {
    set(bdf, pasid, (u64)second_stage | 3 << 6 | width() | bits, snooping(domain), first_stage);
}

void scalable_pass_through(bdf_t bdf, u32 pasid, u16 domain) { set(bdf, pasid, 4 << 6, domain, 0); }

u64 *first_stage_entry(u64 *table, u64 iova, unsigned level) {
    for (unsigned at = 4;; at--) {
        u64 *entry = &table[iova >> (12 + 9 * (at - 1)) & 511];
        if (at == level)
            return entry;
        if (*entry == 0)
            *entry = (u64)pages(1) | FS_RW;
        table = (u64 *)(*entry & ~0xFFFul);
    }
}

void first_stage_map(u64 *table, u64 iova, u64 physical, unsigned level, u64 bits) {
    *first_stage_entry(table, iova, level) = physical | bits | (level > 1 ? 1 << 7 : 0);
}

static void flush_pasid_entry(u16 domain, u32 pasid) {
    vtd_submit(7 | 1 << 4 | (u64)domain << 16 | (u64)pasid << 32, 0);
}

void scalable_flush_pasid_entry(u16 domain, u32 pasid) {
    flush_pasid_entry(domain, pasid);
    vtd_submit(6 | 2 << 4 | (u64)domain << 16 | (u64)pasid << 32, 0);
    vtd_submit(2 | 2 << 4 | 3 << 6 | (u64)domain << 16, 0);
    vtd_wait();
}

void scalable_flush_pasid(u16 domain, u32 pasid) {
    vtd_submit(6 | 2 << 4 | (u64)domain << 16 | (u64)pasid << 32, 0);
    vtd_wait();
}

void scalable_flush_page(u16 domain, u32 pasid, u64 iova) {
    vtd_submit(6 | 3 << 4 | (u64)domain << 16 | (u64)pasid << 32, iova);
    vtd_wait();
}

void scalable_flush_everything(void) {
    vtd_submit(1 | 1 << 4, 0);
    vtd_submit(7 | 3 << 4, 0);
    vtd_submit(2 | 1 << 4 | 3 << 6, 0);
    vtd_wait();
}

/* An address and a size in one word: all the bits below the size's own are ones, but for the topmost of them. */
static u64 range(u64 iova, u64 size, u64 flag) {
    if (size == PAGE_SIZE)
        return iova;
    return (iova & ~(size - 1)) | (((size >> 1) - 1) & ~0xFFFul) | flag;
}

void submit_device_tlb(bdf_t bdf, u64 iova, u64 size) {
    vtd_submit(3 | (u64)bdf << 32, range(iova, size, 1));
}

void submit_pasid_device_tlb(bdf_t bdf, u32 pasid, u64 iova, u64 size) {
    vtd_submit(8 | (u64)bdf << 16 | (u64)pasid << 32, range(iova, size, 1 << 11));
}

void scalable_respond(bdf_t bdf, u32 pasid, u16 group, u8 code) {
    vtd_submit(9 | 1 << 4 | (u64)code << 12 | (u64)bdf << 16 | (u64)pasid << 32, (u64)group << 3);
    vtd_wait();
}
