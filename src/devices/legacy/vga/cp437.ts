/** Code page 437, the PC's character set, as it looks on a screen: also codes below 32 and 127 have glyphs. */
const LOW = ' ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼';
const HIGH =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ';

const table = Array.from({ length: 256 }, (_, code) =>
  code < 32 ? LOW[code] : code < 127 ? String.fromCharCode(code) : code === 127 ? '⌂' : HIGH[code - 128],
);

/** The character that code page 437 shows for a byte. */
export const fromCp437 = (byte: number): string => table[byte];
