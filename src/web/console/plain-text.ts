/** What was written for a terminal, for a page that is none. */

/** Control sequences of ECMA-48: CSI (§5.4), strings such as OSC (§5.6), and escapes of two and three characters. */
// eslint-disable-next-line no-control-regex -- control characters are what it is about
const SEQUENCES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)|[ -/]+[0-~]|[0-Z\\^-~])/g;
// eslint-disable-next-line no-control-regex -- the same
const OTHERS = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** Without control sequences; of a line that was written over, the last is left. */
export function plainText(text: string): string {
  const lines = text.replace(SEQUENCES, '').replace(/\r+\n/g, '\n').split('\n');
  return lines.map((line) => line.slice(line.replace(/\r+$/, '').lastIndexOf('\r') + 1).replace(OTHERS, '')).join('\n');
}
