import { describe, expect, it } from 'vitest';
import {
  BACK,
  CR4,
  FIRST,
  KEEP,
  LIN,
  OTHER,
  PROGRAM,
  PT2,
  PTE,
  USER,
  goToUser,
  invpcid,
  loadCr3,
  map,
  page,
  show,
  shown,
  spaces,
  toggle,
} from '../../../testing/address-spaces.js';
import { GuestBench, SEL, type Changes } from '../../../testing/x86-guest.js';
import { R, dword, ptr, type Assembler } from '../assembler/index.js';

const { P, W, U, G } = PTE;
const first = BigInt(FIRST.PML4);
const other = BigInt(OTHER.PML4);

describe('translations over loads of CR3 (SDM vol. 3 §4.10)', () => {
  const reload = (bits: number, cr4: bigint): number[] =>
    shown(cr4, (a) => {
      map(a, 1, bits);
      show(a);
      map(a, 2, bits);
      show(a);
      loadCr3(a, first);
      show(a);
      a.emit('invlpg', ptr([LIN]));
      show(a);
    });

  it('a load of CR3 forgets what is not global', () => {
    expect(reload(P | W, CR4.PGE)).toEqual([1, 1, 2, 2]);
    expect(reload(P | W | U, CR4.PGE)).toEqual([1, 1, 2, 2]);
  });

  it('global pages are kept, until INVLPG', () => {
    expect(reload(P | W | G, CR4.PGE)).toEqual([1, 1, 1, 2]);
  });

  it('without CR4.PGE there are no global pages', () => {
    expect(reload(P | W | G, 0n)).toEqual([1, 1, 2, 2]);
  });

  it('a change of CR4.PGE, or INVPCID of everything, forgets global pages too; INVPCID of all PCIDs does not', () => {
    const after = (forget: (a: Assembler) => void): number[] =>
      shown(CR4.PGE, (a) => {
        map(a, 1, P | G);
        show(a);
        map(a, 2, P | G);
        forget(a);
        show(a);
      });
    expect(after((a) => toggle(a, CR4.PGE))).toEqual([1, 2]);
    expect(after((a) => invpcid(a, 2, 0))).toEqual([1, 2]);
    expect(after((a) => invpcid(a, 3, 0))).toEqual([1, 1]);
  });

  it('more pages than any list of ours takes, again and again', () => {
    const g = new GuestBench();
    const changes = spaces(g, CR4.PGE);
    for (let n = 0; n < 512; n++) g.setU64(PT2 + n * 8, BigInt(page(n & 7) | P | W));
    g.asm(64, PROGRAM, (a) => {
      a.emit('mov', R.r8d, 700);
      const again = a.label();
      a.bind(again);
      a.emit('mov', R.ecx, 512);
      a.emit('mov', R.ebx, LIN);
      const next = a.label();
      a.bind(next);
      a.emit('add', R.esi, dword([R.rbx]));
      a.emit('add', R.rbx, 0x1000);
      a.emit('dec', R.ecx);
      a.emit('jne', next);
      // The next round finds other pages.
      a.emit('xor', dword([PT2 + 0x80]), 0x1000);
      a.emit('mov', R.rax, R.cr3);
      a.emit('mov', R.cr3, R.rax);
      a.emit('dec', R.r8d);
      a.emit('jne', again);
      a.emit('hlt');
    });
    g.set({ ...changes, gpr: { ...changes.gpr, rsi: 0n } });
    expect(g.run(10_000_000)).toEqual({ kind: 'halt' });
    // Page 0x10 is that of number 0 in one round and of number 1 in the next.
    expect(g.reg('rsi')).toBe(BigInt(700 * 28 * 64 + 350));
  });

  it('code of the supervisor: pages that are not global are fetched anew, global ones are kept', () => {
    const fetched = (bits: number): number[] =>
      shown(
        CR4.PGE,
        (a) => {
          const call = (): void => {
            a.emit('mov', R.ebx, LIN);
            a.emit('call', R.rbx);
            a.emit('out', 0x80, R.eax);
          };
          map(a, 8, bits);
          call();
          map(a, 9, bits);
          loadCr3(a, first);
          call();
          a.emit('invlpg', ptr([LIN]));
          call();
        },
        (g) => {
          // mov eax, n; ret
          for (const n of [8, 9]) g.bytes(page(n), [0xb8, n, 0, 0, 0, 0xc3]);
          return {};
        },
      );
    expect(fetched(P)).toEqual([8, 9, 9]);
    expect(fetched(P | G)).toEqual([8, 8, 9]);
  });

  it('INVLPG forgets the paging-structure entries of all addresses', () => {
    const after = (forget: (a: Assembler) => void): number[] =>
      shown(CR4.PGE, (a) => {
        map(a, 1, P | W);
        map(a, 2, P | W, OTHER.PT, LIN + 0x1000);
        show(a);
        a.emit('mov', dword([FIRST.PD + 16]), OTHER.PT | P | W);
        forget(a);
        show(a, LIN + 0x1000);
      });
    expect(after((a) => a.emit('invlpg', ptr([0x7000_0000])))).toEqual([1, 2]);
    expect(after((a) => loadCr3(a, first))).toEqual([1, 2]);
  });

  it('what paging-structure entries that are out of date would deny is looked up again before a fault', () => {
    expect(
      shown(0n, (a) => {
        map(a, 1, P | W);
        show(a);
        map(a, 2, P | W, OTHER.PT, LIN + 0x1000);
        a.emit('mov', dword([FIRST.PD + 16]), OTHER.PT | P | W);
        show(a, LIN + 0x1000);
      }),
    ).toEqual([1, 2]);
  });
});

