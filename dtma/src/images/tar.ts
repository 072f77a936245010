import { type Pack, pack } from "tar-stream";
import type { TarStream } from "../docker/docker.ts";

/** Sends a tar while `fill` still writes it. Throws what `fill` threw rather than the broken stream it left behind. */
export async function sendTar(fill: (tar: Pack) => Promise<void>, send: (tar: TarStream) => Promise<void>): Promise<void> {
  const tar = pack();
  let failure: unknown;
  fill(tar).catch((error: Error) => {
    failure ??= error;
    tar.destroy(error);
  });
  try {
    await send(tar);
  } catch (error) {
    failure ??= error;
    tar.destroy();
    throw failure;
  }
}
