type Entry = { streamId: number; sequence: number; message: Buffer; delivered: boolean };

/**
 * The last messages of a session's streams, for clients that come back with `Last-Event-ID` (MCP 2025-11-25, Streamable
 * HTTP, "Resumability and Redelivery").
 *
 * INVARIANTS
 * - Delivered messages hold at most `deliveredBytes`, messages that found no connection at most `undeliveredBytes`; the
 *   oldest go first, and one that is larger by itself is not kept.
 * - Entries own their bytes: none keeps a large chunk alive.
 */
export class ReplayBuffer {
  readonly #limits: { deliveredBytes: number; undeliveredBytes: number };
  #entries: Entry[] = [];
  #delivered = 0;
  #undelivered = 0;

  constructor(limits: { deliveredBytes: number; undeliveredBytes: number }) {
    this.#limits = limits;
  }

  push(streamId: number, sequence: number, message: Buffer, delivered: boolean): void {
    const limit = delivered ? this.#limits.deliveredBytes : this.#limits.undeliveredBytes;
    if (message.length > limit) return;
    this.#entries.push({ streamId, sequence, message: Buffer.from(message), delivered });
    if (delivered) this.#delivered += message.length;
    else this.#undelivered += message.length;
    while (this.#delivered > this.#limits.deliveredBytes) this.#drop(true);
    while (this.#undelivered > this.#limits.undeliveredBytes) this.#drop(false);
  }

  /** What the stream sent after `sequence`, oldest first. */
  after(streamId: number, sequence: number): { sequence: number; message: Buffer }[] {
    return this.#entries.filter((entry) => entry.streamId === streamId && entry.sequence > sequence);
  }

  clear(): void {
    this.#entries = [];
    this.#delivered = 0;
    this.#undelivered = 0;
  }

  #drop(delivered: boolean): void {
    const index = this.#entries.findIndex((entry) => entry.delivered === delivered);
    const [entry] = this.#entries.splice(index, 1);
    if (entry === undefined) return;
    if (delivered) this.#delivered -= entry.message.length;
    else this.#undelivered -= entry.message.length;
  }
}
