/** What the operating system said: its code (ENOENT, EACCES, …) where there is one, else the message. */
export function systemError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}
