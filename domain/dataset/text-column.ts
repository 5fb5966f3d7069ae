/** Bytes of one block; a longer text has a block of its own. */
const BLOCK_BYTES = 4 * 1024 * 1024;

/**
 * Texts as UTF-8 in blocks of bytes: 10 million paths take their bytes and 12 more each, and are nothing that a garbage collector has to walk through.
 * Texts with unpaired surrogates have no UTF-8 and come back as others.
 */
export class TextColumn {
  #blockOf: Uint16Array;
  #offsets: Uint32Array;
  #lengths: Uint32Array;
  readonly #blocks: Buffer[] = [];
  /** Of the last block; at first there is none. */
  #used = BLOCK_BYTES + 1;
  #length = 0;

  /** `capacity`: as many texts are expected; more are taken too. */
  constructor(capacity: number) {
    this.#blockOf = new Uint16Array(capacity);
    this.#offsets = new Uint32Array(capacity);
    this.#lengths = new Uint32Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  push(text: string): void {
    if (this.#length === this.#lengths.length) this.#grow();
    // No text has more than three bytes a unit; only where that does not fit is it counted.
    const bytes = this.#used + 3 * text.length <= BLOCK_BYTES ? -1 : Buffer.byteLength(text);
    if (this.#used + bytes > BLOCK_BYTES) {
      this.#blocks.push(Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, bytes)));
      this.#used = 0;
    }
    const block = this.#blocks.length - 1;
    const written = (this.#blocks[block] as Buffer).write(text, this.#used);
    this.#blockOf[this.#length] = block;
    this.#offsets[this.#length] = this.#used;
    this.#lengths[this.#length++] = written;
    this.#used += written;
  }

  at(index: number): string {
    const offset = this.#offsets[index] as number;
    return (this.#blocks[this.#blockOf[index] as number] as Buffer).toString("utf8", offset, offset + (this.#lengths[index] as number));
  }

  #grow(): void {
    const capacity = Math.max(1_024, 2 * this.#length);
    const [blockOf, offsets, lengths] = [new Uint16Array(capacity), new Uint32Array(capacity), new Uint32Array(capacity)];
    blockOf.set(this.#blockOf);
    offsets.set(this.#offsets);
    lengths.set(this.#lengths);
    [this.#blockOf, this.#offsets, this.#lengths] = [blockOf, offsets, lengths];
  }
}
