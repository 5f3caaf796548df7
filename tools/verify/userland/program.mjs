// A C program of some thousand lines: the same text every time, and free of undefined behaviour, so that whatever it
// prints is the same on every x86-64 processor and with every optimisation that keeps to the standard.
import { readFileSync } from 'node:fs';

/** Numbers that look random and are the same on every run: a 32-bit xorshift. */
function generator(seed) {
  let state = seed >>> 0;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
  return {
    below: (limit) => next() % limit,
    pick: (list) => list[next() % list.length],
    hex: (digits) => `${next().toString(16)}${next().toString(16).padStart(8, '0')}`.slice(-digits),
  };
}

const INTEGERS = [
  { type: 'uint8_t', signed: 'int8_t', bits: 8 },
  { type: 'uint16_t', signed: 'int16_t', bits: 16 },
  { type: 'uint32_t', signed: 'int32_t', bits: 32 },
  { type: 'uint64_t', signed: 'int64_t', bits: 64 },
  { type: 'u128', signed: 'i128', bits: 128 },
];

/** An expression over the variables a, b, c and t[8]. Unsigned, so that it may overflow. */
function integerExpression(random, { type, signed, bits }, depth) {
  const sub = () => integerExpression(random, { type, signed, bits }, depth - 1);
  if (depth === 0) {
    if (random.below(4) === 0) return `(${type})0x${random.hex(Math.min(bits / 4, 16))}u`;
    return random.pick(['a', 'b', 'c', 't[0]', 't[3]', 't[5]', 't[a & 7]', 't[b & 7]']);
  }
  const one = sub();
  const other = sub();
  // Narrow types are promoted to int, where a product of two 16-bit numbers may overflow; so all is cast to unsigned.
  const wide = bits < 32 ? 'uint32_t' : type;
  switch (random.below(14)) {
    case 0:
      return `(${type})((${wide})(${one}) * (${wide})(${other}))`;
    case 1:
      return `(${type})((${one}) / ((${other}) | 1))`;
    case 2:
      return `(${type})((${one}) % ((${other}) | 1))`;
    case 3:
      return `(${type})((${wide})(${one}) << ((${other}) & ${bits - 1}))`;
    case 4:
      return `(${type})((${one}) >> ((${other}) & ${bits - 1}))`;
    case 5:
      return `(${type})((${signed})(${one}) >> ((${other}) & ${bits - 1}))`;
    case 6:
      return `(${type})(((${one}) < (${other})) ? ${random.pick(['a', 'b', 'c'])} : (${one}))`;
    case 7:
      return `(${type})(((${signed})(${one}) <= (${signed})(${other})) + ${random.pick(['a', 'b', 'c'])})`;
    case 8:
      return `rotate_${type}(${one}, ${random.below(bits)})`;
    case 9:
      return `(${type})((${signed})(${one}) / (${signed})(((${other}) & 127) | 1))`;
    case 10:
      return `(${type})((${one}) ^ ~(${other}))`;
    case 11:
      return `(${type})((${one}) - (${other}))`;
    case 12:
      return `(${type})((${one}) & (${other}))`;
    default:
      return `(${type})((${one}) + (${other}))`;
  }
}

function integerFunction(random, name, integer) {
  const { type } = integer;
  const lines = [`static NOINLINE ${type} ${name}(${type} a, ${type} b, ${type} c)`, '{'];
  lines.push(`  ${type} t[8] = { a, b, c, ${[1, 2, 3, 4, 5].map(() => `(${type})0x${random.hex(2)}u`).join(', ')} };`);
  const expression = (depth = 2) => integerExpression(random, integer, depth);
  for (let count = 5 + random.below(5); count > 0; count--) {
    const target = `t[${random.below(8)}]`;
    switch (random.below(6)) {
      case 0:
        lines.push(`  if ((${expression(1)}) > (${expression(1)}))`, `    ${target} = ${expression()};`);
        lines.push('  else', `    c = ${expression()};`);
        break;
      case 1:
        lines.push(`  for (unsigned i = 0; i < ${3 + random.below(13)}; i++) {`);
        lines.push(`    ${target} += ${expression()} ^ (${type})i;`);
        lines.push(`    if (t[i & 7] & 1) a ^= ${expression(1)};`, '  }');
        break;
      case 2: {
        lines.push(`  switch ((unsigned)((${expression(1)}) & 15)) {`);
        const cases = 3 + random.below(10);
        for (let i = 0; i < cases; i++) {
          lines.push(
            `  case ${i}: ${target} = ${expression(1)}; ${random.below(3) ? 'break;' : '/* falls through */'}`,
          );
        }
        lines.push(`  default: b = ${expression(1)};`, '  }');
        break;
      }
      default:
        lines.push(`  ${target} = ${expression(3)};`);
    }
  }
  lines.push('  return t[0] ^ t[1] ^ t[2] ^ t[3] ^ t[4] ^ t[5] ^ t[6] ^ t[7] ^ a ^ b ^ c;', '}', '');
  return lines;
}

const FLOATS = [
  { type: 'float', suffix: 'f', name: 'f' },
  { type: 'double', suffix: '', name: 'd' },
  { type: 'long double', suffix: 'L', name: 'l' },
];

