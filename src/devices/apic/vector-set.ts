/** A set of interrupt vectors, 0 … 255, as ISR, TMR and IRR hold them: eight words of 32 bits. */
export class VectorSet {
  private readonly words = new Uint32Array(8);

  add(vector: number): void {
    this.words[vector >>> 5] |= 1 << (vector & 31);
  }

  remove(vector: number): void {
    this.words[vector >>> 5] &= ~(1 << (vector & 31));
  }

  has(vector: number): boolean {
    return (this.words[vector >>> 5] & (1 << (vector & 31))) !== 0;
  }

  /** The highest vector in the set, or -1. */
  highest(): number {
    for (let i = 7; i >= 0; i--) if (this.words[i] !== 0) return i * 32 + 31 - Math.clz32(this.words[i]);
    return -1;
  }

  word(i: number): number {
    return this.words[i];
  }

  clear(): void {
    this.words.fill(0);
  }

  save(): number[] {
    return [...this.words];
  }

  restore(words: readonly number[]): void {
    this.words.set(words);
  }
}
