/** Numbers for people: the same text on every machine, whatever its locale. */

/** `12,345`, or with a noun `1 picture`, `12,345 pictures`. */
export function count(value: number, noun?: string): string {
  const text = String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
  return noun === undefined ? text : `${text} ${noun}${value === 1 ? "" : "s"}`;
}

/** Fixed decimals; "NaN" and infinities as such. */
export function decimals(value: number, places: number): string {
  return Number.isFinite(value) ? value.toFixed(places) : String(value);
}

/** `12.5 %`; 0 of 0 is all of it. */
export function percentOf(part: number, whole: number): string {
  return `${decimals(whole === 0 ? 100 : Math.floor((1000 * part) / whole) / 10, 1)} %`;
}

/** `831 B`, `12.3 kB`, `4.00 GB`: powers of 1000, three digits. */
export function byteSize(bytes: number): string {
  let value = bytes;
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${decimals(value, unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2)} ${units[unit] ?? ""}`;
}

/** `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown";
  if (seconds < 9.95) return `${decimals(seconds, 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Untrusted text (names of files and classes) on one line: control characters and marks of writing direction become escapes, so that none steers a terminal. */
export function printable(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
