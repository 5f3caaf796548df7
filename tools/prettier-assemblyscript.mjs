// A Prettier plugin for AssemblyScript. Its decorators may stand before functions and variables (`@inline export
// function`), which no TypeScript parser accepts; they go through Prettier as comments and come out as they were.
import * as estree from 'prettier/plugins/estree';
import * as typescript from 'prettier/plugins/typescript';

const mark = '//@@decorator ';
/** A decorator before a function or variable, others perhaps in between; before a class it parses as it is. */
const decorator =
  /^([ \t]*)@(\w+(?:\.\w+)?(?:\([^)\n]*\))?)\s+(?=(?:@\S+(?: ?"[^"\n]*"\))?\s+)*(?:export\s+)?(?:declare\s+)?(?:function|const|let|var|enum)\b)/m;

/** Turns such decorators into comments of their own line, the first of each line first. */
function hideDecorators(text) {
  const hidden = text.replace(decorator, `$1${mark}$2\n$1`);
  return hidden === text ? text : hideDecorators(hidden);
}

export const parsers = {
  assemblyscript: { ...typescript.parsers.typescript, astFormat: 'assemblyscript', preprocess: hideDecorators },
};

export const printers = {
  assemblyscript: {
    ...estree.printers.estree,
    printComment(path, options) {
      const text = options.originalText.slice(options.locStart(path.node), options.locEnd(path.node));
      if (text.startsWith(mark)) return `@${text.slice(mark.length)}`;
      return estree.printers.estree.printComment(path, options);
    },
  },
};
