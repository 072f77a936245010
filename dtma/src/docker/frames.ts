/** One piece of a multiplexed Docker stream. */
export type Frame = { stream: "stdout" | "stderr"; payload: Buffer };

/**
 * Takes chunks of a multiplexed stream as they come and gives the whole or partial payloads in them at once, so that a
 * large frame is never collected in memory (Engine API, "Stream format": 1 byte stream, 3 zero bytes, 4 bytes length).
 */
export function createFrameReader(): (chunk: Buffer) => Frame[] {
  const header = Buffer.alloc(8);
  let filled = 0;
  let stream: Frame["stream"] = "stdout";
  let missing = 0;

  function begin(bytes: Buffer, at: number): void {
    stream = bytes[at] === 2 ? "stderr" : "stdout";
    missing = bytes.readUInt32BE(at + 4);
  }

  return (chunk) => {
    const frames: Frame[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (missing > 0) {
        const payload = chunk.subarray(at, at + missing);
        missing -= payload.length;
        at += payload.length;
        frames.push({ stream, payload });
      } else if (filled === 0 && chunk.length - at >= 8) {
        begin(chunk, at);
        at += 8;
      } else {
        const taken = chunk.copy(header, filled, at, at + 8 - filled);
        filled += taken;
        at += taken;
        if (filled < 8) break;
        filled = 0;
        begin(header, 0);
      }
    }
    return frames;
  };
}
