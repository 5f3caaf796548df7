/** The intermediate form as text, for people: a statement a line, what is used once written where it is used. */
import type { Block, Node, Statement, Variable } from './nodes.js';

export interface FormNames {
  readonly variable?: (variable: Variable) => string | undefined;
  /** Of an i32 constant. */
  readonly constant?: (value: number) => string | undefined;
  /** Of a constant address in memory. */
  readonly address?: (address: number) => string | undefined;
  /** What an exit stands for. */
  readonly exit?: (name: string) => string;
}

const children = (node: Node): readonly Node[] => {
  switch (node.kind) {
    case 'pure':
    case 'division':
    case 'call':
      return node.args;
    case 'select':
      return [node.condition, node.yes, node.no];
    case 'load':
      return [node.address];
    case 'cmpxchg':
      return [node.address, node.expected, node.replacement];
    default:
      return [];
  }
};

function nodesOf(statement: Statement): readonly Node[] {
  switch (statement.kind) {
    case 'let':
      return [statement.node];
    case 'set':
      return [statement.value];
    case 'store':
      return [statement.address, statement.value];
    case 'call':
      return statement.args;
    case 'if':
      return [statement.condition];
    case 'exit':
      return statement.value ? [statement.value] : [];
    default:
      return [];
  }
}

class FormPrinter {
  private readonly lines: string[] = [];
  private readonly uses = new Map<Node, number>();
  private readonly named = new Set<Node>();

  constructor(private readonly names: FormNames) {}

  print(block: Block): readonly string[] {
    this.count(block);
    this.block(block, '');
    return this.lines;
  }

  /** How often each node is an operand; `let` puts a node at its place and takes nothing of it. */
  private count(block: Block): void {
    const operand = (node: Node): void => {
      const known = this.uses.get(node) ?? 0;
      this.uses.set(node, known + 1);
      if (known === 0) for (const child of children(node)) operand(child);
    };
    for (const statement of block) {
      if (statement.kind === 'let') continue;
      for (const node of nodesOf(statement)) operand(node);
      if (statement.kind === 'if') {
        this.count(statement.then);
        this.count(statement.otherwise);
      } else if (statement.kind === 'loop') this.count(statement.body);
    }
  }

  private address(node: Node, offset: number): string {
    const { address } = this.names;
    if (node.kind === 'const') {
      const at = Number(node.value) + offset;
      return address?.(at) ?? `0x${at.toString(16)}`;
    }
    if (offset === 0) return this.value(node);
    return `${this.value(node)} + ${address?.(offset) ?? `0x${offset.toString(16)}`}`;
  }

  private value(node: Node): string {
    return this.named.has(node) ? `t${String(node.id)}` : this.expression(node);
  }

  private expression(node: Node): string {
    const list = (nodes: readonly Node[]): string => nodes.map((each) => this.value(each)).join(', ');
    switch (node.kind) {
      case 'const': {
        const name = node.type === 'i32' ? this.names.constant?.(Number(node.value)) : undefined;
        if (name !== undefined) return name;
        return node.value > 4096n || node.value < -4096n
          ? `0x${BigInt.asUintN(64, node.value).toString(16)}`
          : String(node.value);
      }
      case 'param':
        return `param${String(node.index)}`;
      case 'pure':
        return `${node.op}${node.lanes ? `<${node.lanes.join(' ')}>` : ''}(${list(node.args)})`;
      case 'division':
        return `${node.op}(${list(node.args)})`;
      case 'select':
        return `select(${list([node.condition, node.yes, node.no])})`;
      case 'load':
        return `${node.op}[${this.address(node.address, node.offset)}]`;
      case 'cmpxchg':
        return `${node.op}[${this.address(node.address, 0)}](${list([node.expected, node.replacement])})`;
      case 'call':
        return `${node.callee.name}(${list(node.args)})`;
      case 'get':
        return this.variable(node.variable);
    }
  }

  private variable(variable: Variable): string {
    return this.names.variable?.(variable) ?? `v${String(variable.id)}`;
  }

  private block(block: Block, indent: string): void {
    for (const statement of block) this.statement(statement, indent);
  }

  private statement(statement: Statement, indent: string): void {
    const line = (text: string): void => void this.lines.push(indent + text);
    switch (statement.kind) {
      case 'let': {
        const { node } = statement;
        const times = this.uses.get(node) ?? 0;
        const isPure = node.kind === 'pure' || node.kind === 'const' || node.kind === 'select' || node.kind === 'param';
        if ((isPure && times < 2) || (node.kind === 'get' && times === 0)) return;
        const text = this.expression(node);
        this.named.add(node);
        line(times === 0 ? text : `t${String(node.id)} = ${text}`);
        return;
      }
      case 'set':
        line(`${this.variable(statement.variable)} = ${this.value(statement.value)}`);
        return;
      case 'store':
        line(`${statement.op}[${this.address(statement.address, statement.offset)}] = ${this.value(statement.value)}`);
        return;
      case 'call':
        line(`${statement.callee.name}(${statement.args.map((each) => this.value(each)).join(', ')})`);
        return;
      case 'if':
        line(`if ${this.value(statement.condition)} {`);
        this.block(statement.then, `${indent}  `);
        if (statement.otherwise.length > 0) {
          line('} else {');
          this.block(statement.otherwise, `${indent}  `);
        }
        line('}');
        return;
      case 'loop':
        line('loop {');
        this.block(statement.body, `${indent}  `);
        line('}');
        return;
      case 'break':
        line('break');
        return;
      case 'insert':
        line(`insert ${statement.name}`);
        return;
      case 'exit':
        line(
          `exit ${this.names.exit?.(statement.name) ?? statement.name}${statement.value ? ` ${this.value(statement.value)}` : ''}`,
        );
    }
  }
}

/** Lines of a piece of the intermediate form. */
export function formText(block: Block, names: FormNames = {}): readonly string[] {
  return new FormPrinter(names).print(block);
}
