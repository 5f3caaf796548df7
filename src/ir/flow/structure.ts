/**
 * Structured control flow from a graph of blocks: loops are nested as WebAssembly wants them, and everything else is a
 * sequence in which branches go forward. A loop is a strongly connected part of the graph; a block of it that can be reached
 * from outside but is not its header is reached through the header, by dispatch.
 */

export interface FlowGraph {
  readonly successors: readonly (readonly number[])[];
  /** Blocks that can be reached from outside, the first of them first. */
  readonly entries: readonly number[];
}

export type FlowItem =
  | { readonly kind: 'block'; readonly block: number }
  | { readonly kind: 'loop'; readonly header: number; readonly body: FlowSequence };

export interface FlowSequence {
  readonly items: readonly FlowItem[];
  /** Dispatched blocks below this sequence that are not its first, and the index of the item that each lies in. */
  readonly dispatch: readonly { readonly block: number; readonly item: number }[];
}

/** Where a block lies: the sequences around it from the outermost on, with the index of its item in each. */
export type FlowPath = readonly { readonly sequence: FlowSequence; readonly item: number }[];

export interface FlowStructure {
  readonly top: FlowSequence;
  readonly paths: ReadonlyMap<number, FlowPath>;
  /** Blocks that are reached by dispatch: the entries, and more where loops have several ways in. */
  readonly dispatched: ReadonlySet<number>;
  readonly headers: ReadonlySet<number>;
}

/** Strongly connected components of the blocks in `nodes`, in topological order (Tarjan). `edges` are within `nodes`. */
function components(nodes: readonly number[], edges: (node: number) => readonly number[]): number[][] {
  const index = new Map<number, number>();
  const low = new Map<number, number>();
  const stack: number[] = [];
  const onStack = new Set<number>();
  const found: number[][] = [];
  const visit = (node: number): void => {
    const mine = index.size;
    index.set(node, mine);
    let lowest = mine;
    stack.push(node);
    onStack.add(node);
    for (const next of edges(node)) {
      const seen = index.get(next);
      if (seen === undefined) {
        visit(next);
        lowest = Math.min(lowest, low.get(next) ?? lowest);
      } else if (onStack.has(next)) lowest = Math.min(lowest, seen);
    }
    low.set(node, lowest);
    if (lowest !== mine) return;
    const part: number[] = [];
    for (;;) {
      const member = stack.pop();
      if (member === undefined) break;
      onStack.delete(member);
      part.push(member);
      if (member === node) break;
    }
    found.push(part);
  };
  for (const node of nodes) if (!index.has(node)) visit(node);
  return found.reverse();
}

class Structurer {
  readonly paths = new Map<number, FlowPath>();
  readonly dispatched: Set<number>;
  readonly headers = new Set<number>();

  constructor(private readonly graph: FlowGraph) {
    this.dispatched = new Set(graph.entries);
  }

  structure(): FlowStructure {
    const all = this.graph.successors.map((_, i) => i);
    const reached = new Set<number>(this.graph.entries);
    for (const block of reached) for (const next of this.graph.successors[block]) reached.add(next);
    const nodes = all.filter((n) => reached.has(n));
    const top = this.sequence(nodes, undefined, this.graph.entries[0]);
    this.locate(top, []);
    return { top, paths: this.paths, dispatched: this.dispatched, headers: this.headers };
  }

  /** `header`: edges to it are taken out, and it comes first. */
  private sequence(nodes: readonly number[], header: number | undefined, first: number): FlowSequence {
    const members = new Set(nodes);
    const edges = (node: number): readonly number[] =>
      this.graph.successors[node].filter((to) => to !== header && members.has(to));
    // Starting with the first block, depth first, keeps what follows it near.
    const ordered = [first, ...nodes.filter((n) => n !== first)];
    const items: FlowItem[] = [];
    const parts = components(ordered, edges);
    // What nothing in the sequence leads to could stand before the header; the header has to be first.
    const at = parts.findIndex((part) => part.includes(first));
    if (header !== undefined && at > 0) parts.unshift(...parts.splice(at, 1));
    for (const part of parts) {
      const [only] = part;
      if (part.length === 1 && !edges(only).includes(only)) items.push({ kind: 'block', block: only });
      else items.push(this.loop(part));
    }
    return { items, dispatch: [] };
  }

  private loop(part: readonly number[]): FlowItem {
    const inside = new Set(part);
    const ways = new Set<number>();
    for (const [from, targets] of this.graph.successors.entries())
      if (!inside.has(from)) for (const to of targets) if (inside.has(to)) ways.add(to);
    const candidates = ways.size > 0 ? [...ways] : part.filter((n) => this.dispatched.has(n));
    // The block that most jumps inside the loop go to, of those that are ways in.
    const jumpsTo = (n: number): number => part.filter((from) => this.graph.successors[from].includes(n)).length;
    const header = candidates.reduce((best, n) => (jumpsTo(n) > jumpsTo(best) ? n : best), candidates[0]);
    for (const way of ways) if (way !== header) this.dispatched.add(way);
    this.headers.add(header);
    return { kind: 'loop', header, body: this.sequence(part, header, header) };
  }

  private locate(sequence: FlowSequence, above: FlowPath): number[] {
    const below: number[] = [];
    const dispatch = sequence.dispatch as { block: number; item: number }[];
    for (const [item, entry] of sequence.items.entries()) {
      const path = [...above, { sequence, item }];
      let blocks: number[];
      if (entry.kind === 'block') {
        this.paths.set(entry.block, path);
        blocks = [entry.block];
      } else blocks = this.locate(entry.body, path);
      for (const block of blocks) if (this.dispatched.has(block)) dispatch.push({ block, item });
      below.push(...blocks);
    }
    return below;
  }
}

/** Structures a graph. Blocks that no entry leads to are left out. */
export function structureFlow(graph: FlowGraph): FlowStructure {
  return new Structurer(graph).structure();
}

/** The block that is reached by going to the beginning of an item. */
export function frontOf(item: FlowItem): number {
  return item.kind === 'block' ? item.block : item.header;
}
