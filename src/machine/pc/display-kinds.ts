/** What a PC can show pictures with and be typed on (display.ts), by name. */

/**
 * `std`: a PCI card with large modes. `virtio`: the same, and a virtio GPU on one card. `isa`: a VGA without a card, as machines had
 * that were saved by old versions.
 */
export const VGA_KINDS = ['std', 'virtio', 'isa', 'none'] as const;
export type VgaKind = (typeof VGA_KINDS)[number];

/** `virtio`: a keyboard and a tablet besides the PS/2 ones. */
export const INPUT_KINDS = ['ps2', 'virtio'] as const;
export type InputKind = (typeof INPUT_KINDS)[number];
