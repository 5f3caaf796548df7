/* What Vitrine on KVM is held against: the same loop without a guest, and the same exits from a guest of C's. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

/* What the thread has had of a processor: what else the host does is not what is measured. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static int check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

/* Nanoseconds of so many rounds of a loop of four instructions. */
static double compute(uint64_t rounds)
{
    uint64_t value = 1;
    double began = now();
    __asm__ volatile("1: imul $29, %0, %0\n add $7, %0\n dec %1\n jnz 1b" : "+r"(value), "+r"(rounds)::"cc");
    return now() - began;
}

/* Nanoseconds of so many exits: OUT in a loop, in real mode. */
static double exits(int count)
{
    static const uint8_t code[] = {0xe6, 0x80, 0xeb, 0xfc}; /* out 0x80, al; jmp to it */
    int kvm = check(open("/dev/kvm", O_RDWR), "/dev/kvm");
    int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    check(ioctl(vm, KVM_SET_TSS_ADDR, 0xfeffd000), "KVM_SET_TSS_ADDR");
    uint8_t *memory = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memcpy(memory + 0x1000, code, sizeof code);
    struct kvm_userspace_memory_region region = {.memory_size = 0x10000, .userspace_addr = (uintptr_t)memory};
    check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
    int cpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    int size = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    struct kvm_sregs sregs;
    check(ioctl(cpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    check(ioctl(cpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
    struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
    check(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
    volatile int seen = 0;
    double began = 0;
    for (int i = -100; i < count; i++) {
        if (i == 0)
            began = now();
        check(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
        if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0x80) {
            fprintf(stderr, "exit %u\n", run->exit_reason);
            exit(1);
        }
        seen += *((uint8_t *)run + run->io.data_offset);
    }
    return now() - began;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    double time = strcmp(argv[1], "compute") == 0 ? compute(strtoull(argv[2], NULL, 10)) : exits(atoi(argv[2]));
    printf("%.0f\n", time);
    return 0;
}
