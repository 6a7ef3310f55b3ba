/* From the PVH entry (32-bit protected mode, paging off) to C in 64-bit mode. */

#define PAGE 0x1000
/* Gigabytes mapped one to one: all RAM tests use, all MMIO, and the start of the 64-bit window for BARs. */
#define GIGABYTES 16

        .section .note.pvh, "a", @note
        .align 4
        .long 4, 8, 18                  /* name and descriptor lengths; XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .quad pvh_start

        .code32
        .section .text.start, "ax"
        .global pvh_start
pvh_start:
        cli
        cld
        mov     $stack_top, %esp
        push    %ebx                    /* the start information */

        /* PML4 and PDPT, then 2 MiB leaves through all page directories. */
        movl    $pdpt + 3, pml4
        mov     $page_directories + 3, %eax
        mov     $pdpt, %edi
        mov     $GIGABYTES, %ecx
1:      mov     %eax, (%edi)
        add     $PAGE, %eax
        add     $8, %edi
        loop    1b

        mov     $0x83, %eax             /* present, writable, large */
        xor     %edx, %edx
        mov     $page_directories, %edi
        mov     $GIGABYTES * 512, %ecx
2:      mov     %eax, (%edi)
        mov     %edx, 4(%edi)
        add     $0x200000, %eax
        adc     $0, %edx
        add     $8, %edi
        loop    2b

        pop     %ebx
        call    enter_long_mode
        ljmp    $0x08, $long_start

        /* Turns paging and long mode on with the tables at pml4. */
        .global enter_long_mode
enter_long_mode:
        mov     %cr4, %eax
        or      $0x20, %eax             /* PAE */
        mov     %eax, %cr4
        mov     $pml4, %eax
        mov     %eax, %cr3
        mov     $0xC0000080, %ecx       /* EFER */
        rdmsr
        or      $0x100, %eax            /* LME */
        wrmsr
        mov     %cr0, %eax
        or      $0x80000001, %eax       /* PG, PE */
        mov     %eax, %cr0
        lgdt    gdt_pointer
        ret

        .code64
long_start:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $stack_top, %rsp
        mov     %ebx, %edi
        call    runtime_start
3:      hlt
        jmp     3b

        /* Other processors start here in real mode; smp.c copies this to TRAMPOLINE. */
#define TRAMPOLINE 0x8000
        .code16
        .global trampoline, trampoline_end
trampoline:
        cli
        cld
        xor     %ax, %ax
        mov     %ax, %ds
        lgdtl   TRAMPOLINE + trampoline_gdt - trampoline
        mov     %cr0, %eax
        or      $1, %eax
        mov     %eax, %cr0
        ljmpl   $0x18, $TRAMPOLINE + trampoline32 - trampoline
        .code32
trampoline32:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     next_stack, %esp        /* processors are started one at a time */
        mov     $enter_long_mode, %eax  /* this is a copy: only absolute addresses are right */
        call    *%eax
        ljmp    $0x08, $processor_start
        .align 8
trampoline_gdt:
        .word   gdt_end - gdt - 1
        .long   gdt
trampoline_end:
        .code64
processor_start:
        mov     %esp, %esp
        call    runtime_processor_start
4:      hlt
        jmp     4b

        .section .rodata
        .align 8
gdt:    .quad 0
        .quad 0x00AF9B000000FFFF        /* 0x08: 64-bit code */
        .quad 0x00CF93000000FFFF        /* 0x10: data */
        .quad 0x00CF9B000000FFFF        /* 0x18: 32-bit code */
gdt_end:
gdt_pointer:
        .word gdt_end - gdt - 1
        .quad gdt

        .bss
        .align PAGE
pml4:   .skip PAGE
pdpt:   .skip PAGE
page_directories:
        .skip PAGE * GIGABYTES
        .skip PAGE * 4
stack_top:

        .section .note.GNU-stack, "", @progbits
