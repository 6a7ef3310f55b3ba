/* Entry from assembly, text, memory, and the choice of the case. */
#include "guest.h"

#include <stdarg.h>

#define COM1 0x3F8
#define DEBUG_EXIT 0xF4

/* What the PVH boot protocol hands over. */
struct memory_entry {
    u64 address, length;
    u32 type, reserved;
};
static const struct start_info {
    u32 magic, version, flags, modules;
    u64 module_list, cmdline, rsdp, memory_map;
    u32 memory_map_entries, reserved;
} *start_info;

extern const struct test_case cases_start[], cases_end[];
extern char image_end[];
const char *arguments = "";

/* --- Text ----------------------------------------------------------------------------------------- */

static void put(char c) {
    while (!(in8(COM1 + 5) & 0x20))
        relax();
    out8(COM1, (u8)c);
}

static void put_number(u64 value, unsigned base, unsigned digits) {
    char text[20];
    unsigned length = 0;
    do {
        text[length++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0 || length < digits);
    while (length > 0)
        put(text[--length]);
}

void print(const char *format, ...) {
    va_list list;
    va_start(list, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *text = va_arg(list, const char *); *text; text++)
                put(*text);
            break;
        case 'u':
            put_number(va_arg(list, u32), 10, 1);
            break;
        case 'x':
            put_number(va_arg(list, u32), 16, 1);
            break;
        case 'l':
            put_number(va_arg(list, u64), *++format == 'u' ? 10 : 16, 1);
            break;
        }
    }
    va_end(list);
}

bool same_text(const char *left, const char *right) {
    while (*left && *left == *right)
        left++, right++;
    return *left == *right;
}

/* String instructions, because a KVM in software carries one of them out faster than a loop. */
void *memset(void *to, int byte, size_t length) {
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(length) : "a"(byte) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, size_t length) {
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(length) : : "memory");
    return to;
}

int memcmp(const void *left, const void *right, size_t length) {
    const u8 *l = left, *r = right;
    if (length > 0)
        __asm__ volatile("repe cmpsb" : "+S"(l), "+D"(r), "+c"(length) : : "memory", "cc");
    /* Both stand behind the first bytes that differ, or behind the last ones. */
    return l == left ? 0 : l[-1] - r[-1];
}

u64 argument(const char *name, u64 otherwise) {
    for (const char *at = arguments; *at; at++) {
        const char *expected = name;
        while (*expected && *at == *expected)
            at++, expected++;
        if (*expected == 0 && *at == '=') {
            u64 value = 0;
            for (at++; *at >= '0' && *at <= '9'; at++)
                value = value * 10 + (u64)(*at - '0');
            return value;
        }
        while (*at && *at != ' ')
            at++;
        if (*at == 0)
            break;
    }
    return otherwise;
}

/* --- The end -------------------------------------------------------------------------------------- */

_Noreturn void leave(u8 code) {
    disable_interrupts();
    out8(DEBUG_EXIT, code);
    for (u64 start = ticks(); ticks() - start < 4000000000ul;)
        relax();
    print("the debug-exit port did not end the machine\n");
    for (;;)
        __asm__ volatile("hlt");
}

_Noreturn void fail(const char *file, int line, const char *what) {
    print("FAILED %s:%u: %s\n", file, (u32)line, what);
    leave(1);
}

_Noreturn void skip(const char *why) {
    print("SKIPPED: %s\n", why);
    leave(4);
}

void settle(void) {
    enable_interrupts();
    for (u64 start = ticks(); ticks() - start < 60000000;)
        relax();
}

/* --- Memory --------------------------------------------------------------------------------------- */

void *pages(size_t count) {
    static u64 next;
    if (next == 0)
        next = ((u64)image_end + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    void *result = (void *)next;
    next += count * PAGE_SIZE;
    CHECK(next <= 0x3000000);
    return memset(result, 0, count * PAGE_SIZE);
}

u64 ram_above(u64 from) {
    const struct memory_entry *entries = (const void *)start_info->memory_map;
    for (u32 i = 0; i < start_info->memory_map_entries; i++) {
        u64 start = entries[i].address > from ? entries[i].address : from;
        start = (start + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
        if (entries[i].type == 1 && start + PAGE_SIZE <= entries[i].address + entries[i].length)
            return start;
    }
    return 0;
}

/* --- ACPI ----------------------------------------------------------------------------------------- */

const struct acpi_header *acpi_table(const char *signature) {
    const u8 *rsdp = (const u8 *)start_info->rsdp;
    CHECK(rsdp && memcmp(rsdp, "RSD PTR ", 8) == 0);
    /* The XSDT from revision 2 on, the RSDT before. */
    bool wide = rsdp[15] >= 2;
    const struct acpi_header *root =
        wide ? (const void *)*(const u64 *)(rsdp + 24) : (const void *)(u64) * (const u32 *)(rsdp + 16);
    size_t size = wide ? 8 : 4;
    for (size_t offset = sizeof *root; offset < root->length; offset += size) {
        const u8 *entry = (const u8 *)root + offset;
        const struct acpi_header *table =
            wide ? (const void *)*(const u64 *)entry : (const void *)(u64) * (const u32 *)entry;
        if (memcmp(table->signature, signature, 4) == 0) {
            u8 sum = 0;
            for (u32 i = 0; i < table->length; i++)
                sum += ((const u8 *)table)[i];
            CHECK_EQUAL(sum, 0);
            return table;
        }
    }
    return NULL;
}

/* --- The beginning -------------------------------------------------------------------------------- */

void runtime_start(const struct start_info *info) {
    start_info = info;
    CHECK_EQUAL(info->magic, 0x336EC578);
    load_interrupt_table();
    /* Firmware may have left the 8259 pair open. */
    out8(0x21, 0xFF);
    out8(0xA1, 0xFF);

    static char name[64];
    const char *at = (const char *)info->cmdline;
    for (size_t i = 0; at && *at && *at != ' ' && i + 1 < sizeof name; i++)
        name[i] = *at++;
    if (at)
        arguments = at;

    for (const struct test_case *c = cases_start; c < cases_end; c++) {
        if (same_text(c->name, name)) {
            c->run();
            print("PASSED %s\n", name);
            leave(0);
        }
    }
    print("FAILED: no case is named `%s`; there are:\n", name);
    for (const struct test_case *c = cases_start; c < cases_end; c++)
        print("  %s\n", c->name);
    leave(2);
}
