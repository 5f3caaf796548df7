/** What is plugged into a port of the keyboard controller. */
export interface Ps2Device {
  /** A byte from the host. The answer goes into the device's queue. */
  write(byte: number): void;
  /** The next byte for the host, taken out of the queue. */
  take(): number | undefined;
  /** Set by the controller; called when the queue is no longer empty. */
  onData: () => void;
}

/** Answers that all PS/2 devices give. */
export const PS2 = { ACK: 0xfa, RESEND: 0xfe, BAT_OK: 0xaa } as const;

/** Bytes that a device keeps for the host. What does not fit is lost, as in the real thing (which has 16 bytes). */
export const PS2_QUEUE = 256;
