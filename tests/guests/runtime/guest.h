/* The runtime of the bare-metal guests: what every one of them needs of a machine.
 *
 * A guest is one C file with cases in it. The kernel command line names the case to run; the exit code says
 * how it went. Everything runs in 64-bit mode with memory mapped one to one. */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define PAGE_SIZE 0x1000ul
#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* --- Cases ---------------------------------------------------------------------------------------- */

struct test_case {
    const char *name;
    void (*run)(void);
};

/* Defines a case, to be followed by its body. It passes if it returns. */
#define CASE(name)                                                                                         \
    static void case_##name(void);                                                                         \
    static const struct test_case entry_##name __attribute__((section(".cases"), used)) = {                \
        #name, case_##name};                                                                               \
    static void case_##name(void)

/* Ends the case as failed unless the condition holds. */
#define CHECK(condition)                                                                                   \
    do {                                                                                                   \
        if (!(condition))                                                                                  \
            fail(__FILE__, __LINE__, #condition);                                                          \
    } while (0)

/* The same for two integers, whose values are printed. */
#define CHECK_EQUAL(left, right)                                                                           \
    do {                                                                                                   \
        u64 left_ = (u64)(left), right_ = (u64)(right);                                                    \
        if (left_ != right_) {                                                                             \
            print("  %s is %lx, not %lx\n", #left, left_, right_);                                         \
            fail(__FILE__, __LINE__, #left " == " #right);                                                 \
        }                                                                                                  \
    } while (0)

_Noreturn void fail(const char *file, int line, const char *what);
/* Ends the case because this machine's KVM cannot show what it is about. */
_Noreturn void skip(const char *why);
/* Leaves the machine through the debug-exit port: the program ends with 2 * code + 1. */
_Noreturn void leave(u8 code);

/* --- Text ----------------------------------------------------------------------------------------- */

/* Prints on the first serial port: %s, %u, %x (32-bit), %lx (64-bit). */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool same_text(const char *left, const char *right);
void *memset(void *to, int byte, size_t length);
void *memcpy(void *to, const void *from, size_t length);
int memcmp(const void *left, const void *right, size_t length);

/* The command line, first word (the case) and the rest. */
extern const char *arguments;
/* The number after `name=` in the arguments, decimal; `otherwise` if it is not there. */
u64 argument(const char *name, u64 otherwise);

/* --- Processor ------------------------------------------------------------------------------------ */

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 in8(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u16 in16(u16 port) {
    u16 value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u32 in32(u16 port) {
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* One access to memory-mapped registers, of exactly this size. */
#define MMIO(bits)                                                                                         \
    static inline u##bits read##bits(u64 address) { return *(volatile u##bits *)address; }                 \
    static inline void write##bits(u64 address, u##bits value) { *(volatile u##bits *)address = value; }
MMIO(8)
MMIO(16)
MMIO(32)
MMIO(64)
#undef MMIO

static inline u64 read_msr(u32 msr) {
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (u64)high << 32 | low;
}
static inline void write_msr(u32 msr, u64 value) {
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}
static inline u64 ticks(void) {
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}
static inline void cpuid(u32 leaf, u32 subleaf, u32 registers[4]) {
    __asm__ volatile("cpuid"
                     : "=a"(registers[0]), "=b"(registers[1]), "=c"(registers[2]), "=d"(registers[3])
                     : "a"(leaf), "c"(subleaf));
}
static inline void relax(void) { __asm__ volatile("pause" : : : "memory"); }
static inline void enable_interrupts(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void disable_interrupts(void) { __asm__ volatile("cli" : : : "memory"); }

/* Waits for the condition, for a few seconds at most, with interrupts on; then fails the case. */
#define WAIT_FOR(condition)                                                                                \
    do {                                                                                                   \
        u64 start_ = ticks();                                                                              \
        enable_interrupts();                                                                               \
        while (!(condition)) {                                                                             \
            if (ticks() - start_ > 8000000000ul)                                                           \
                fail(__FILE__, __LINE__, "in time: " #condition);                                          \
            relax();                                                                                       \
        }                                                                                                  \
    } while (0)

/* Lets whatever is on its way arrive: for showing that something does not happen. */
void settle(void);

/* --- Memory --------------------------------------------------------------------------------------- */

/* `count` zeroed pages in a row below 4 GiB. */
void *pages(size_t count);
/* The first page-aligned address of RAM at or above `from`, as the start information has it; 0 if none. */
u64 ram_above(u64 from);

/* --- What firmware says --------------------------------------------------------------------------- */

struct acpi_header {
    char signature[4];
    u32 length;
    u8 revision, checksum;
    char oem[6], oem_table[8];
    u32 oem_revision, creator, creator_revision;
} __attribute__((packed));

/* The table with this signature, its checksum verified; NULL if there is none. */
const struct acpi_header *acpi_table(const char *signature);

/* --- PCI ------------------------------------------------------------------------------------------ */

/* Bus, device and function, as they stand in a requester ID. */
typedef u16 bdf_t;
#define BDF(bus, device, function) ((bdf_t)((bus) << 8 | (device) << 3 | (function)))

enum {
    PCI_COMMAND = 0x04,
    PCI_MEMORY = 2,
    PCI_MASTER = 4,
    PCI_INTX_DISABLE = 0x400,
};

/* Where a function's configuration space is memory mapped. */
u64 pci_config(bdf_t bdf);
u32 pci_read32(bdf_t bdf, u16 offset);
u16 pci_read16(bdf_t bdf, u16 offset);
u8 pci_read8(bdf_t bdf, u16 offset);
void pci_write32(bdf_t bdf, u16 offset, u32 value);
void pci_write16(bdf_t bdf, u16 offset, u16 value);
void pci_write8(bdf_t bdf, u16 offset, u8 value);
/* Turns bits of the command register on. */
void pci_enable(bdf_t bdf, u16 bits);
/* The first function with this vendor (low half) and device ID from `from` on; 0xFFFF if none. */
bdf_t pci_find(u32 id, bdf_t from);
/* The offset of a capability; 0 if the function does not have it. */
u8 pci_capability(bdf_t bdf, u8 id);
/* The offset of an extended capability; 0 if the function does not have it. */
u16 pci_extended_capability(bdf_t bdf, u16 id);
enum { PCI_ATS = 0x0F, PCI_PAGE_REQUESTS = 0x13, PCI_PASID = 0x1B };
/* The address that memory BAR `index` decodes. */
u64 pci_bar(bdf_t bdf, unsigned index);
/* The size of memory BAR `index`, by writing ones to it with decoding off. */
u64 pci_bar_size(bdf_t bdf, unsigned index);
/* Has a function send MSI with this address and data. */
void pci_msi(bdf_t bdf, u64 address, u16 data);

/* --- Interrupts ----------------------------------------------------------------------------------- */

/* How often each vector came in, end-of-interrupt included. */
extern volatile u32 interrupts[256];
/* Called on each interrupt before its end is signalled, if not NULL. */
extern void (*volatile on_interrupt)(u8 vector);

/* Sets the local APIC up for this processor, in x2APIC mode where the processor has it. */
void apic_start(void);
u32 apic_id(void);
/* Sends an interprocessor interrupt: the low half of the command register, and whom to. */
void apic_send(u32 command, u32 destination);
/* Lets the 8259 pair interrupt this processor. */
void apic_accept_pic(void);
/* Whether `vector` waits in the local APIC's request register. */
bool apic_requested(u8 vector);
/* A message for `vector`, fixed, to processor 0, in the format without remapping. */
#define MSI_ADDRESS 0xFEE00000u

/* Puts a processor into the address vector table of this one. */
void load_interrupt_table(void);

u32 ioapic_read(u8 index);
void ioapic_write(u8 index, u32 value);
/* Writes a redirection table entry, masked first. */
void ioapic_redirect(u8 pin, u64 entry);
u64 ioapic_entry(u8 pin);
/* Ends a level-triggered interrupt by its vector. */
void ioapic_end(u8 vector);
enum {
    IOAPIC_LOW = 1 << 13,
    IOAPIC_LEVEL = 1 << 15,
    IOAPIC_MASKED = 1 << 16,
    IOAPIC_REMOTE_IRR = 1 << 14,
};

/* --- Processors ----------------------------------------------------------------------------------- */

/* Starts the processor with this APIC ID; it calls `work` and halts. */
void processor_start(u32 id, void (*work)(void));
/* The APIC IDs of the processors in the MADT; gives how many there are. */
unsigned processors(u32 ids[], unsigned limit);

#endif
