/** One line on a terminal that says how far something is; nothing elsewhere. */
export function statusLine(): { readonly show: (text: string) => void; readonly clear: () => void } {
  const { stderr } = process;
  if (!stderr.isTTY) return { show: () => undefined, clear: () => undefined };
  let shownAt = -Infinity;
  return {
    show(text) {
      const now = performance.now();
      if (now - shownAt < INTERVAL_MS) return;
      shownAt = now;
      stderr.write(`\r\x1b[K${text.slice(0, Math.max(0, stderr.columns - 3))} …`);
    },
    clear: () => void stderr.write("\r\x1b[K"),
  };
}

/** Faster than this nobody reads. */
const INTERVAL_MS = 100;
