/**
 * Which code becomes one region: what is reached from a hot instruction by direct jumps, small functions as often as they are
 * called, as far as it is decoded. The result is a graph of blocks over decoded records.
 */
import type { Instruction } from '../../../arch/x86/instructions/row.js';
import { MICRO } from '../micro.js';
import { RECORD_SIZE } from '../state-layout.js';
import { semanticsOf } from '../semantics/index.js';
import type { Variant } from '../variants.js';
import type { CodePage, CodeView } from './code-view.js';

/** Instructions in a region, at most. */
export const REGION_LIMIT = 256;
/** Instructions in a block, at most: exits carry their number in five bits. */
export const BLOCK_LIMIT = 31;
/** Instructions of a function that is translated with its caller, at most, and how deep such calls nest. */
const INLINE_LIMIT = 40;
const INLINE_DEPTH = 3;
/** Pages that a region can lie in. */
const PAGE_LIMIT = 30;

/** Jumps to a place that make it part of regions. */
const WARM = 90;

const PAGE_BYTES = 4096;
const PAGE_MASK = ~0xfffn;

/** Where a block ends up: in the region, at a record of the same page, or at an address relative to its page. */
export type Target =
  | { readonly kind: 'block'; readonly block: number }
  | { readonly kind: 'record'; readonly record: number; readonly offset: number }
  | { readonly kind: 'address'; readonly offset: number };

export interface RegionPage {
  readonly code: CodePage;
  /** Of its first byte, less that of the first page's. */
  readonly delta: number;
  /** How often translated code of the page has been overwritten: once more, and the region is none any more. */
  readonly writes: number;
}

/** A decoded instruction of a region. */
export interface Unit {
  /** Where the interpreter would begin it: its address micro-record, when it has one. */
  readonly start: number;
  readonly record: number;
  readonly variant: Variant;
  /** It ends in another page, which has to be proved first. */
  readonly straddles?: number;
}

export interface RegionBlock {
  readonly id: number;
  /** Index in the region's pages. */
  readonly page: number;
  readonly offset: number;
  /** The first record: where the interpreter would begin. */
  readonly start: number;
  /** 0: not inside a function that was translated with its caller. */
  readonly context: number;
  readonly units: readonly Unit[];
  /** Where the direct branch at the end goes. */
  readonly taken: Target | undefined;
  /** Where it goes on otherwise; undefined: it does not. */
  readonly next: Target | undefined;
  /** The record to leave to the interpreter at the end. */
  readonly stop: number | undefined;
  /** Where the return at the end most likely goes. */
  readonly expected: Target | undefined;
  /** The instruction after a call at the end, where execution comes back from elsewhere. */
  readonly returnsTo: number | undefined;
}

export interface RegionGraph {
  readonly blocks: readonly RegionBlock[];
  readonly pages: readonly RegionPage[];
  readonly units: number;
  /** Blocks that were asked for besides the first. */
  readonly roots: readonly number[];
  /** Whether it is 64-bit code. */
  readonly is64: boolean;
}

interface Context {
  readonly depth: number;
  readonly parent: Context | undefined;
  readonly number: number;
  /** The function it is for, and where that returns to in the parent. */
  readonly page: number;
  readonly offset: number;
  readonly back: { readonly page: number; readonly offset: number } | undefined;
}

/** A block as it is found: its units can still be cut when somebody jumps into the middle. */
interface Node {
  readonly context: Context;
  readonly page: number;
  readonly offset: number;
  readonly start: number;
  unit: Unit | undefined;
  /** What follows, by fall-through. */
  next: Place | undefined;
  taken: Place | undefined;
  isCall: boolean;
  stop: number | undefined;
  /** Where it falls through to when `next` is not known, from the beginning of the page. */
  away: number | undefined;
  expected: Place | undefined;
  returnsTo: Place | undefined;
  isLeader: boolean;
}

