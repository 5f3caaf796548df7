/** What Ctrl-A and a key ask for. */
export type EscapeAction = 'quit' | 'help' | 'screen' | 'picture';

const CTRL_A = 1;
const ACTIONS: ReadonlyMap<string, EscapeAction> = new Map([
  ['x', 'quit'],
  ['h', 'help'],
  ['?', 'help'],
  ['s', 'screen'],
  ['p', 'picture'],
]);

export const ESCAPE_HELP = [
  'Ctrl-A h    this help',
  'Ctrl-A x    quit',
  'Ctrl-A s    show the VGA screen as text',
  'Ctrl-A p    write a picture of the screen to vitrine-N.png',
  'Ctrl-A a    send Ctrl-A',
];

/** Finds the escape key Ctrl-A in what is typed; everything else passes. */
export class EscapeKeys {
  private pending = false;

  constructor(private readonly act: (action: EscapeAction) => void) {}

  /** What the guest gets of these bytes. Actions are called as they are found. */
  filter(bytes: Uint8Array): Uint8Array {
    const passed: number[] = [];
    for (const byte of bytes) {
      if (!this.pending) {
        if (byte === CTRL_A) this.pending = true;
        else passed.push(byte);
        continue;
      }
      this.pending = false;
      const key = String.fromCharCode(byte).toLowerCase();
      const action = ACTIONS.get(key);
      if (action) this.act(action);
      // Ctrl-A a, and Ctrl-A twice, are one for the guest; other keys were no commands.
      else if (key === 'a' || byte === CTRL_A) passed.push(CTRL_A);
    }
    return Uint8Array.from(passed);
  }
}
