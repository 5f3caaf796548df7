import { ByteWriter } from './bytes.js';
import { VALUE_TYPE, type ValueType } from './opcodes.js';

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** A function's code: its own locals in order, and its instructions without the final `end`. */
export interface FunctionCode {
  readonly locals: readonly ValueType[];
  readonly code: Uint8Array;
}

interface MemoryImport {
  readonly module: string;
  readonly name: string;
  /** In 64 KiB pages. */
  readonly minimum: number;
  readonly maximum: number;
  /** Part of the import's type: a module for shared memory accepts no other. */
  readonly shared: boolean;
}

/** Section numbers, core specification 2.0 §5.5.2. */
const SECTION = { TYPE: 1, IMPORT: 2, FUNCTION: 3, TABLE: 4, EXPORT: 7, ELEMENT: 9, CODE: 10 } as const;

/** Assembles one WebAssembly module. Imports are declared before functions; function indices count both. */
export class WasmModule {
  private readonly types: FunctionType[] = [];
  private readonly typeKeys = new Map<string, number>();
  private readonly imports: { module: string; name: string; type: number }[] = [];
  private readonly functions: { type: number; code: FunctionCode | undefined }[] = [];
  private readonly exports: { name: string; index: number }[] = [];
  private memory: MemoryImport | undefined;
  private tableEntries: readonly number[] | undefined;
  private importedTable: { module: string; name: string } | undefined;
  private readonly globals: { module: string; name: string; type: ValueType }[] = [];

  /** Index of a function type; equal types share one. */
  type(params: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${params.join()}>${results.join()}`;
    const known = this.typeKeys.get(key);
    if (known !== undefined) return known;
    this.types.push({ params, results });
    this.typeKeys.set(key, this.types.length - 1);
    return this.types.length - 1;
  }

  importMemory(memory: MemoryImport): void {
    this.memory = memory;
  }

  /** Returns the function's index. */
  importFunction(module: string, name: string, params: readonly ValueType[], results: readonly ValueType[]): number {
    if (this.functions.length > 0) throw new Error('imports come before functions');
    this.imports.push({ module, name, type: this.type(params, results) });
    return this.imports.length - 1;
  }

  /** Reserves an index for a function whose code is given later. */
  declareFunction(params: readonly ValueType[], results: readonly ValueType[]): number {
    this.functions.push({ type: this.type(params, results), code: undefined });
    return this.imports.length + this.functions.length - 1;
  }

  defineFunction(index: number, code: FunctionCode): void {
    const entry = this.functions[index - this.imports.length];
    if (entry === undefined) throw new Error('not a function of this module');
    entry.code = code;
  }

  exportFunction(name: string, index: number): void {
    this.exports.push({ name, index });
  }

  /** Imports a global that never changes. Returns its index. */
  importGlobal(module: string, name: string, type: ValueType): number {
    this.globals.push({ module, name, type });
    return this.globals.length - 1;
  }

  /** Imports a table of functions; it is table 0, and the module's own is table 1. */
  importTable(module: string, name: string): void {
    this.importedTable = { module, name };
  }

  /** The module's own table: function indices from element 0 on. */
  table(entries: readonly number[]): void {
    this.tableEntries = entries;
  }

  toBytes(): Uint8Array {
    const out = new ByteWriter().bytes(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const section = (id: number, write: (w: ByteWriter) => void): void => {
      const content = new ByteWriter();
      write(content);
      out.u8(id).sized(content.finish());
    };
    const typeList = (w: ByteWriter, list: readonly ValueType[]): void => {
      w.u32(list.length);
      for (const type of list) w.u8(VALUE_TYPE[type]);
    };
    section(SECTION.TYPE, (w) => {
      w.u32(this.types.length);
      for (const type of this.types) {
        w.u8(0x60);
        typeList(w, type.params);
        typeList(w, type.results);
      }
    });
    section(SECTION.IMPORT, (w) => {
      w.u32(this.imports.length + (this.memory ? 1 : 0) + (this.importedTable ? 1 : 0) + this.globals.length);
      for (const f of this.imports) w.name(f.module).name(f.name).u8(0).u32(f.type);
      if (this.memory) {
        const { module, name, minimum, maximum, shared } = this.memory;
        w.name(module)
          .name(name)
          .u8(2)
          .u8(shared ? 3 : 1)
          .u32(minimum)
          .u32(maximum);
      }
      if (this.importedTable)
        w.name(this.importedTable.module).name(this.importedTable.name).u8(1).u8(0x70).u8(0).u32(1);
      for (const { module, name, type } of this.globals) w.name(module).name(name).u8(3).u8(VALUE_TYPE[type]).u8(0);
    });
    section(SECTION.FUNCTION, (w) => {
      w.u32(this.functions.length);
      for (const f of this.functions) w.u32(f.type);
    });
    const table = this.tableEntries;
    if (table) section(SECTION.TABLE, (w) => w.u32(1).u8(0x70).u8(1).u32(table.length).u32(table.length));
    section(SECTION.EXPORT, (w) => {
      w.u32(this.exports.length);
      for (const e of this.exports) w.name(e.name).u8(0).u32(e.index);
    });
    if (table)
      section(SECTION.ELEMENT, (w) => {
        if (this.importedTable) w.u32(1).u32(2).u32(1).u8(0x41).s32(0).u8(0x0b).u8(0).u32(table.length);
        else w.u32(1).u32(0).u8(0x41).s32(0).u8(0x0b).u32(table.length);
        for (const index of table) w.u32(index);
      });
    section(SECTION.CODE, (w) => {
      w.u32(this.functions.length);
      for (const { code } of this.functions) {
        if (code === undefined) throw new Error('a declared function has no code');
        const body = new ByteWriter();
        body.u32(code.locals.length);
        for (const local of code.locals) body.u32(1).u8(VALUE_TYPE[local]);
        body.bytes(code.code).u8(0x0b);
        w.sized(body.finish());
      }
    });
    return out.finish();
  }
}
