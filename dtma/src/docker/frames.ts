/** One piece of a multiplexed Docker stream. */
export type Frame = { stream: "stdout" | "stderr"; payload: Buffer };

/**
 * Takes chunks of a multiplexed stream as they come and gives the whole or partial payloads in them at once, so that a
 * large frame is never collected in memory (Engine API, "Stream format": 1 byte stream, 3 zero bytes, 4 bytes length).
 */
export function createFrameReader(): (chunk: Buffer) => Frame[] {
  let header = Buffer.alloc(0);
  let stream: Frame["stream"] = "stdout";
  let missing = 0;
  return (chunk) => {
    const frames: Frame[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      if (missing === 0) {
        const take = rest.subarray(0, 8 - header.length);
        header = Buffer.concat([header, take]);
        rest = rest.subarray(take.length);
        if (header.length < 8) break;
        stream = header[0] === 2 ? "stderr" : "stdout";
        missing = header.readUInt32BE(4);
        header = Buffer.alloc(0);
        continue;
      }
      const payload = rest.subarray(0, missing);
      missing -= payload.length;
      rest = rest.subarray(payload.length);
      frames.push({ stream, payload });
    }
    return frames;
  };
}
