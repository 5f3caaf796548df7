// Formats AssemblyScript (src/**/assembly), or checks that it is formatted. Its decorators may stand before functions and
// variables (`@inline export function`), which no TypeScript parser accepts: for oxfmt they are comments.
//
//   node tools/format-assembly.mjs [--check]
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { format } from 'oxfmt';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const isCheck = process.argv.includes('--check');
const { ignorePatterns: _, ...options } = JSON.parse(readFileSync(path.join(root, '.oxfmtrc.json'), 'utf8'));

const mark = '//@@decorator ';
/** A decorator before a function or variable, others perhaps in between; before a class it parses as it is. */
const decorator =
  /^([ \t]*)@(\w+(?:\.\w+)?(?:\([^)\n]*\))?)\s+(?=(?:@\S+(?: ?"[^"\n]*"\))?\s+)*(?:export\s+)?(?:declare\s+)?(?:function|const|let|var|enum)\b)/m;

/** Turns such decorators into comments of their own line, the first of each line first. */
function hideDecorators(text) {
  const hidden = text.replace(decorator, `$1${mark}$2\n$1`);
  return hidden === text ? text : hideDecorators(hidden);
}

const files = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .map((name) => path.join('src', name))
  .filter((name) => /\/assembly\/(?!generated\/).*\.ts$/.test(name.replaceAll(path.sep, '/')))
  .sort();
for (const name of files) {
  const file = path.join(root, name);
  const text = readFileSync(file, 'utf8');
  const { code, errors } = await format(name, hideDecorators(text), options);
  const formatted = code.replaceAll(mark, '@');
  if (errors.length > 0) console.error(`${name}: ${errors.map(({ message }) => message).join('; ')}`);
  else if (formatted === text) continue;
  else if (isCheck) console.error(`${name}: npm run format changes it`);
  else writeFileSync(file, formatted);
  if (isCheck || errors.length > 0) process.exitCode = 1;
}