interface Place {
  readonly context: Context;
  readonly page: number;
  readonly offset: number;
}

export interface ScanOptions {
  /** Instructions, at most. */
  readonly limit: number;
  readonly view: CodeView;
  /** What a handler number stands for; undefined: nothing that can be translated. */
  readonly variantOf: (handler: number) => Variant | undefined;
  /** So often may translated code of a page have been overwritten. */
  readonly patience: number;
  /** Whether a record is going to be an entry of a region that is under way. */
  isExpected(record: number): boolean;
  /** Whether code that is in other regions becomes part of this one, too. */
  readonly merges: boolean;
}

const hasDirectTarget = (row: Instruction): boolean => row.operands[0]?.kind === 'J';

export class Scanner {
  private readonly pages: RegionPage[] = [];
  private readonly nodes = new Map<number, Node>();
  private readonly leaders: Place[] = [];
  private contexts = 0;
  private count = 0;
  private readonly base: bigint;
  private readonly key: number;
  private readonly is64: boolean;
  private root = 0;

  constructor(private readonly options: ScanOptions) {
    const { view } = options;
    this.base = view.state64('CODE_BASE');
    this.key = view.state32('MODE_KEY') & 15;
    this.is64 = (this.key & 3) === 2;
  }

  /**
   * The region that begins at a record of the current page, and at other addresses; undefined when there is nothing to gain.
   */
  scan(record: number, others: readonly bigint[] = []): RegionGraph | undefined {
    const { view } = this.options;
    // 16-bit code and segments with limits are the interpreter's.
    if ((this.key & 3) === 0 || (this.key & 4) === 0) return undefined;
    const offset = view.offset(record);
    if (this.pageAt(0) === undefined || view.record(this.pages[0].code, offset) !== record) return undefined;
    this.root = record;
    const root: Context = { depth: 0, parent: undefined, number: this.contexts++, page: 0, offset, back: undefined };
    this.lead({ context: root, page: 0, offset });
    const roots = others.flatMap((rip) => this.placeAt(rip, root) ?? []);
    for (const place of roots) this.lead(place);
    for (let i = 0; i < this.leaders.length && this.count < this.options.limit; i++) this.follow(this.leaders[i]);
    if (this.count === 0) return undefined;
    return this.cut(roots);
  }

  /** Index of the page that lies `delta` bytes behind the first. */
  private pageAt(delta: number): number | undefined {
    const known = this.pages.findIndex((p) => p.delta === delta);
    if (known >= 0) return known;
    if (this.pages.length >= PAGE_LIMIT) return undefined;
    const { view } = this.options;
    let linear = this.base + BigInt(delta);
    if (!this.is64) linear = BigInt.asUintN(32, linear);
    if (linear & ~PAGE_MASK) return undefined;
    const host = view.fetchPage(linear);
    const code = host === undefined ? undefined : view.page(host, this.key);
    if (code === undefined || view.writes(code) > this.options.patience) return undefined;
    this.pages.push({ code, delta, writes: view.writes(code) });
    return this.pages.length - 1;
  }

  /** The record at an offset in the current page, or 0. */
  recordAt(offset: number): number {
    return this.pageAt(0) === undefined ? 0 : this.options.view.record(this.pages[0].code, offset);
  }

  /** The decoded place at an address, when it is near. */
  private placeAt(rip: bigint, context: Context): Place | undefined {
    const away = BigInt.asIntN(64, rip - this.base);
    if (away < -(2n ** 31n) || away > 2n ** 31n) return undefined;
    return this.pages.length === 0 ? undefined : this.across({ context, page: 0, offset: 0 }, Number(away));
  }

  private static key({ context, page, offset }: Place): number {
    return (context.number * PAGE_LIMIT + page) * PAGE_BYTES + offset;
  }

  private lead(place: Place): void {
    const known = this.nodes.get(Scanner.key(place));
    if (known) known.isLeader = true;
    else this.leaders.push(place);
  }