describe('PCIDs (SDM vol. 3 §4.10.1)', () => {
  const CR4_PCIDE = CR4.PGE | CR4.PCIDE;

  /** Both spaces map LIN, are seen, and change; then `switchTo` loads CR3 again. */
  const switched = (forget: (a: Assembler) => void, second: bigint): number[] =>
    shown(CR4_PCIDE, (a) => {
      map(a, 1, P | W, FIRST.PT);
      map(a, 2, P | W, OTHER.PT);
      loadCr3(a, first | 1n);
      show(a);
      loadCr3(a, other | 2n);
      show(a);
      map(a, 3, P | W, FIRST.PT);
      map(a, 4, P | W, OTHER.PT);
      forget(a);
      show(a);
      loadCr3(a, second);
      show(a);
    });

  it('each space has its own; bit 63 of CR3 is not needed to be right', () => {
    expect(switched(() => undefined, first | 1n)).toEqual([1, 2, 2, 3]);
  });

  it('INVPCID of another PCID, and of one address of it', () => {
    const keep = first | 1n | KEEP;
    expect(switched((a) => invpcid(a, 1, 1), keep)).toEqual([1, 2, 2, 3]);
    expect(switched((a) => invpcid(a, 0, 1, LIN), keep)).toEqual([1, 2, 2, 3]);
    expect(switched((a) => invpcid(a, 3, 0), keep)).toEqual([1, 2, 4, 3]);
    expect(switched((a) => invpcid(a, 2, 0), keep)).toEqual([1, 2, 4, 3]);
    expect(switched((a) => toggle(a, CR4.PGE), keep)).toEqual([1, 2, 4, 3]);
  });

  it('INVPCID of the current PCID, and INVLPG', () => {
    for (const forget of [
      (a: Assembler): void => invpcid(a, 1, 2),
      (a: Assembler): void => invpcid(a, 0, 2, LIN),
      (a: Assembler): void => {
        a.emit('invlpg', ptr([LIN]));
      },
    ])
      expect(switched(forget, first | 1n).slice(0, 3)).toEqual([1, 2, 4]);
  });

  it('more PCIDs than are kept', () => {
    const results = shown(CR4_PCIDE, (a) => {
      map(a, 1, P | W, FIRST.PT);
      map(a, 2, P | W, OTHER.PT);
      for (let round = 0; round < 2; round++) {
        for (let pcid = 1n; pcid <= 20n; pcid++) {
          loadCr3(a, (pcid & 1n ? first : other) | pcid | (round === 0 ? 0n : KEEP));
          show(a);
        }
      }
    });
    expect(results).toEqual(Array.from({ length: 40 }, (_, n) => 1 + (n & 1)));
  });
});

