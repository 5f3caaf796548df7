/** The IDE function of a PIIX3: 82371SB datasheet 290550-002 §2.3, §3.3; two channels at the ports that IDE has always had. */
import { get } from '../../bus/pci/config-space.js';
import { BusMasterDma } from '../../bus/pci/bus-master-dma.js';
import { PciFunction, type PciEnvironment } from '../../bus/pci/function.js';
import { COMMAND, HEADER } from '../../bus/pci/registers.js';
import type { IoHandler, IoWindow } from '../../iface/bus.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { IrqLine } from '../../iface/lines.js';
import { array, struct, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { AtaDrive } from '../ata/drive.js';
import { IdeChannel } from './channel.js';
import { channelSchema } from './channel-state.js';

/** IDETIM of each channel: bit 15 decodes its ports. SIDETIM: timing of second drives. */
const REG = { TIMING: 0x40, SECOND_TIMING: 0x44 } as const;
const DECODE = 0x8000;

/** Where the channels are. */
export const IDE_CHANNELS = [
  { command: 0x1f0, control: 0x3f6, irq: 14 },
  { command: 0x170, control: 0x376, irq: 15 },
] as const;

const stateSchema = (pci: PciFunction['stateSchema']) => struct({ pci, channels: array(channelSchema, { length: 2 }) });
type State = Infer<ReturnType<typeof stateSchema>>;

export interface Piix3IdeParts {
  readonly environment: PciEnvironment;
  readonly dma: Dma;
  /** ISA interrupts 14 and 15. */
  readonly irqs: readonly [IrqLine, IrqLine];
  /** First and second drive of the first channel, then of the second. */
  readonly drives: readonly (AtaDrive | undefined)[];
}

export class Piix3Ide implements Snapshotable<State> {
  readonly id = 'ide';
  readonly stateVersion = 1;
  readonly pci: PciFunction;
  private readonly channels: readonly IdeChannel[];
  private readonly windows: readonly { readonly command: IoWindow; readonly control: IoWindow }[];
  private readonly decoded: boolean[] = [false, false];

  constructor({ environment, dma, irqs, drives }: Piix3IdeParts) {
    this.pci = new PciFunction(
      this.id,
      // Mass storage, IDE, bus master; both channels at their fixed ports.
      { vendorId: 0x8086, deviceId: 0x7010, revision: 0, classCode: 0x010180 },
      environment,
    );
    const through = new BusMasterDma(this.pci, dma);
    this.channels = irqs.map(
      (irq, i) => new IdeChannel({ dma: through, irq, drives: [drives[2 * i], drives[2 * i + 1]] }),
    );
    const { ports } = environment;
    this.windows = this.channels.map((channel, i) => ({
      command: ports.claim(`ide${i}`, 8, channel.commandBlock),
      control: ports.claim(`ide${i}-control`, 1, channel.controlBlock),
    }));
    this.pci.addBar(4, { kind: 'io', size: 16, handler: this.busMasters() });
    const { config } = this.pci;
    // DEVIATION: the PIIX3 decodes nothing until firmware says so (reset value 0); OVMF looks for it elsewhere and does not.
    config.define(REG.TIMING, 2, { value: DECODE, writable: 0xf3ff });
    config.define(REG.TIMING + 2, 2, { value: DECODE, writable: 0xf3ff });
    config.define(REG.SECOND_TIMING, 1, { writable: 0xff });
    config.watch(REG.TIMING, 4, () => this.decode());
    config.watch(HEADER.COMMAND, 2, () => this.decode());
  }

  private decode(): void {
    const { config } = this.pci;
    const enabled = (config.get(HEADER.COMMAND, 2) & COMMAND.IO) !== 0;
    IDE_CHANNELS.forEach(({ command, control }, i) => {
      const wanted = enabled && (config.get(REG.TIMING + 2 * i, 2) & DECODE) !== 0;
      if (wanted === this.decoded[i]) return;
      this.decoded[i] = wanted;
      const windows = this.windows[i];
      if (wanted) {
        windows.command.map(command);
        windows.control.map(control);
      } else {
        windows.command.unmap();
        windows.control.unmap();
      }
    });
  }

  private busMasters(): IoHandler {
    const read = (offset: number, size: number): number => {
      const bytes = new Uint8Array(4);
      for (let i = 0; i < size; i++) bytes[i] = this.channels[(offset + i) >> 3].busMaster.read((offset + i) & 7);
      return get(bytes, 0, size);
    };
    return {
      read,
      peek: read,
      write: (offset, size, value) => {
        for (let i = 0; i < size; i++)
          this.channels[(offset + i) >> 3].busMaster.write((offset + i) & 7, (value >>> (8 * i)) & 0xff);
      },
    };
  }

  /** After a restore: goes on with what was under way. */
  resume(): void {
    for (const channel of this.channels) channel.resume();
  }

  get stateSchema(): ReturnType<typeof stateSchema> {
    return stateSchema(this.pci.stateSchema);
  }

  save(): State {
    return { pci: this.pci.save(), channels: this.channels.map((channel) => channel.save()) };
  }

  restore(state: State): void {
    this.pci.restore(state.pci);
    this.channels.forEach((channel, i) => channel.restore(state.channels[i]));
    this.decode();
  }
}
