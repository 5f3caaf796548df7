/**
 * A device's window in port or memory space. Addresses are relative to the window; values are unsigned and at most
 * 32 bits wide; the bus splits what is wider or straddles windows. What arrives is naturally aligned in the space.
 */
export interface IoHandler {
  /** The widest access that the device takes whole; the bus splits wider ones, low part first. Absent: 4 bytes. */
  readonly widest?: 1 | 2 | 4;
  /** `size` is 1, 2 or 4 bytes. Returns an unsigned number of that width. */
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
  /** Reads without side effects, for debuggers. Absent: the debugger reads all ones. */
  peek?(offset: number, size: number): number;
}

/** A claimed window, which its owner can move or close (a PCI BAR that is reprogrammed). */
export interface IoWindow {
  /** Moves the window; a window that is not mapped answers nothing. */
  map(start: number): void;
  unmap(): void;
}

/** Port or memory space, as devices claim windows of it. */
export interface IoSpace {
  /** Claims `size` addresses. Overlaps: the window mapped last wins, as is usual with PCI decoders. */
  claim(name: string, size: number, handler: IoHandler, start?: number): IoWindow;
}

/** The guest's side of both spaces, as an accelerator calls it in the middle of an instruction. */
export interface GuestIo {
  /** `size` is 1, 2 or 4. */
  portRead(port: number, size: number): number;
  portWrite(port: number, size: number, value: number): void;
  /** `gpa` below 2**52; `size` is 1, 2 or 4 (accelerators split 8-byte accesses, low half first). */
  mmioRead(gpa: number, size: number): number;
  mmioWrite(gpa: number, size: number, value: number): void;
}
