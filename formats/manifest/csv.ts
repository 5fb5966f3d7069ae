/** One record of a CSV text, with the line (from 1) on which it begins. */
export interface CsvRecord {
  readonly line: number;
  readonly fields: readonly string[];
}

/** Records of RFC 4180: fields may be quoted, quoted ones hold commas, line breaks and doubled quotes. Empty lines are skipped. A quote that is never closed ends with the text. */
export function* csvRecords(text: string): Generator<CsvRecord, void, undefined> {
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const begun = line;
    const fields: string[] = [];
    for (;;) {
      let field = "";
      if (text[at] === '"') {
        at++;
        for (;;) {
          const close = text.indexOf('"', at);
          const piece = text.slice(at, close < 0 ? text.length : close);
          field += piece;
          line += lineBreaks(piece);
          at = close < 0 ? text.length : close + 1;
          if (text[at] !== '"' || close < 0) break;
          field += '"';
          at++;
        }
      }
      const end = fieldEnd(text, at);
      field += text.slice(at, end);
      at = end;
      fields.push(field);
      if (text[at] !== ",") break;
      at++;
    }
    if (text[at] === "\r" && text[at + 1] === "\n") at++;
    at++;
    line++;
    if (fields.length > 1 || fields[0] !== "") yield { line: begun, fields };
  }
}

/** Where an unquoted field ends: a comma, a line break or the end. */
function fieldEnd(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x2c || unit === 0x0a || (unit === 0x0d && text.charCodeAt(at + 1) === 0x0a)) return at;
  }
  return text.length;
}

function lineBreaks(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  return count;
}
