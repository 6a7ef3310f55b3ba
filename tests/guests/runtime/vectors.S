/* One stub for each interrupt vector, all leading to runtime_interrupt(vector, error code, address). */

        .section .text.vectors, "ax"
        .set vector, 0
stubs:
        .rept 256
        .align 16
        .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21
        nop                             /* the processor pushed an error code */
        nop
        .else
        push $0
        .endif
        push $vector
        jmp save
        .set vector, vector + 1
        .endr

save:
        push    %rax
        push    %rcx
        push    %rdx
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        cld
        mov     72(%rsp), %rdi
        mov     80(%rsp), %rsi
        mov     88(%rsp), %rdx
        call    runtime_interrupt
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rdx
        pop     %rcx
        pop     %rax
        add     $16, %rsp
        iretq

        .section .rodata
        .global vector_stubs
vector_stubs:
        .quad stubs

        .section .note.GNU-stack, "", @progbits