/** Enters ring 3 at the user code of both spaces; it comes back to what `back` emits, with EFLAGS as it was there. */
function inUser(user: (a: Assembler) => void, back: (a: Assembler) => void): (g: GuestBench) => Changes {
  return (g) => {
    g.asm(64, USER, user);
    g.asm(64, BACK, (a) => {
      back(a);
      a.emit('hlt');
    });
    return {};
  };
}
describe('pages of user mode and the supervisor (SDM vol. 3 §4.6)', () => {
  it('SMAP: what was read with EFLAGS.AC set is out of reach when it is clear', () => {
    for (const clear of [
      (a: Assembler): void => {
        a.emit('clac');
      },
      (a: Assembler): void => {
        a.emit('push', 2);
        a.emit('popfq');
      },
    ]) {
      const results = shown(CR4.SMAP, (a) => {
        map(a, 1, P | W | U);
        for (let n = 0; n < 3; n++) {
          a.emit('stac');
          show(a);
          a.emit('mov', dword([LIN + 4]), R.eax);
          clear(a);
        }
        show(a);
      });
      expect(results).toEqual([1, 1, 1, -15]);
    }
  });

  it('SMAP: nor is it written to', () => {
    const results = shown(CR4.SMAP, (a) => {
      map(a, 1, P | W | U);
      a.emit('stac');
      a.emit('mov', dword([LIN]), 5);
      show(a);
      a.emit('clac');
      a.emit('mov', dword([LIN]), 6);
    });
    expect(results).toEqual([5, -15]);
  });

  it('SMAP: EFLAGS.AC does not open user pages to implicit accesses', () => {
    // A descriptor table on a user page: loading a segment reads it.
    const load = (cr4: bigint): string => {
      const g = new GuestBench();
      const changes = spaces(g, cr4);
      g.setU64(page(1) + SEL.DATA0, 0x00cf_9300_0000_ffffn);
      g.setU16(0x3800, 0xfff);
      g.setU64(0x3802, BigInt(LIN));
      g.asm(64, PROGRAM, (a) => {
        map(a, 1, P | W | U);
        a.emit('stac');
        show(a);
        a.emit('mov', dword([LIN]), R.eax);
        a.emit('lgdt', ptr([0x3800]));
        a.emit('mov', R.ecx, SEL.DATA0);
        a.emit('mov', R.ds, R.cx);
        a.emit('hlt');
      });
      g.set(changes);
      return g.run().kind;
    };
    expect(load(0n)).toBe('halt');
    // The page fault finds no code segment in that table either.
    expect(load(CR4.SMAP)).toBe('shutdown');
  });

  it('user mode sees the change after INVLPG or CR3 in the supervisor, which had read the page itself', () => {
    for (const cr4 of [CR4.PGE, CR4.PGE | CR4.PCIDE, CR4.SMAP]) {
      const results = shown(
        cr4,
        (a) => {
          map(a, 1, P | W | U);
          a.emit('mov', R.r15d, 0);
          goToUser(a);
        },
        inUser(
          (a) => {
            show(a);
            a.emit('int', 0x77);
          },
          (a) => {
            const done = a.label();
            a.emit('inc', R.r15d);
            a.emit('cmp', R.r15d, 4);
            a.emit('je', done);
            a.emit('stac');
            show(a);
            a.emit('clac');
            a.emit('add', dword([PT2]), 0x1000);
            const odd = a.label();
            const on = a.label();
            a.emit('test', R.r15d, 1);
            a.emit('jne', odd);
            a.emit('invlpg', ptr([LIN]));
            a.emit('jmp', on);
            a.bind(odd);
            loadCr3(a, first);
            a.bind(on);
            goToUser(a, 0x3002);
            a.bind(done);
          },
        ),
      );
      expect(results).toEqual([1, 1, 2, 2, 3, 3, 4]);
    }
  });

  it('user mode does not get what the supervisor entered in the place of a user page', () => {
    // In the TLB, pages 2048 apart meet.
    const FAR = LIN + 0x80_0000;
    for (const cr4 of [0n, CR4.SMAP]) {
      const results = shown(
        cr4,
        (a) => {
          map(a, 1, P | W | U);
          a.emit('mov', dword([FIRST.PD + 6 * 8]), OTHER.PT | P | W | U);
          map(a, 2, P | W, OTHER.PT);
          a.emit('stac');
          show(a);
          a.emit('mov', dword([LIN]), 1);
          show(a, FAR);
          a.emit('mov', dword([FAR]), 2);
          a.emit('clac');
          goToUser(a, 0x3002);
        },
        inUser(
          (a) => show(a, FAR),
          () => undefined,
        ),
      );
      expect(results).toEqual([1, 2, -15]);
    }
  });

  it('user mode may not write where the supervisor could without CR0.WP', () => {
    const results = shown(
      0n,
      (a) => {
        map(a, 1, P | U);
        a.emit('mov', dword([LIN]), 7);
        show(a);
        goToUser(a, 0x3002);
      },
      inUser(
        (a) => {
          show(a);
          a.emit('mov', dword([LIN]), 8);
        },
        () => undefined,
      ),
    );
    expect(results).toEqual([7, 7, -15]);
  });

  it('nothing of a user page stays with the supervisor when all translations went while it used the page', () => {
    const results = shown(
      CR4.PGE,
      (a) => {
        map(a, 1, P | W | U);
        map(a, 2, P | W | U, OTHER.PT);
        map(a, 3, P | G, PT2, LIN + 0x1000);
        a.emit('mov', dword([LIN]), 11);
        // A global page that code was fetched from: nothing less than everything goes.
        a.emit('mov', R.ebx, LIN + 0x1000);
        a.emit('call', R.rbx);
        a.emit('invlpg', ptr([LIN + 0x1000]));
        goToUser(a, 0x3002);
      },
      (g) => {
        g.bytes(page(3), [0xc3]);
        return inUser(
          (a) => {
            a.emit('mov', dword([LIN]), 12);
            a.emit('int', 0x77);
          },
          (a) => {
            loadCr3(a, other);
            a.emit('mov', dword([LIN]), 13);
            loadCr3(a, first);
            show(a);
          },
        )(g);
      },
    );
    expect(results).toEqual([12]);
  });

  it('user code is fetched anew in another space', () => {
    const results = shown(
      CR4.PGE | CR4.PCIDE | CR4.SMEP,
      (a) => {
        a.emit('mov', dword([OTHER.PT + 0x10 * 8]), page(9) | P | U);
        a.emit('mov', R.r15d, 0);
        goToUser(a, 0x3002);
      },
      (g) => {
        // mov eax, n; out 80h, eax; int 77h
        for (const [at, n] of [
          [USER, 8],
          [page(9), 9],
        ])
          g.bytes(at, [0xb8, n, 0, 0, 0, 0xe7, 0x80, 0xcd, 0x77]);
        g.asm(64, BACK, (a) => {
          const done = a.label();
          const even = a.label();
          a.emit('inc', R.r15d);
          a.emit('cmp', R.r15d, 6);
          a.emit('je', done);
          a.emit('test', R.r15d, 1);
          a.emit('je', even);
          loadCr3(a, other | 2n | KEEP);
          goToUser(a, 0x3002);
          a.bind(even);
          loadCr3(a, first | KEEP);
          goToUser(a, 0x3002);
          a.bind(done);
          a.emit('hlt');
        });
        return {};
      },
    );
    expect(results).toEqual([8, 9, 8, 9, 8, 9]);
  });
});
