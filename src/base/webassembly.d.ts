/**
 * The part of the WebAssembly JavaScript API that Vitrine uses, as global types.
 *
 * TypeScript ships these only inside its DOM library, which must stay out of everything but `host/browser` and `web`
 * (those have a tsconfig of their own and do not see this file). After the WebAssembly JavaScript Interface, W3C,
 * with the threads extension: a shared memory's buffer is a `SharedArrayBuffer`.
 */
declare namespace WebAssembly {
  interface CompileError extends Error {
    readonly name: 'CompileError';
  }
  const CompileError: new (message?: string) => CompileError;
  interface LinkError extends Error {
    readonly name: 'LinkError';
  }
  const LinkError: new (message?: string) => LinkError;
  interface RuntimeError extends Error {
    readonly name: 'RuntimeError';
  }
  const RuntimeError: new (message?: string) => RuntimeError;

  type ValueType = 'anyfunc' | 'externref' | 'f32' | 'f64' | 'i32' | 'i64' | 'v128';
  type ImportExportKind = 'function' | 'global' | 'memory' | 'table' | 'tag';
  // The API hands out functions of any signature; who calls one casts it to the signature it knows.
  type ExportValue = ((...args: never[]) => unknown) | Global | Memory | Table;
  type ImportValue = ExportValue | number | bigint;
  type ModuleImports = Record<string, ImportValue>;
  type Imports = Record<string, ModuleImports>;
  type Exports = Record<string, ExportValue>;

  interface MemoryDescriptor {
    /** In pages of 64 KiB. */
    initial: number;
    /** In pages of 64 KiB. */
    maximum?: number;
    shared?: boolean;
  }
  interface Memory {
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
    /** Adds pages of 64 KiB; returns the former size in pages. */
    grow(delta: number): number;
  }
  const Memory: new (descriptor: MemoryDescriptor) => Memory;

  interface GlobalDescriptor {
    value: ValueType;
    mutable?: boolean;
  }
  interface Global<T = unknown> {
    value: T;
    valueOf(): T;
  }
  const Global: new <T = unknown>(descriptor: GlobalDescriptor, value?: T) => Global<T>;

  interface TableDescriptor {
    element: 'anyfunc' | 'externref';
    initial: number;
    maximum?: number;
  }
  interface Table {
    readonly length: number;
    get(index: number): unknown;
    grow(delta: number, value?: unknown): number;
    set(index: number, value?: unknown): void;
  }
  const Table: new (descriptor: TableDescriptor, value?: unknown) => Table;

  interface ModuleImportDescriptor {
    module: string;
    name: string;
    kind: ImportExportKind;
  }
  interface ModuleExportDescriptor {
    name: string;
    kind: ImportExportKind;
  }
  /** Bytes of a module. Not shared: engines refuse to compile from shared memory. */
  type Bytes = ArrayBuffer | ArrayBufferView<ArrayBuffer>;
  // Opaque in the specification; the brand keeps other objects from passing for one.
  interface Module {
    readonly __module: unique symbol;
  }
  const Module: {
    new (bytes: Bytes): Module;
    customSections(module: Module, name: string): ArrayBuffer[];
    exports(module: Module): ModuleExportDescriptor[];
    imports(module: Module): ModuleImportDescriptor[];
  };
  interface Instance {
    readonly exports: Exports;
  }
  const Instance: new (module: Module, imports?: Imports) => Instance;

  interface WebAssemblyInstantiatedSource {
    instance: Instance;
    module: Module;
  }
  function compile(bytes: Bytes): Promise<Module>;
  function validate(bytes: Bytes): boolean;
  function instantiate(bytes: Bytes, imports?: Imports): Promise<WebAssemblyInstantiatedSource>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;
}