/** Only operations that IEEE 754 defines to the last bit. */
function floatExpression(random, { type, suffix }, depth) {
  const sub = () => floatExpression(random, { type, suffix }, depth - 1);
  const call = suffix === '' ? '' : suffix.toLowerCase();
  if (depth === 0) {
    if (random.below(4) === 0) return `${random.below(1000)}.${random.below(1000)}${suffix}`;
    return random.pick(['x', 'y', 'z', 'v[0]', 'v[1]', 'v[2]']);
  }
  const one = sub();
  switch (random.below(13)) {
    case 0:
      return `sqrt${call}(fabs${call}(${one}))`;
    case 1:
      return `(${one}) / (${sub()})`;
    case 2:
      return `(${type})(int64_t)fmod${call}(finite_${call}(${one}), 1e9${suffix})`;
    case 3:
      return `fmin${call}(${one}, ${sub()})`;
    case 4:
      return `fmax${call}(${one}, ${sub()})`;
    case 5:
      return `${random.pick(['floor', 'ceil', 'trunc', 'rint', 'round', 'nearbyint'])}${call}(${one})`;
    case 6:
      return `((${one}) < (${sub()}) ? (${sub()}) : (${one}))`;
    case 7:
      return `copysign${call}(${one}, ${sub()})`;
    case 8:
      return `(${type})(uint32_t)(int32_t)fmod${call}(finite_${call}(${one}), 1e6${suffix})`;
    case 9:
      return `(${one}) - (${sub()})`;
    case 10:
      return `(${one}) * (${sub()})`;
    case 11:
      return `(${type})(${random.pick(['float', 'double', 'long double'])})(${one})`;
    default:
      return `(${one}) + (${sub()})`;
  }
}

function floatFunction(random, name, float) {
  const { type } = float;
  const lines = [`static NOINLINE ${type} ${name}(${type} x, ${type} y, ${type} z)`, '{'];
  lines.push(`  ${type} v[3] = { x, y, z };`);
  for (let count = 4 + random.below(4); count > 0; count--) {
    const target = `v[${random.below(3)}]`;
    if (random.below(4) === 0) {
      lines.push(`  for (int i = 1; i < ${3 + random.below(9)}; i++)`);
      lines.push(`    ${target} = ${floatExpression(random, float, 2)} / i;`);
    } else lines.push(`  ${target} = ${floatExpression(random, float, 3)};`);
  }
  lines.push('  return v[0] + v[1] - v[2];', '}', '');
  return lines;
}

/** Structures of all sizes and mixtures are passed and returned in different ways. */
function structFunctions(random, index) {
  const types = ['int8_t', 'uint16_t', 'int32_t', 'uint64_t', 'float', 'double', 'long double'];
  const members = Array.from({ length: 1 + random.below(5) }, () => random.pick(types));
  const name = `struct s${index}`;
  const lines = [`${name} {`, ...members.map((type, i) => `  ${type} m${i};`), '};', ''];
  lines.push(`static NOINLINE ${name} mix${index}(int k, ${name} a, double d, ${name} b)`, '{', `  ${name} r;`);
  members.forEach((_, i) => lines.push(`  r.m${i} = ${random.pick(['a', 'b'])}.m${i} / 2 + k + (int)d;`));
  lines.push('  return r;', '}', '', `static void test_s${index}(void)`, '{', `  ${name} a, b, r;`);
  members.forEach((_, i) => lines.push(`  a.m${i} = ${random.below(100)};`, `  b.m${i} = ${random.below(100)};`));
  lines.push(`  r = mix${index}(${random.below(20)}, a, ${random.below(9)}.5, b);`);
  lines.push(`  r = mix${index}(${random.below(20)}, r, ${random.below(9)}.25, a);`);
  const formats = members.map((type) =>
    type === 'long double' ? '%.4Lf' : /float|double/.test(type) ? '%.4f' : '%lld',
  );
  const values = members.map((type, i) => (/float|double/.test(type) ? `r.m${i}` : `(long long)r.m${i}`));
  lines.push(`  printf("s${index} %zu ${formats.join(' ')}\\n", sizeof r, ${values.join(', ')});`, '}', '');
  return lines;
}

/** The program's text. */
export function program() {
  const random = generator(0x5eed1234);
  // What is written by hand: the library, the system, and what runs the rest.
  const text = (name) => readFileSync(new URL(name, import.meta.url), 'utf8');
  const lines = `${text('library.c')}\n${text('system.c')}`.split('\n');
  const calls = [];
  for (const integer of INTEGERS) {
    for (let i = 0; i < 18; i++) {
      const name = `i${integer.bits}_${i}`;
      lines.push(...integerFunction(random, name, integer));
      calls.push(`run_${integer.type}("${name}", ${name});`);
    }
  }
  for (const float of FLOATS) {
    for (let i = 0; i < 22; i++) {
      const name = `${float.name}_${i}`;
      lines.push(...floatFunction(random, name, float));
      calls.push(`run_${float.name}("${name}", ${name});`);
    }
  }
  for (let i = 0; i < 40; i++) {
    lines.push(...structFunctions(random, i));
    calls.push(`test_s${i}();`);
  }
  lines.push('int main(void)', '{', '  fixed_tests();', ...calls.map((call) => `  ${call}`), '  puts("end");');
  lines.push('  return 0;', '}', '');
  return lines.join('\n');
}