  /** Walks from a leader until something ends the run. */
  private follow(from: Place): void {
    const { view, variantOf } = this.options;
    let place = from;
    let record = view.record(this.pages[place.page].code, place.offset);
    for (let isLeader = true; ; isLeader = false) {
      const known = this.nodes.get(Scanner.key(place));
      if (known) {
        known.isLeader = true;
        return;
      }
      if (record === 0 || this.count >= this.options.limit || (!isLeader && this.isElsewhere(place))) return;
      while (view.handler(record) === MICRO.GOTO) record = view.link(record);
      const { context, page, offset } = place;
      const node: Node = {
        context,
        page,
        offset,
        start: record,
        unit: undefined,
        next: undefined,
        taken: undefined,
        isCall: false,
        stop: undefined,
        away: undefined,
        expected: undefined,
        returnsTo: undefined,
        isLeader,
      };
      this.nodes.set(Scanner.key(place), node);
      if (view.handler(record) === MICRO.STRADDLE) {
        this.straddle(node, record);
        return;
      }
      const own = view.handler(record) === MICRO.EA_SEG ? record + RECORD_SIZE : record;
      const handler = view.handler(own);
      if (handler === MICRO.NEXT_PAGE) {
        node.next = this.across(place, view.offset(own));
        if (node.next) this.lead(node.next);
        else node.stop = record;
        return;
      }
      const variant = variantOf(handler);
      if (variant === undefined || !isTranslatable(variant)) {
        node.stop = record;
        return;
      }
      node.unit = { start: record, record: own, variant };
      this.count++;
      const after: Place = { context, page, offset: offset + view.byte(own, 'LENGTH') };
      if (variant.row.attributes.has('branch') || variant.row.attributes.has('end')) {
        this.branch(node, after);
        return;
      }
      node.next = after;
      place = after;
      record = own + RECORD_SIZE;
      // The page ends here, or another run is known to begin here.
      if (after.offset >= PAGE_BYTES) {
        const there = this.across(place, after.offset);
        if (there && view.handler(record) === MICRO.NEXT_PAGE) {
          node.next = there;
          this.lead(there);
        } else node.stop = record;
        if (node.stop !== undefined) node.next = undefined;
        return;
      }
    }
  }

  /** An instruction that ends in the next page: translated when it is decoded, and what follows it too. */
  private straddle(node: Node, micro: number): void {
    const { view, variantOf } = this.options;
    node.stop = micro;
    // It may be a debugger's breakpoint.
    if (view.state32('GDB_FLAGS') !== 0) return;
    const { code, delta } = this.pages[node.page];
    const page = this.pageAt(delta + PAGE_BYTES);
    if (page === undefined) return;
    let rip = this.base + BigInt(delta + node.offset);
    if (!this.is64) rip = BigInt.asUintN(32, rip);
    const second = this.pages[page];
    const record = view.straddle(rip, code.host + node.offset, second.code.host, this.key);
    if (record === 0 || view.handler(record) === MICRO.EA_SEG) return;
    const variant = variantOf(view.handler(record));
    if (variant === undefined || !isTranslatable(variant)) return;
    const after = { context: node.context, page: node.page, offset: node.offset + view.byte(record, 'LENGTH') };
    const following = this.across(after, after.offset);
    node.stop = undefined;
    node.unit = { start: micro, record, variant, straddles: page };
    this.count++;
    if (variant.row.attributes.has('branch') || variant.row.attributes.has('end')) this.branch(node, after);
    else this.goOn(node, following, after.offset);
  }

  /** Falls through to a place, or out to an address when that is not known. */
  private goOn(node: Node, to: Place | undefined, offset: number): void {
    if (to && !this.isElsewhere(to)) {
      node.next = to;
      this.lead(to);
    } else node.away = offset;
  }

