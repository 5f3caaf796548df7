/* Entry, and the one way into the kernel. */
    .section .note.GNU-stack, "", @progbits
    .text
    .globl _start, sys

#ifdef __x86_64__
/* psABI for x86-64, 3.4.1: argc is at the stack pointer, which is aligned to 16 bytes. */
_start:
    xor %ebp, %ebp
    mov (%rsp), %rdi
    lea 8(%rsp), %rsi
    and $-16, %rsp
    call agent_main
    ud2

/* sys(number, a, b, c, d, e, f): psABI A.2.1, arguments in rdi, rsi, rdx, r10, r8, r9. */
sys:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    syscall
    ret
#else
_start:
    xor %ebp, %ebp
    mov (%esp), %eax
    lea 4(%esp), %edx
    and $-16, %esp
    sub $8, %esp
    push %edx
    push %eax
    call agent_main
    ud2

/* Arguments in ebx, ecx, edx, esi, edi, ebp. */
sys:
    push %ebp
    push %edi
    push %esi
    push %ebx
    mov 20(%esp), %eax
    mov 24(%esp), %ebx
    mov 28(%esp), %ecx
    mov 32(%esp), %edx
    mov 36(%esp), %esi
    mov 40(%esp), %edi
    mov 44(%esp), %ebp
    int $0x80
    pop %ebx
    pop %esi
    pop %edi
    pop %ebp
    ret
#endif
