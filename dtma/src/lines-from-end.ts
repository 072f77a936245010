import { open } from "node:fs/promises";

const chunkBytes = 64 * 1024;
const lineEnd = 0x0a;

/** The lines of a file, last one first, read only as far as they are asked for. None when there is no such file. */
export async function* linesFromEnd(file: string): AsyncGenerator<string> {
  const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (handle === undefined) return;
  try {
    let rest = Buffer.alloc(0);
    for (let at = (await handle.stat()).size; at > 0; ) {
      const length = Math.min(chunkBytes, at);
      at -= length;
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, at);
      const bytes = Buffer.concat([buffer.subarray(0, bytesRead), rest]);
      const begin = bytes.indexOf(lineEnd) + 1;
      rest = begin === 0 ? bytes : bytes.subarray(0, begin - 1);
      if (begin > 0) yield* bytes.toString("utf8", begin).split("\n").reverse();
    }
    yield rest.toString("utf8");
  } finally {
    await handle.close();
  }
}