  /** The place at an offset beyond a page, when it is decoded. */
  private across(from: Place, offset: number): Place | undefined {
    const away = Math.floor(offset / PAGE_BYTES) * PAGE_BYTES;
    const page = this.pageAt(this.pages[from.page].delta + away);
    if (page === undefined) return undefined;
    const place = { context: from.context, page, offset: offset - away };
    return this.options.view.record(this.pages[page].code, place.offset) === 0 ? undefined : place;
  }

  private branch(node: Node, after: Place): void {
    const { view } = this.options;
    const { unit } = node;
    if (unit === undefined) return;
    const { row } = unit.variant;
    const falls = !row.attributes.has('end');
    const afterwards = after.offset < PAGE_BYTES ? after : this.across(after, after.offset);
    if (hasDirectTarget(row)) {
      const target = this.across(node, Number(view.immediate(unit.record)));
      if (row.name === 'call') this.call(node, target, afterwards);
      else if (target && this.isWarm(target) && !this.isElsewhere(target)) {
        node.taken = target;
        this.lead(target);
      }
      if (row.name === 'call' || !falls) return;
      this.goOn(node, afterwards, after.offset);
      return;
    }
    if (row.name === 'ret' || row.name === 'ret_imm') {
      const { back, parent } = node.context;
      if (back && parent) node.expected = { context: parent, ...back };
    } else if (row.name === 'call_ind') {
      node.isCall = true;
      this.comeBack(node, afterwards);
    } else if (falls) {
      // A helper that may leave the flow.
      this.goOn(node, afterwards, after.offset);
    }
  }

  private call(node: Node, target: Place | undefined, afterwards: Place | undefined): void {
    node.isCall = true;
    const { context } = node;
    if (target && afterwards && context.depth < INLINE_DEPTH && this.isWarm(target) && this.isSmall(target)) {
      const inner: Context = {
        depth: context.depth + 1,
        parent: context,
        number: this.contexts++,
        page: target.page,
        offset: target.offset,
        back: { page: afterwards.page, offset: afterwards.offset },
      };
      node.taken = { ...target, context: inner };
      this.lead(node.taken);
    }
    this.comeBack(node, afterwards);
  }

  /** Execution comes back behind a call. */
  private comeBack(node: Node, afterwards: Place | undefined): void {
    if (afterwards === undefined || !this.isWarm(afterwards) || this.isElsewhere(afterwards)) return;
    node.returnsTo = afterwards;
    this.lead(afterwards);
  }

  /** Whether another region can be entered there, so that nothing is gained by having it here, too. */
  private isElsewhere(place: Place): boolean {
    if (this.options.merges || place.context.depth > 0 || this.nodes.has(Scanner.key(place))) return false;
    const { view } = this.options;
    const record = view.record(this.pages[place.page].code, place.offset);
    return record !== 0 && record !== this.root && (view.isTranslated(record) || this.options.isExpected(record));
  }

  /** Whether enough has jumped there to make it worth translating. */
  private isWarm(place: Place): boolean {
    const { view } = this.options;
    const record = view.record(this.pages[place.page].code, place.offset);
    return record !== 0 && (view.isTranslated(record) || view.jumps(record) >= WARM);
  }

