/** JSON values one after the other in a stream of bytes, as a QMP client sends them, with or without line ends between. */
import { JsonTextError, parseJson, type Json } from './json-text.js';

/** A value, or what is wrong with it. */
export type JsonItem = { readonly value: Json } | { readonly error: string };

/** Characters that a value may have; the longest commands are a few hundred. */
const LIMIT = 1 << 20;

/** Objects and arrays inside each other, as in QEMU 7.2 (MAX_NESTING of qobject/json-streamer.c); deeper ones answers could not be made of. */
const MOST_NESTING = 1024;

const SPACE = /\s/;

/**
 * Cuts a stream into values. An object or array ends with its last bracket, anything else at white space. What cannot be
 * JSON is reported once and skipped to the end of its line.
 */
export class JsonStream {
  private readonly decoder = new TextDecoder('utf-8');
  private text = '';
  /** How far `text` has been looked at. */
  private at = 0;
  private depth = 0;
  /** The greatest depth of this value. */
  private deepest = 0;
  /** What the string ends with that this is in; empty: in none. */
  private quote = '';
  private skipping = false;

  /** Takes what has arrived; returns the values that are complete. */
  push(bytes: Uint8Array): JsonItem[] {
    this.text += this.decoder.decode(bytes, { stream: true });
    const items: JsonItem[] = [];
    for (let end = this.findEnd(); end !== undefined; end = this.findEnd()) {
      const piece = this.text.slice(0, end).trim();
      this.text = this.text.slice(end);
      this.at = 0;
      const tooDeep = this.deepest > MOST_NESTING;
      this.depth = 0;
      this.deepest = 0;
      this.quote = '';
      if (this.skipping) this.skipping = false;
      else if (tooDeep) items.push({ error: 'JSON nesting depth limit exceeded' });
      else if (piece !== '') items.push(parse(piece));
    }
    if (this.text.length > LIMIT) {
      if (!this.skipping) items.push({ error: `a value of more than ${LIMIT} characters` });
      this.skipping = true;
      this.text = '';
      this.at = 0;
      this.depth = 0;
      this.deepest = 0;
      this.quote = '';
    }
    return items;
  }

  /** Behind the last character of the first value, if all of it is here. */
  private findEnd(): number | undefined {
    const { text } = this;
    for (; this.at < text.length; this.at++) {
      const char = text[this.at];
      // No string may have one: whatever this was is over.
      if (char === '\n' && (this.quote !== '' || this.skipping)) return this.at + 1;
      if (this.skipping) continue;
      if (this.quote !== '') {
        if (char === '\\') {
          // Its other character may not be here yet.
          if (this.at + 1 >= text.length) return undefined;
          this.at++;
        } else if (char === this.quote) this.quote = '';
        if (this.depth === 0 && this.quote === '') return this.at + 1;
      } else if (char === '"' || char === "'") this.quote = char;
      else if (char === '{' || char === '[') this.deepest = Math.max(this.deepest, ++this.depth);
      else if (char === '}' || char === ']') {
        if (--this.depth <= 0) return this.at + 1;
      } else if (this.depth === 0 && SPACE.test(char)) return this.at + 1;
    }
    return undefined;
  }
}

function parse(text: string): JsonItem {
  try {
    return { value: parseJson(text) };
  } catch (error) {
    if (error instanceof JsonTextError) return { error: error.message };
    throw error;
  }
}
