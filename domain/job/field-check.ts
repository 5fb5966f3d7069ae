import type { Problem } from "./problems.js";

/** What a number must be: the rule, and the words for it. */
export interface Range {
  readonly text: string;
  readonly holds: (value: number) => boolean;
}

export const finite: Range = { text: "a finite number", holds: Number.isFinite };
export const positive: Range = { text: "> 0", holds: (value) => value > 0 && value < Infinity };
export const nonNegative: Range = { text: ">= 0", holds: (value) => value >= 0 && value < Infinity };
export const percent: Range = { text: "between 0 and 100", holds: (value) => value >= 0 && value <= 100 };
export const fraction: Range = { text: "between 0 and 1", holds: (value) => value >= 0 && value <= 1 };
export const shareBelowOne: Range = { text: ">= 0 and < 1", holds: (value) => value >= 0 && value < 1 };
/** Seeds are keys of the random generator; 31 bits are what every JSON reader and language holds exactly. */
export const seedNumber: Range = integer(0, 0x7fff_ffff);

export function integer(min: number, max = 0x7fff_ffff): Range {
  return { text: `a whole number between ${min} and ${max}`, holds: (value) => Number.isInteger(value) && value >= min && value <= max };
}

/** Collects every problem of a spec; each method returns a value to go on with. */
export class FieldCheck {
  readonly problems: Problem[] = [];

  report(path: string, message: string): void {
    this.problems.push({ path, message });
  }

  /** `given`, or `fallback` where it is missing or wrong. */
  number(path: string, given: number | undefined, fallback: number, range: Range): number {
    return this.optional(path, given, range) ?? fallback;
  }

  required(path: string, given: number | undefined, range: Range, goOnWith: number): number {
    if (given === undefined) this.report(path, `is required: ${range.text}`);
    return this.optional(path, given, range) ?? goOnWith;
  }

  optional(path: string, given: number | undefined, range: Range): number | undefined {
    if (given === undefined || range.holds(given)) return given;
    this.report(path, `must be ${range.text}, found ${given}`);
    return undefined;
  }

  text(path: string, given: string | undefined, fallback: string): string {
    if (given === undefined) return fallback;
    if (given.trim() === "") this.report(path, "must not be empty");
    return given;
  }

  triple(path: string, given: readonly number[] | undefined, range: Range): readonly [number, number, number] | undefined {
    if (given === undefined) return undefined;
    given.forEach((value, index) => this.optional(`${path}[${index}]`, value, range));
    const [first, second, third] = given;
    if (given.length !== 3 || first === undefined || second === undefined || third === undefined) {
      this.report(path, `must have three values, one a channel; found ${given.length}`);
      return undefined;
    }
    return [first, second, third];
  }

  exactlyOne(path: string, choices: Readonly<Record<string, unknown>>): void {
    if (chosen(choices).length === 0) this.report(path, `needs one of ${Object.keys(choices).join(", ")}`);
    this.atMostOne(path, choices);
  }

  atMostOne(path: string, choices: Readonly<Record<string, unknown>>): void {
    const names = chosen(choices);
    if (names.length > 1) this.report(path, `${names.join(" and ")} exclude each other; keep one of them`);
  }
}

function chosen(choices: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(choices).filter((name) => choices[name] !== undefined);
}