  /** Whether a function is small enough to be translated with each of its callers. */
  private isSmall(target: Place): boolean {
    const { view, variantOf } = this.options;
    const seen = new Set<number>();
    const queue = [target.offset];
    const { code } = this.pages[target.page];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      let record = next < PAGE_BYTES && next >= 0 ? view.record(code, next) : 0;
      while (record !== 0) {
        while (view.handler(record) === MICRO.GOTO) record = view.link(record);
        const own = view.handler(record) === MICRO.EA_SEG ? record + RECORD_SIZE : record;
        if (seen.has(own)) break;
        const variant = variantOf(view.handler(own));
        if (variant === undefined) break;
        seen.add(own);
        if (seen.size > INLINE_LIMIT) return false;
        const { row } = variant;
        const ends = row.attributes.has('end');
        if (hasDirectTarget(row) && row.name !== 'call') queue.push(Number(view.immediate(own)));
        if (ends && row.name !== 'call') break;
        record = own + RECORD_SIZE;
      }
    }
    return seen.size > 0;
  }

  /** Makes blocks of the nodes. */
  private cut(roots: readonly Place[]): RegionGraph {
    const heads = [...this.nodes.values()].filter((n) => n.isLeader);
    const ids = new Map<Node, number>();
    const chains: Node[][] = [];
    for (let i = 0; i < heads.length; i++) {
      ids.set(heads[i], i);
      const chain: Node[] = [];
      for (let node: Node | undefined = heads[i]; node;) {
        chain.push(node);
        const following: Node | undefined = node.next && this.nodes.get(Scanner.key(node.next));
        if (node.taken || node.isCall || following === undefined || following.isLeader) break;
        if (node.page !== following.page) following.isLeader = true;
        if (chain.length === BLOCK_LIMIT) following.isLeader = true;
        if (following.isLeader) {
          if (!ids.has(following) && !heads.includes(following)) heads.push(following);
          break;
        }
        node = following;
      }
      chains.push(chain);
    }
    const target = (place: Place, from: Node): Target => {
      const node = this.nodes.get(Scanner.key(place));
      const id = node && ids.get(node);
      if (id !== undefined) return { kind: 'block', block: id };
      const delta = this.pages[place.page].delta - this.pages[from.page].delta;
      if (delta !== 0) return { kind: 'address', offset: place.offset + delta };
      const record = this.options.view.record(this.pages[place.page].code, place.offset);
      if (record === 0) return { kind: 'address', offset: place.offset };
      return { kind: 'record', record, offset: place.offset };
    };
    const blocks = chains.map((chain, id): RegionBlock => {
      const [first] = chain;
      const last = chain[chain.length - 1];
      const units = chain.flatMap((n) => (n.unit ? [n.unit] : []));
      const away = last.unit && hasDirectTarget(last.unit.variant.row) ? this.outside(last, last.unit) : undefined;
      const back = last.returnsTo && this.nodes.get(Scanner.key(last.returnsTo));
      return {
        id,
        page: first.page,
        offset: first.offset,
        start: first.start,
        context: first.context.number,
        units,
        taken: last.taken ? target(last.taken, last) : away,
        next: last.next
          ? target(last.next, last)
          : last.away === undefined
            ? undefined
            : this.outsideAt(last, last.away),
        stop: last.stop,
        expected: last.expected ? target(last.expected, last) : undefined,
        returnsTo: back && ids.get(back),
      };
    });
    const found = roots.flatMap((place) => {
      const node = this.nodes.get(Scanner.key(place));
      return (node && ids.get(node)) ?? [];
    });
    return { blocks, pages: this.pages, units: this.count, roots: found, is64: this.is64 };
  }

  /** Where a direct branch goes, as seen from outside the region. */
  private outside(node: Node, unit: Unit): Target {
    return this.outsideAt(node, Number(this.options.view.immediate(unit.record)));
  }

  private outsideAt(node: Node, offset: number): Target {
    const { view } = this.options;
    const record = offset >= 0 && offset < PAGE_BYTES ? view.record(this.pages[node.page].code, offset) : 0;
    return record === 0 ? { kind: 'address', offset } : { kind: 'record', record, offset };
  }
}

/** The rest is left to the interpreter. */
function isTranslatable({ row, osz, stack }: Variant): boolean {
  // When its helper faults it has written to the stack, perhaps where it reads: it must not be executed again.
  if (row.name === 'enter') return false;
  if (row.attributes.has('stack') && stack === 'segmented') return false;
  // Branches that cut RIP to 16 bits.
  if (osz === 16 && row.operands[0]?.kind === 'J') return false;
  return osz !== 16 || !row.attributes.has('branch') || semanticsOf({ row, osz, stack } as Variant) === undefined;
}
